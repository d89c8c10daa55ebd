"""Keys of machines: made at random, stored as digests that need the secret."""

from dataclasses import replace
from uuid import uuid4

import pytest

from tests.contracts.kit import NOON
from ubr.adapters.security.machine_keys import SealedMachineKeys
from ubr.adapters.security.secrets import SecretKeys
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.machines.key import MachineKey
from ubr.domain.machines.key_text import key_id_of

OLD, NEW = b"o" * 32, b"n" * 32


def made(keys: SealedMachineKeys) -> tuple[str, MachineKey]:
    key_id, user_id = MachineKeyId(uuid4()), UserId(uuid4())
    minted = keys.mint(key_id, user_id)
    key = MachineKey(
        id=key_id, user_id=user_id, name="k", sealed=minted.sealed, scope=None, created_at=NOON, expires_at=None
    )
    return minted.text, key


def test_a_key_matches_its_own_text_and_no_other() -> None:
    keys = SealedMachineKeys(SecretKeys([OLD]))
    (text, key), (other, others) = made(keys), made(keys)
    assert key_id_of(text) == key.id
    assert keys.matches(text, key)
    assert not keys.matches(other, key)
    assert not keys.matches(text, others)
    assert not keys.matches(text, None)
    assert not keys.matches("", None)
    assert not keys.matches("ü", key)


def test_two_keys_are_never_alike_and_the_store_holds_nothing_of_them() -> None:
    keys = SealedMachineKeys(SecretKeys([OLD]))
    key_id, user_id = MachineKeyId(uuid4()), UserId(uuid4())
    minted = [keys.mint(key_id, user_id) for _ in range(100)]
    assert len({each.text for each in minted}) == 100
    assert all(each.text[29:72].encode() not in each.sealed and each.text not in repr(each) for each in minted)


def test_a_digest_that_was_written_without_the_secret_or_copied_matches_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever may write to the table, and has no secret, gets no key."""
    keys = SealedMachineKeys(SecretKeys([OLD]))
    text, key = made(SealedMachineKeys(SecretKeys([NEW])))
    assert not keys.matches(text, key)
    text, key = made(keys)
    assert not keys.matches(text, replace(key, user_id=UserId(uuid4())))
    other, others = made(keys)
    assert not keys.matches(other, replace(key, id=key.id, sealed=others.sealed))
    assert len(caplog.messages) == 3
    assert text not in caplog.text


def test_a_key_outlasts_the_secret_once_it_was_rewrapped() -> None:
    text, key = made(SealedMachineKeys(SecretKeys([OLD])))
    both = SealedMachineKeys(SecretKeys([NEW, OLD]))
    assert both.matches(text, key)
    sealed = both.rebind(key)
    assert sealed is not None
    assert sealed != key.sealed
    key = replace(key, sealed=sealed)
    assert both.rebind(key) is key.sealed
    assert SealedMachineKeys(SecretKeys([NEW])).matches(text, key)
    assert not SealedMachineKeys(SecretKeys([OLD])).matches(text, key)
    assert SealedMachineKeys(SecretKeys([OLD])).rebind(key) is None
