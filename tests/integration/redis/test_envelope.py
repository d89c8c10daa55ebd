"""Only what was sealed here, for this very place, is ever opened."""

from __future__ import annotations

import os

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ubr.adapters.redis import Envelope
from ubr.adapters.security.secrets import HmacSigner, SecretKeys

ENVELOPE = Envelope(HmacSigner(SecretKeys([b"k" * 32])))
STRANGER = Envelope(HmacSigner(SecretKeys([b"s" * 32])))

# Lone surrogates too: a name can come from outside.
names = st.text(st.characters(exclude_categories=()), max_size=20)
contexts = st.tuples(names, names, names) | st.lists(names, min_size=3, max_size=6).map(tuple)


def seal(context: tuple[str, ...], payload: bytes, by: Envelope = ENVELOPE) -> bytes:
    kind, name, epoch, *more = context
    return by.seal(kind, name, epoch, payload, *more)


def opened(context: tuple[str, ...], sealed: object) -> bytes | None:
    kind, name, epoch, *more = context
    return ENVELOPE.open(kind, name, epoch, sealed, *more)


@given(contexts, st.binary())
def test_a_sealed_payload_opens_in_its_place(context: tuple[str, ...], payload: bytes) -> None:
    assert opened(context, seal(context, payload)) == payload


@given(contexts, contexts, st.binary())
def test_it_opens_in_no_other_place(context: tuple[str, ...], other: tuple[str, ...], payload: bytes) -> None:
    assume(context != other)
    assert opened(other, seal(context, payload)) is None


@given(st.lists(names, min_size=3, max_size=6), st.integers(0, 5), st.integers(0, 20), st.binary())
def test_moving_a_border_between_two_parts_makes_another_place(
    parts: list[str], where: int, by: int, payload: bytes
) -> None:
    where %= len(parts) - 1
    joined = parts[where] + parts[where + 1]
    moved = [*parts[:where], joined[:by], joined[by:], *parts[where + 2 :]]
    assume(moved != parts)
    assert opened(tuple(moved), seal(tuple(parts), payload)) is None


@given(names, names, names, st.binary())
def test_nothing_moves_between_the_context_and_the_payload(kind: str, name: str, epoch: str, payload: bytes) -> None:
    sealed = seal((kind, name, epoch), payload)
    tag = sealed[:33]
    assume(epoch)
    tail = epoch[-1].encode("utf-8", "surrogatepass")
    assert opened((kind, name, epoch[:-1]), tag + tail + payload) is None
    assert opened((kind, name, epoch, ""), sealed) is None


@given(st.binary(max_size=40))
def test_every_flipped_bit_is_seen(payload: bytes) -> None:
    sealed = seal(("kind", "name", "epoch"), payload)
    for place in range(len(sealed)):
        for bit in range(8):
            damaged = sealed[:place] + bytes([sealed[place] ^ 1 << bit]) + sealed[place + 1 :]
            assert opened(("kind", "name", "epoch"), damaged) is None


@given(st.binary(max_size=40), st.binary(min_size=1))
def test_every_shortening_and_lengthening_is_seen(payload: bytes, more: bytes) -> None:
    sealed = seal(("kind", "name", "epoch"), payload)
    for length in range(len(sealed)):
        assert opened(("kind", "name", "epoch"), sealed[:length]) is None
        assert opened(("kind", "name", "epoch"), sealed[length + 1 :]) is None
    assert opened(("kind", "name", "epoch"), sealed + more) is None
    assert opened(("kind", "name", "epoch"), more + sealed) is None


@given(st.binary(max_size=200) | st.none() | st.integers() | st.text() | st.lists(st.binary()) | st.floats())
def test_junk_is_a_miss_and_never_an_error(junk: object) -> None:
    assert opened(("kind", "name", "epoch"), junk) is None


@pytest.mark.parametrize("length", [0, 1, 32, 33, 34, 1000])
def test_chance_does_not_hit(length: int) -> None:
    for _ in range(1000):
        assert opened(("kind", "name", "epoch"), b"\x01" + os.urandom(length)) is None


@given(st.binary())
def test_another_installation_seals_nothing_for_us(payload: bytes) -> None:
    assert opened(("kind", "name", "epoch"), seal(("kind", "name", "epoch"), payload, STRANGER)) is None


def test_a_payload_sealed_by_an_older_key_still_opens() -> None:
    old = Envelope(HmacSigner(SecretKeys([b"o" * 32])))
    new = Envelope(HmacSigner(SecretKeys([b"n" * 32, b"o" * 32])))
    assert new.open("kind", "name", "epoch", old.seal("kind", "name", "epoch", b"payload")) == b"payload"
    assert old.open("kind", "name", "epoch", new.seal("kind", "name", "epoch", b"payload")) is None
