"""The SessionCookieMint port."""

from __future__ import annotations

import hashlib
import os
import re
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ubr.adapters.security.secrets import HmacSigner, SecretKeys
from ubr.adapters.security.session_cookies import SignedSessionCookies
from ubr.application.ports.sessions import SessionCookieMint
from ubr.domain.actor import Actor
from ubr.domain.errors import InvalidToken
from ubr.domain.ids import SessionId, UserId
from ubr.domain.keys import base64url

OLD, NEW = b"o" * 32, b"n" * 32
ACTOR = Actor(
    UserId(UUID("01a20549-9ca0-7116-b19f-9b1129f6c89c")), SessionId(UUID("01a20549-94c0-71b2-8be5-74105fe7744a"))
)
GOOD = "ubr_bs_" + "A" * 128


def mint(*secrets: bytes) -> SessionCookieMint:
    return SignedSessionCookies(HmacSigner(SecretKeys(secrets)))


MINT = mint(NEW)
MALFORMED = {
    "nothing": "",
    "the prefix alone": "ubr_bs_",
    "no prefix": "A" * 128,
    "no prefix, right length": "A" * 135,
    "another prefix": "ubr_rt_" + "A" * 128,
    "a prefix in capitals": "UBR_BS_" + "A" * 128,
    "too short": GOOD[:-1],
    "too long": GOOD + "A",
    "padding within the length": GOOD[:-1] + "=",
    "characters of plain base64": GOOD[:-2] + "+A",
    "white space before": " " + GOOD[:-1],
    "a line break within": GOOD[:20] + "\n" + GOOD[21:],
    "nul": GOOD[:-2] + "\0A",
    "letters of another script": GOOD[:-2] + "\N{CYRILLIC CAPITAL LETTER A}A",
    "a byte of Latin-1": GOOD[:-2] + "\xe9A",
    "a lone surrogate": GOOD[:-2] + "\ud800A",
    "huge": "ubr_bs_" + "A" * 1_000_000,
    "made by nobody": GOOD,
}


def test_a_value_fits_into_a_cookie_and_names_its_session() -> None:
    minted = MINT.mint(ACTOR)
    assert re.fullmatch(r"ubr_bs_[A-Za-z0-9_-]{128}", minted.secret)
    presented = MINT.read(minted.secret)
    assert (presented.actor, presented.digest) == (ACTOR, minted.digest)
    assert minted.digest == hashlib.sha256(minted.secret.encode()).digest()
    assert minted.secret not in repr(minted)


def test_no_two_values_are_equal() -> None:
    assert len({MINT.mint(ACTOR).secret for _ in range(1000)}) == 1000


def test_256_bits_are_random() -> None:
    raw = os.urandom(32)
    asked = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return raw

    value = SignedSessionCookies(HmacSigner(SecretKeys([NEW])), random_bytes).mint(ACTOR).secret
    assert asked == [32]
    assert base64url.decode(value.removeprefix("ubr_bs_").encode())[32:64] == raw


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_value_is_refused(name: str) -> None:
    with pytest.raises(InvalidToken):
        MINT.read(MALFORMED[name])


def test_a_value_is_good_to_the_bit() -> None:
    raw = base64url.decode(MINT.mint(ACTOR).secret.removeprefix("ubr_bs_").encode())
    assert len(raw) == 96
    for place in range(len(raw)):
        for bit in range(8):
            changed = raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :]
            with pytest.raises(InvalidToken):
                MINT.read("ubr_bs_" + base64url.encode(changed).decode())


@settings(deadline=None)
@given(st.binary(min_size=96, max_size=96))
def test_no_guess_names_a_session(raw: bytes) -> None:
    with pytest.raises(InvalidToken):
        MINT.read("ubr_bs_" + base64url.encode(raw).decode())


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_is_more_than_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        MINT.read(text)


def test_a_value_lasts_as_long_as_its_secret_is_known() -> None:
    value = mint(OLD).mint(ACTOR).secret
    assert mint(NEW, OLD).read(value).actor == ACTOR
    with pytest.raises(InvalidToken):
        mint(NEW).read(value)
    with pytest.raises(InvalidToken):
        mint(OLD).read(mint(NEW, OLD).mint(ACTOR).secret)


def test_the_key_of_a_value_is_its_own_and_that_of_the_installation() -> None:
    value, other = MINT.mint(ACTOR).secret, MINT.mint(ACTOR).secret
    assert len(MINT.key(value)) == 32
    assert MINT.key(value) == MINT.key(value)
    assert len({MINT.key(value), MINT.key(other), mint(OLD).key(value), mint(NEW, OLD).key(value)}) >= 3
    assert mint(OLD).key(value) != mint(NEW).key(value) == mint(NEW, OLD).key(value)
    assert MINT.key(value) not in value.encode()
