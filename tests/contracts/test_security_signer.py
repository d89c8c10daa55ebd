"""The Signer port, and the secret keys behind it."""

from __future__ import annotations

import hashlib
import hmac
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ubr.adapters.security.secrets import HmacSigner, SecretKeys, Unsealable
from ubr.application.ports.secrets import Signer

NEW, OLD, OTHER = (hashlib.sha256(name).digest() for name in (b"new", b"old", b"other"))


def signer(*secrets: bytes) -> Signer:
    return HmacSigner(SecretKeys(secrets))


# --- the port --------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.binary())
def test_a_tag_has_32_bytes_and_verifies(message: bytes) -> None:
    tag = signer(NEW).sign("cursor", message)
    assert len(tag) == 32
    assert signer(NEW).verify("cursor", message, tag)


def test_a_tag_is_good_for_its_purpose_and_message_alone() -> None:
    one = signer(NEW)
    tag = one.sign("cursor", b"message")
    assert not one.verify("idempotency", b"message", tag)
    assert not one.verify("Cursor", b"message", tag)
    assert not one.verify("", b"message", tag)
    assert not one.verify("cursor", b"messagE", tag)
    assert not one.verify("cursor", b"", tag)


def test_a_tag_is_good_to_the_bit() -> None:
    one = signer(NEW)
    tag = one.sign("cursor", b"message")
    for place in range(32):
        for bit in range(8):
            assert not one.verify("cursor", b"message", tag[:place] + bytes([tag[place] ^ 1 << bit]) + tag[place + 1 :])
    for wrong in (b"", tag[:-1], tag + b"\0", tag * 2, bytes(32)):
        assert not one.verify("cursor", b"message", wrong)


def test_the_present_key_signs_and_those_before_it_verify() -> None:
    before, after, stranger = signer(OLD), signer(NEW, OLD), signer(OTHER)
    assert after.verify("cursor", b"message", before.sign("cursor", b"message"))
    assert after.sign("cursor", b"message") == signer(NEW).sign("cursor", b"message")
    assert not before.verify("cursor", b"message", after.sign("cursor", b"message"))
    assert not after.verify("cursor", b"message", stranger.sign("cursor", b"message"))


# --- the keys --------------------------------------------------------------------------------------------------------


def hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256 and no salt, for one block of output."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def test_keys_are_derived_as_they_always_were() -> None:
    """Other keys would make every tag, cursor and sealed key of an installation worthless."""
    keys = SecretKeys([NEW, OLD])
    for _ in range(2):
        assert keys.derive("signing-key") == (hkdf(NEW, b"ubr signing-key"), hkdf(OLD, b"ubr signing-key"))
    assert HmacSigner(keys).sign("cursor", b"m") == hmac.digest(hkdf(NEW, b"ubr hmac cursor"), b"m", "sha256")


def test_each_purpose_has_keys_of_its_own_however_many_there_are() -> None:
    keys = SecretKeys([NEW])
    derived = {keys.derive(str(number)) for number in range(200)}
    assert len(derived) == 200
    assert all(keys.derive(str(number)) in derived for number in range(200))


def test_keys_are_derived_once() -> None:
    keys = SecretKeys([NEW])
    assert keys.derive("x") is keys.derive("x")


def test_signing_and_sealing_for_one_purpose_use_different_keys() -> None:
    keys = SecretKeys([NEW])
    assert HmacSigner(keys).sign("x", b"m") != hmac.digest(keys.derive("x")[0], b"m", "sha256")


@pytest.mark.parametrize("secrets", [[b""], [b"k" * 31], [NEW, b"short"]])
def test_a_short_secret_is_refused_without_being_shown(secrets: list[bytes]) -> None:
    with pytest.raises(ValueError, match="at least 32 bytes") as refused:
        SecretKeys(secrets)
    assert "short" not in str(refused.value)


def test_no_secret_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one secret key"):
        SecretKeys([])


def test_a_secret_of_any_greater_length_will_do() -> None:
    assert len({SecretKeys([b"k" * length]).derive("x") for length in (32, 33, 64, 1000)}) == 4


def test_their_repr_shows_nothing() -> None:
    keys = SecretKeys([b"canary" * 6])
    keys.derive("x")
    assert repr(keys) == "SecretKeys(1)"
    assert "canary" not in repr(HmacSigner(keys))


# --- sealing ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.binary(), st.binary())
def test_sealed_data_opens(content: bytes, associated: bytes) -> None:
    keys = SecretKeys([NEW])
    assert keys.open("x", keys.seal("x", content, associated), associated) == content


def test_sealed_data_opens_only_for_the_same_purpose_and_data() -> None:
    keys = SecretKeys([NEW])
    sealed = keys.seal("x", b"content", b"kid")
    for purpose, associated in (("y", b"kid"), ("x", b"other"), ("x", b""), ("hmac x", b"kid")):
        with pytest.raises(Unsealable):
            keys.open(purpose, sealed, associated)
    with pytest.raises(Unsealable):
        SecretKeys([OTHER]).open("x", sealed, b"kid")


def test_a_secret_that_was_replaced_still_opens() -> None:
    sealed = SecretKeys([OLD]).seal("x", b"content", b"kid")
    assert SecretKeys([NEW, OLD]).open("x", sealed, b"kid") == b"content"
    with pytest.raises(Unsealable):
        SecretKeys([OLD]).open("x", SecretKeys([NEW, OLD]).seal("x", b"content", b"kid"), b"kid")


def test_changed_sealed_data_does_not_open() -> None:
    keys = SecretKeys([NEW])
    sealed = keys.seal("x", b"content", b"kid")
    damaged = [
        sealed[:place] + bytes([sealed[place] ^ 1 << bit]) + sealed[place + 1 :]
        for place in range(len(sealed))
        for bit in range(8)
    ]
    damaged += [sealed[:length] for length in range(len(sealed))]
    damaged += [sealed + b"\0", os.urandom(64)]
    for one in damaged:
        with pytest.raises(Unsealable):
            keys.open("x", one, b"kid")


def test_sealed_data_differs_each_time() -> None:
    keys = SecretKeys([NEW])
    assert len({keys.seal("x", b"content", b"kid") for _ in range(100)}) == 100
