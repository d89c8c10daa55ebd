"""The RefreshTokenMint port."""

from __future__ import annotations

import hashlib
import os
import re
import string
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ubr.adapters.security.refresh_tokens import OpaqueRefreshTokens
from ubr.adapters.security.secrets import SecretKeys
from ubr.application.ports.sessions import RefreshTokenMint
from ubr.domain.errors import InvalidToken
from ubr.domain.ids import SessionId, TokenDigest
from ubr.domain.keys import base64url

OLD, NEW = b"o" * 32, b"n" * 32
SECRETS = SecretKeys([NEW])
OTHERS = SecretKeys([OLD])
BOTH = SecretKeys([NEW, OLD])
SESSION = SessionId(UUID("01a20549-9ca0-7116-b19f-9b1129f6c89c"))
MINT: RefreshTokenMint = OpaqueRefreshTokens(SECRETS)
GOOD = "ubr_rt_" + "A" * 43

MALFORMED = {
    "nothing": "",
    "the prefix alone": "ubr_rt_",
    "no prefix": "A" * 43,
    "no prefix, right length": "A" * 50,
    "another prefix": "ubr_at_" + "A" * 43,
    "a prefix in capitals": "UBR_RT_" + "A" * 43,
    "too short": GOOD[:-1],
    "too long": GOOD + "A",
    "padding": GOOD + "=",
    "padding within the length": GOOD[:-1] + "=",
    "bits behind the last byte": GOOD[:-1] + "B",
    "characters of plain base64": GOOD[:-2] + "+A",
    "a slash": GOOD[:-2] + "/A",
    "white space before": " " + GOOD[:-1],
    "a line break behind": GOOD + "\n",
    "a line break within": GOOD[:20] + "\n" + GOOD[21:],
    "nul": GOOD[:-2] + "\0A",
    "letters of another script": GOOD[:-2] + "\N{CYRILLIC CAPITAL LETTER A}A",
    "full-width letters": GOOD[:-2] + "\N{FULLWIDTH LATIN CAPITAL LETTER A}A",
    "a lone surrogate": GOOD[:-2] + "\ud800A",
    "huge": "ubr_rt_" + "A" * 1_000_000,
}


def test_a_token_is_recognisable_and_of_one_length() -> None:
    minted = MINT.mint(SESSION)
    assert re.fullmatch(r"ubr_rt_[A-Za-z0-9_-]{43}", minted.secret)


def test_no_two_tokens_are_equal() -> None:
    minted = [MINT.mint(SESSION) for _ in range(1000)]
    assert len({token.secret for token in minted}) == len({token.digest for token in minted}) == 1000


def test_twelve_bytes_come_from_the_generator() -> None:
    raw = bytes(range(12))
    counts: list[int] = []

    def fixed(count: int) -> bytes:
        counts.append(count)
        return raw

    minted = OpaqueRefreshTokens(SECRETS, fixed).mint(SESSION)
    assert base64url.decode(minted.secret.removeprefix("ubr_rt_").encode())[4:16] == raw
    assert minted == OpaqueRefreshTokens(SECRETS, fixed).mint(SESSION)
    assert minted.secret != OpaqueRefreshTokens(OTHERS, fixed).mint(SESSION).secret
    assert counts == [12] * 3


def test_the_digest_needs_the_secret() -> None:
    minted = MINT.mint(SESSION)
    assert minted.digest == MINT.digest(minted.secret)
    others = [OpaqueRefreshTokens(OTHERS).digest(minted.secret)]
    others += [TokenDigest(hashlib.sha256(minted.secret.encode()).digest())]
    assert minted.digest not in others


def test_an_older_secret_makes_the_same_digest_while_it_is_listed() -> None:
    minted = OpaqueRefreshTokens(OTHERS).mint(SESSION)
    both = OpaqueRefreshTokens(BOTH)
    assert both.digest(minted.secret) == minted.digest
    assert MINT.digest(minted.secret) != minted.digest
    newest = both.mint(SESSION)
    assert MINT.digest(newest.secret) == newest.digest


def test_a_token_names_its_session_to_its_installation_alone() -> None:
    minted = MINT.mint(SESSION)
    assert MINT.session_ids(minted.secret) == (SESSION,)
    assert OpaqueRefreshTokens(BOTH).session_ids(minted.secret) == (SESSION,)
    assert OpaqueRefreshTokens(BOTH).session_ids(OpaqueRefreshTokens(OTHERS).mint(SESSION).secret) == (SESSION,)
    assert OpaqueRefreshTokens(OTHERS).session_ids(minted.secret) == ()
    assert all(SESSION.hex not in base64url.decode(MINT.mint(SESSION).secret[7:].encode()).hex() for _ in range(100))


def test_no_change_of_a_token_names_the_same_session() -> None:
    raw = base64url.decode(MINT.mint(SESSION).secret[7:].encode())
    for place in range(len(raw)):
        for bit in range(8):
            changed = raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :]
            assert SESSION not in MINT.session_ids("ubr_rt_" + base64url.encode(changed).decode())


def test_few_guesses_name_any_session() -> None:
    label = base64url.decode(MINT.mint(SESSION).secret[7:].encode())[:4]
    guesses = [label + hashlib.sha512(bytes([at, 7])).digest()[:28] for at in range(256)]
    named = [MINT.session_ids("ubr_rt_" + base64url.encode(guess).decode()) for guess in guesses]
    assert sum(map(bool, named)) < 20


def test_a_session_with_an_id_of_another_kind_is_not_named() -> None:
    other = SessionId(UUID("5a6b8f0a-9a43-4c57-8d64-1c9b52b9c2f1"))
    assert MINT.session_ids(MINT.mint(other).secret) == ()


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_text_that_cannot_be_a_token_is_refused(text: str) -> None:
    good = MINT.mint(SESSION).secret
    sealed = MINT.seal(good, good)
    with pytest.raises(InvalidToken):
        MINT.digest(text)
    with pytest.raises(InvalidToken):
        MINT.session_ids(text)
    with pytest.raises(InvalidToken):
        MINT.unseal(sealed, text)
    with pytest.raises(InvalidToken):
        MINT.seal(good, text)
    with pytest.raises(InvalidToken):
        MINT.seal(text, good)


@settings(deadline=None)
@given(st.text() | st.text(alphabet=string.ascii_letters + string.digits + "-_=+/", min_size=42, max_size=44))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    for candidate in (text, "ubr_rt_" + text):
        try:
            assert len(MINT.digest(candidate)) == 32
        except InvalidToken:
            continue
        assert re.fullmatch(r"ubr_rt_[A-Za-z0-9_-]{43}", candidate)


@settings(deadline=None)
@given(st.binary(min_size=12, max_size=12), st.uuids())
def test_every_token_that_can_be_minted_is_taken(raw: bytes, session_id: UUID) -> None:
    minted = OpaqueRefreshTokens(SECRETS, lambda _: raw).mint(SessionId(session_id))
    assert MINT.digest(minted.secret) == minted.digest


def test_a_sealed_token_opens_only_under_the_same_token() -> None:
    spent, successor, other = MINT.mint(SESSION), MINT.mint(SESSION), MINT.mint(SESSION)
    sealed = MINT.seal(successor.secret, spent.secret)
    assert MINT.unseal(sealed, spent.secret) == successor.secret
    assert OpaqueRefreshTokens(OTHERS).unseal(sealed, spent.secret) == successor.secret
    for wrong in (other, successor):
        with pytest.raises(InvalidToken):
            MINT.unseal(sealed, wrong.secret)


def test_a_sealed_token_reveals_nothing_and_differs_each_time() -> None:
    spent, successor = MINT.mint(SESSION), MINT.mint(SESSION)
    sealed = [MINT.seal(successor.secret, spent.secret) for _ in range(100)]
    assert len(set(sealed)) == 100
    assert all(successor.secret[7:].encode() not in one and bytes(successor.digest) not in one for one in sealed)


def test_a_changed_sealed_token_is_refused() -> None:
    spent, successor = MINT.mint(SESSION), MINT.mint(SESSION)
    sealed = MINT.seal(successor.secret, spent.secret)
    damaged = [
        sealed[:place] + bytes([sealed[place] ^ 1 << bit]) + sealed[place + 1 :]
        for place in range(len(sealed))
        for bit in range(8)
    ]
    damaged += [sealed[:length] for length in range(len(sealed))]
    damaged += [sealed + b"\0", b"\0" + sealed, os.urandom(len(sealed))]
    for one in damaged:
        with pytest.raises(InvalidToken):
            MINT.unseal(one, spent.secret)


def test_its_repr_shows_nothing() -> None:
    minted = MINT.mint(SESSION)
    assert minted.secret not in repr(minted) + repr(MINT)
