import json
from base64 import b64decode
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubr.domain.audit.merkle import (
    EMPTY_ROOT,
    BadProof,
    Frontier,
    Node,
    Span,
    check_consistency,
    consistency,
    inclusion,
    join,
    leaf_hash,
    node_hash,
    nodes_of,
    root_by_inclusion,
    root_of,
)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[3] / "vectors" / "merkle.json").read_text("utf-8"))
EXAMPLE: dict[str, Any] = VECTORS["example"]

LARGEST = 70
ENTRIES = [f"entry {n}".encode() * (n % 3) + bytes([n]) for n in range(LARGEST)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
# Of these every proof is damaged in every way: around powers of two, and with all kinds of right edges.
SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17]


# What RFC 9162 defines, by recursion and over the entries themselves.


def split(n: int) -> int:
    """The k of RFC 9162: the largest power of two that is smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


@cache
def mth(start: int, end: int) -> bytes:
    """MTH(D[start:end]), 2.1.1."""
    if start == end:
        return sha256().digest()
    if end - start == 1:
        return sha256(b"\x00" + ENTRIES[start]).digest()
    k = start + split(end - start)
    return sha256(b"\x01" + mth(start, k) + mth(k, end)).digest()


def path(m: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[start:end]), 2.1.3.1."""
    if end - start == 1:
        return []
    k = split(end - start)
    if m < k:
        return [*path(m, start, start + k), mth(start + k, end)]
    return [*path(m - k, start + k, end), mth(start, start + k)]


def subproof(m: int, start: int, end: int, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[start:end], whole), 2.1.4.1."""
    if m == end - start:
        return [] if whole else [mth(start, end)]
    k = split(end - start)
    if m <= k:
        return [*subproof(m, start, start + k, whole), mth(start + k, end)]
    return [*subproof(m - k, start + k, end, False), mth(start, start + k)]


def hashes_of(spans: Sequence[Span]) -> list[bytes]:
    return [mth(span.start, span.end) for span in spans]


def is_included(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    try:
        return root_by_inclusion(leaf, index, size, proof) == root
    except BadProof:
        return False


def is_beginning(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    try:
        check_consistency(first, first_root, second, second_root, proof)
    except BadProof:
        return False
    return True


# The public vectors.


# Others have no proofs from the empty tree. Here it is the beginning of every one: a test of its own.
FROM_NOTHING = "additional/size1-is-zero-and-size2-is-not-zero"


def decoded(proof: list[str] | None) -> list[bytes]:
    return [b64decode(step) for step in proof or []]


def each(kind: str) -> pytest.MarkDecorator:
    """The probes of a kind. Some are still answered wrongly, for a reason."""
    return pytest.mark.parametrize(
        "probe",
        [
            pytest.param(
                probe,
                id=probe["name"],
            )
            for probe in VECTORS[kind]
            if probe["name"] != FROM_NOTHING
        ],
    )


def answer_to_inclusion(probe: dict[str, Any]) -> bool:
    leaf, root = b64decode(probe["leafHash"]), b64decode(probe["root"])
    return is_included(leaf, probe["leafIdx"], probe["treeSize"], root, decoded(probe["proof"]))


def answer_to_consistency(probe: dict[str, Any]) -> bool:
    roots = b64decode(probe["root1"]), b64decode(probe["root2"])
    return is_beginning(probe["size1"], roots[0], probe["size2"], roots[1], decoded(probe["proof"]))


def test_all_public_probes_are_there() -> None:
    counts = {
        (kind, wrong): sum(probe["wantErr"] is wrong for probe in VECTORS[kind])
        for kind in ("inclusion", "consistency")
        for wrong in (False, True)
    }
    assert list(counts.values()) == [6, 92, 6, 92]
    assert FROM_NOTHING in [probe["name"] for probe in VECTORS["consistency"]]


@each("inclusion")
def test_public_probes_of_inclusion(probe: dict[str, Any]) -> None:
    assert answer_to_inclusion(probe) is not probe["wantErr"]


@each("consistency")
def test_public_probes_of_consistency(probe: dict[str, Any]) -> None:
    assert answer_to_consistency(probe) is not probe["wantErr"]


def test_the_public_tree() -> None:
    entries = [bytes.fromhex(entry) for entry in VECTORS["reference"]["leaves"]]
    leaves = [leaf_hash(entry) for entry in entries]
    roots = [bytes.fromhex(root) for root in VECTORS["reference"]["roots"]]
    assert [root_of(leaves[:size]) for size in range(len(leaves) + 1)] == roots
    found = {Node(0, position): leaf for position, leaf in enumerate(leaves)}
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf, found.__setitem__)
    assert found == {
        Node(level, position): bytes.fromhex(hashed)
        for level, row in enumerate(VECTORS["reference"]["nodes"])
        for position, hashed in enumerate(row)
    }


# The example of RFC 9162: seven leaves, whose nodes have letters.


def letters(spans: Sequence[Span]) -> list[str]:
    names = {Span(start, end): name for name, (start, end) in EXAMPLE["nodes"].items()}
    return [names[span] for span in spans]


def test_the_nodes_of_the_example_are_made_of_one_another() -> None:
    roots = {name: root_of(LEAVES[start:end]) for name, (start, end) in EXAMPLE["nodes"].items()}
    for name, (left, right) in EXAMPLE["children"].items():
        assert roots[name] == node_hash(roots[left], roots[right])
    for size, (left, right) in EXAMPLE["smaller"].items():
        assert root_of(LEAVES[: int(size)]) == node_hash(roots[left], roots[right])


def test_the_proofs_of_the_example() -> None:
    for index, expected in EXAMPLE["inclusion"].items():
        assert letters(inclusion(int(index), 7)) == expected
    for first, expected in EXAMPLE["consistency"].items():
        assert letters(consistency(int(first), 7)) == expected


# The definitions of RFC 9162, for every tree up to a size.


def test_leaves_and_nodes_hash_apart() -> None:
    one, other = sha256(b"1").digest(), sha256(b"2").digest()
    assert leaf_hash(b"") == sha256(b"\x00").digest()
    assert node_hash(one, other) == sha256(b"\x01" + one + other).digest()
    assert leaf_hash(one + other) != node_hash(one, other) != node_hash(other, one)


def test_the_root_is_the_merkle_tree_hash() -> None:
    assert EMPTY_ROOT == mth(0, 0) == root_of([]) == Frontier().root() == join([])
    frontier = Frontier()
    for size in range(1, LARGEST + 1):
        frontier.append(LEAVES[size - 1])
        assert (frontier.size, frontier.root()) == (size, mth(0, size))
        assert root_of(iter(LEAVES[:size])) == mth(0, size)


def test_every_proof_of_inclusion_is_the_path_and_leads_to_the_root() -> None:
    for size in range(1, LARGEST + 1):
        for index in range(size):
            proof = hashes_of(inclusion(index, size))
            assert proof == path(index, 0, size)
            assert root_by_inclusion(LEAVES[index], index, size, proof) == mth(0, size)


def test_every_proof_of_consistency_is_the_subproof_and_holds() -> None:
    for second in range(1, LARGEST + 1):
        for first in range(1, second + 1):
            proof = hashes_of(consistency(first, second))
            assert proof == subproof(first, 0, second, True)
            check_consistency(first, mth(0, first), second, mth(0, second), proof)


def test_the_empty_tree_is_the_beginning_of_every_other() -> None:
    assert answer_to_consistency(next(probe for probe in VECTORS["consistency"] if probe["name"] == FROM_NOTHING))
    for size in range(LARGEST + 1):
        check_consistency(0, EMPTY_ROOT, size, mth(0, size), [])
        assert not is_beginning(0, EMPTY_ROOT, size, mth(0, size), [EMPTY_ROOT])
        assert not is_beginning(0, LEAVES[0], size, mth(0, size), [])


def test_two_empty_trees_have_one_root() -> None:
    assert not is_beginning(0, EMPTY_ROOT, 0, LEAVES[0], [])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (7, 7), (-1, 7), (0, -1), (-1, -1), (8, 7)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="not in the tree"):
        inclusion(index, size)
    with pytest.raises(BadProof):
        root_by_inclusion(LEAVES[0], index, size, [])


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (2, 1), (-1, 1), (-2, -1), (1, -1)])
def test_there_is_no_proof_of_a_beginning_that_is_none(first: int, second: int) -> None:
    with pytest.raises(ValueError, match="smaller"):
        consistency(first, second)


@pytest.mark.parametrize(("first", "second"), [(2, 1), (-1, 1), (-2, -1), (-1, -1), (1, -1), (1, 0)])
def test_a_tree_is_not_the_beginning_of_a_smaller_one(first: int, second: int) -> None:
    assert not is_beginning(first, LEAVES[0], second, LEAVES[0], [])


# Nodes: what is stored, and what a proof is read from.


def stored(size: int) -> dict[Node, bytes]:
    nodes = {Node(0, position): leaf for position, leaf in enumerate(LEAVES[:size])}
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf, nodes.__setitem__)
    return nodes


def test_every_node_is_told_once_when_its_last_leaf_comes_narrowest_first() -> None:
    frontier = Frontier()
    for size in range(1, LARGEST + 1):
        told: list[tuple[Node, bytes]] = []
        frontier.append(LEAVES[size - 1], lambda node, hashed, told=told: told.append((node, hashed)))  # type: ignore[misc]
        levels = [level for level in range(1, size.bit_length()) if size % 2**level == 0]
        assert told == [(Node(level, (size >> level) - 1), mth(size - 2**level, size)) for level in levels]


def test_a_node_is_the_hash_of_its_range() -> None:
    nodes = stored(LARGEST)
    assert len(nodes) == sum(LARGEST >> level for level in range(LARGEST.bit_length()))
    for (level, position), hashed in nodes.items():
        assert hashed == mth(position << level, (position + 1) << level)


def test_every_proof_can_be_read_from_the_nodes_of_its_tree() -> None:
    for size in range(1, LARGEST + 1):
        nodes = stored(size)
        spans = {span for index in range(size) for span in inclusion(index, size)}
        spans |= {span for first in range(1, size + 1) for span in consistency(first, size)}
        for span in spans:
            assert join([nodes[node] for node in nodes_of(span)]) == mth(span.start, span.end)


# Sizes of real logs, where no tree can be built.
sizes = st.integers(1, 2**63)
trees = sizes.flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size)))


def check_nodes(span: Span) -> None:
    nodes = nodes_of(span)
    at = span.start
    for node in nodes:
        assert node.position << node.level == at
        at += 1 << node.level
    assert at == span.end
    assert [node.level for node in nodes] == sorted({node.level for node in nodes}, reverse=True)


@given(trees)
def test_the_ranges_of_an_inclusion_are_all_the_others(tree: tuple[int, int]) -> None:
    index, size = tree
    spans = inclusion(index, size)
    assert len(spans) <= (size - 1).bit_length()
    start, end = index, index + 1
    for span in spans:
        check_nodes(span)
        assert span.end == start or span.start == end
        start, end = min(start, span.start), max(end, span.end)
    assert (start, end) == (0, size)


@given(trees)
def test_the_ranges_of_a_consistency_are_the_one_tree_and_the_rest(tree: tuple[int, int]) -> None:
    first, second = tree[0] + 1, tree[1]
    spans = sorted(consistency(first, second))
    assert len(spans) <= (second - 1).bit_length() + 1
    for span in spans:
        check_nodes(span)
        assert span.end <= first or span.start >= first
    if first == second or first & (first - 1) == 0:  # the root of the first is itself a step, and known
        spans = [Span(0, first), *spans]
    assert [span.start for span in spans] == [0, *(span.end for span in spans[:-1])]
    assert spans[-1].end == second


# Frontiers.


def test_a_stored_frontier_continues() -> None:
    for size in range(LARGEST):
        frontier = Frontier()
        for leaf in LEAVES[:size]:
            frontier.append(leaf)
        raw = frontier.to_bytes()
        assert len(raw) == 32 * size.bit_count()
        assert raw == b"".join(mth(*edge) for edge in right_edges(size))
        again = Frontier.from_bytes(size, raw)
        assert again == frontier
        again.append(LEAVES[size])
        assert (again.size, again.root()) == (size + 1, mth(0, size + 1))


def right_edges(size: int) -> Iterator[tuple[int, int]]:
    start = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            yield start, start + 2**level
            start += 2**level


@pytest.mark.parametrize(("size", "length"), [(-1, 0), (-1, 32), (0, 1), (0, 32), (1, 0), (1, 31), (3, 32), (3, 65)])
def test_hashes_that_are_not_the_frontier_of_that_size_are_refused(size: int, length: int) -> None:
    with pytest.raises(ValueError, match="do not match a frontier"):
        Frontier.from_bytes(size, bytes(length))


def test_a_copy_of_a_frontier_goes_its_own_way() -> None:
    frontier = Frontier()
    for leaf in LEAVES[:3]:
        frontier.append(leaf)
    copy = frontier.copy()
    copy.append(LEAVES[3])
    assert (frontier.size, frontier.root()) == (3, mth(0, 3))
    assert (copy.size, copy.root()) == (4, mth(0, 4))


# Damage.


def flipped(hashed: bytes) -> Iterator[bytes]:
    number = int.from_bytes(hashed)
    for bit in range(8 * len(hashed)):
        yield (number ^ 1 << bit).to_bytes(len(hashed))


def damaged(proof: list[bytes], *strangers: bytes) -> Iterator[list[bytes]]:
    """Every bit turned, every step left out, cut, said twice or exchanged, and strangers put in everywhere."""
    for at, step in enumerate(proof):
        yield from ([*proof[:at], other, *proof[at + 1 :]] for other in flipped(step))
        for other in (b"", step[:-1], step[1:], step + b"\0", b"\0" + step, *strangers):
            yield [*proof[:at], other, *proof[at + 1 :]]
        yield proof[:at] + proof[at + 1 :]
        for other_at in range(at):
            exchanged = list(proof)
            exchanged[at], exchanged[other_at] = proof[other_at], step
            yield exchanged
    for at in range(len(proof) + 1):
        for more in (b"", bytes(32), *strangers, *proof):
            yield [*proof[:at], more, *proof[at:]]


@pytest.mark.parametrize("size", SIZES)
def test_no_damaged_proof_of_inclusion_leads_to_the_root(size: int) -> None:
    root, stranger = mth(0, size), leaf_hash(b"stranger")
    for index in range(size):
        leaf, proof = LEAVES[index], hashes_of(inclusion(index, size))
        assert is_included(leaf, index, size, root, proof)
        for wrong in damaged(proof, root, leaf, stranger):
            assert wrong == proof or not is_included(leaf, index, size, root, wrong)
        for other in flipped(leaf):
            assert not is_included(other, index, size, root, proof)
        for other_index in {*range(-1, 2 * size + 1)} - {index}:
            assert not is_included(leaf, other_index, size, root, proof)


@pytest.mark.parametrize("second", SIZES)
def test_no_damaged_proof_of_consistency_holds(second: int) -> None:
    new, stranger = mth(0, second), leaf_hash(b"stranger")
    for first in range(1, second + 1):
        old, proof = mth(0, first), hashes_of(consistency(first, second))
        assert is_beginning(first, old, second, new, proof)
        for wrong in damaged(proof, old, new, stranger):
            assert wrong == proof or not is_beginning(first, old, second, new, wrong)
        for other in flipped(old):
            assert not is_beginning(first, other, second, new, proof)
        for other in flipped(new):
            assert not is_beginning(first, old, second, other, proof)
        if first != second:
            assert not is_beginning(first, new, second, old, proof)


def test_a_proof_of_another_length_is_rejected() -> None:
    above = leaf_hash(b"above")
    for size in range(1, LARGEST + 1):
        for index in range(size):
            proof = hashes_of(inclusion(index, size))
            with pytest.raises(BadProof, match="long"):
                root_by_inclusion(LEAVES[index], index, size, [*proof, above])
            for length in range(len(proof)):
                with pytest.raises(BadProof, match="short"):
                    root_by_inclusion(LEAVES[index], index, size, proof[:length])
        for first in range(1, size):
            # Both roots are what the longer proof leads to.
            old, new = node_hash(above, mth(0, first)), node_hash(above, mth(0, size))
            assert not is_beginning(first, old, size, new, [*hashes_of(consistency(first, size)), above])


def test_a_tree_with_another_history_is_not_a_continuation() -> None:
    for second in range(2, LARGEST + 1):
        for first in range(1, second):
            # The last leaf of the smaller tree was another one when its root was seen.
            forged = root_of([*LEAVES[: first - 1], leaf_hash(b"forged")])
            assert not is_beginning(first, forged, second, mth(0, second), hashes_of(consistency(first, second)))


LEFT, RIGHT = LEAVES[:2]


@pytest.mark.parametrize(
    ("index", "leaf", "step"),
    [
        pytest.param(0, LEFT[:31], LEFT[31:] + RIGHT, id="the left one is shorter"),
        pytest.param(0, LEFT + RIGHT[:1], RIGHT[1:], id="the left one is longer"),
        pytest.param(1, RIGHT[1:], LEFT + RIGHT[:1], id="the right one is shorter"),
        pytest.param(1, LEFT[31:] + RIGHT, LEFT[:31], id="the right one is longer"),
        pytest.param(0, b"", LEFT + RIGHT, id="there is only one"),
    ],
)
def test_a_hash_cannot_give_bytes_to_its_neighbour(index: int, leaf: bytes, step: bytes) -> None:
    root = node_hash(LEFT, RIGHT)
    assert not is_included(leaf, index, 2, root, [step])


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_root_cannot_give_bytes_to_its_continuation(length: int) -> None:
    both = LEFT + RIGHT
    assert not is_beginning(1, both[:length], 2, node_hash(LEFT, RIGHT), [both[length:]])
