"""The Merkle tree of RFC 9162 (2.1), over SHA-256: one hash that commits to every entry of a log.

A *range* `[start, end)` of leaves has one hash, MTH of RFC 9162. If its width is a power of two and its start a
multiple of that, it is a *node*: once its leaves are there it never changes, so it can be stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

import msgspec

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of a tree without leaves."""

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"

Proof: TypeAlias = Sequence[bytes]


class BadProof(Exception):
    """A proof that does not prove its claim."""


class Span(NamedTuple):
    """The leaves from `start` to `end - 1`."""

    start: int
    end: int


class Node(NamedTuple):
    """The range of `2 ** level` leaves that begins at leaf `position * 2 ** level`."""

    level: int
    position: int


def leaf_hash(content: bytes) -> bytes:
    return sha256(_LEAF + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()


class Frontier(msgspec.Struct):
    """An append-only tree: as many hashes as its size has one bits, the widest node first."""

    size: int = 0
    hashes: list[bytes] = msgspec.field(default_factory=list)

    def append(self, leaf: bytes, completed: Callable[[Node, bytes], object] | None = None) -> None:
        """Append the hash of a leaf. `completed` is called with every node that this completes, narrowest first."""
        width, hashed, level = self.size, leaf, 0
        while width & 1:
            hashed = node_hash(self.hashes.pop(), hashed)
            width >>= 1
            level += 1
            if completed is not None:
                completed(Node(level, width), hashed)
        self.hashes.append(hashed)
        self.size += 1

    def root(self) -> bytes:
        """The current root of the tree."""
        return join(self.hashes)

    def copy(self) -> Frontier:
        return Frontier(self.size, list(self.hashes))

    def to_bytes(self) -> bytes:
        """The hashes, concatenated. Their number follows from the size."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, raw: bytes) -> Frontier:
        """Errors: `ValueError` if this is not the frontier of a tree of this size."""
        if size < 0 or len(raw) != size.bit_count() * HASH_BYTES:
            raise ValueError("The hashes do not match a frontier of this size")
        return cls(size, [raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)])


def join(hashes: Sequence[bytes]) -> bytes:
    """The hash of a range, from the hashes of its nodes (`nodes_of`)."""
    if not hashes:
        return EMPTY_ROOT
    joined = hashes[-1]
    for left in reversed(hashes[:-1]):
        joined = node_hash(left, joined)
    return joined


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def nodes_of(span: Span) -> list[Node]:
    """The nodes of a range of a proof, widest first. The range must begin where a node of its width may begin."""
    nodes, start = [], span.start
    while start < span.end:
        level = (span.end - start).bit_length() - 1
        nodes.append(Node(level, start >> level))
        start += 1 << level
    return nodes


def inclusion(index: int, size: int) -> list[Span]:
    """The ranges whose hashes prove that a leaf is in a tree, nearest first (RFC 9162, 2.1.3.1).

    Errors: `ValueError` if the leaf is not in the tree.
    """
    if not 0 <= index < size:
        raise ValueError("The leaf is not in the tree")
    path: list[Span] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(Span(middle, end))
            end = middle
        else:
            path.append(Span(start, middle))
            start = middle
    return path[::-1]


def consistency(first: int, second: int) -> list[Span]:
    """The ranges whose hashes prove that one tree is a prefix of another (RFC 9162, 2.1.4.1).

    Errors: `ValueError` unless the first size is from 1 to the second.
    """
    if not 0 < first <= second:
        raise ValueError("The first tree must be the smaller one, and not empty")
    path: list[Span] = []
    start, end, known = 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(Span(middle, end))
            end = middle
        else:
            path.append(Span(start, middle))
            start, known = middle, False
    if not known:
        path.append(Span(start, end))
    return path[::-1]


def root_by_inclusion(leaf: bytes, index: int, size: int, proof: Proof) -> bytes:
    """The root of the tree in which a proof places a leaf (RFC 9162, 2.1.3.2). Errors: `BadProof`."""
    if not 0 <= index < size:
        raise BadProof("The leaf is not in the tree")
    _check_lengths([leaf, *proof])
    position, last, root = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise BadProof("The proof is too long")
        if position & 1 or position == last:
            root = node_hash(step, root)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            root = node_hash(root, step)
        position, last = position >> 1, last >> 1
    if last:
        raise BadProof("The proof is too short")
    return root


def check_consistency(first: int, first_root: bytes, second: int, second_root: bytes, proof: Proof) -> None:
    """Check that the first tree is a prefix of the second (RFC 9162, 2.1.4.2). Errors: `BadProof`.

    The empty tree is a prefix of every tree, and every tree of itself; both need an empty proof.
    """
    if not 0 <= first <= second:
        raise BadProof("The first tree must be the smaller one")
    if first in {0, second}:
        same = [EMPTY_ROOT] * (first == 0) + [second_root] * (first == second)
        _check_trivial(first_root, same, proof)
        return
    steps = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not steps:
        raise BadProof("The proof is too short")
    _check_lengths(steps)
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise BadProof("The proof is too long")
        if position & 1 or position == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, step)
        position, last = position >> 1, last >> 1
    if last:
        raise BadProof("The proof is too short")
    if old != first_root or new != second_root:
        raise BadProof("The trees differ")


def _check_trivial(first_root: bytes, same: Sequence[bytes], proof: Proof) -> None:
    if proof:
        raise BadProof("The proof is too long")
    if any(first_root != root for root in same):
        raise BadProof("The trees differ")


def _check_lengths(hashes: Proof) -> None:
    """Reject hashes of another length: they could borrow bytes from their neighbour."""
    if any(len(one) != HASH_BYTES for one in hashes):
        raise BadProof("The proof contains an invalid hash")


def _split(width: int) -> int:
    """The largest power of two that is smaller than `width`."""
    return 1 << ((width - 1).bit_length() - 1)
