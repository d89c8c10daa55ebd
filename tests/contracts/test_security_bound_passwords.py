"""The PasswordHasher port: a hash belongs to one user and to the secrets of the installation."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.support.hashes import opened
from ubr.adapters.security.bound_passwords import BoundPasswordHasher
from ubr.adapters.security.passwords import Argon2PasswordHasher
from ubr.adapters.security.secrets import SecretKeys
from ubr.application.ports.accounts import PasswordHasher
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.ids import UserId

OLD, NEW = b"o" * 32, b"n" * 32
PASSWORD = "correct horse battery staple"
OWNER, OTHER = UserId(UUID(int=1)), UserId(UUID(int=2))


@pytest.fixture
def plain() -> Iterator[Argon2PasswordHasher]:
    made = Argon2PasswordHasher(16, 2, 1, workers=2)
    yield made
    made.close()


def bound_by(plain: Argon2PasswordHasher, *secrets: bytes) -> PasswordHasher:
    return BoundPasswordHasher(plain, SecretKeys(secrets))


async def test_a_hash_is_one_of_its_owner_alone(plain: Argon2PasswordHasher, caplog: pytest.LogCaptureFixture) -> None:
    port = bound_by(plain, NEW)
    hashed = await port.hash(PASSWORD, owner=OWNER)
    assert await port.verify(PASSWORD, hashed, owner=OWNER)
    assert not await port.verify(PASSWORD + "x", hashed, owner=OWNER)
    assert not port.outdated(hashed, OWNER)
    assert caplog.text == ""
    assert not await port.verify(PASSWORD, hashed, owner=OTHER)
    assert f"The password hash of user {OTHER} was copied or changed" in caplog.text
    assert not await port.verify(PASSWORD, hashed, owner=None)
    assert not await port.verify(PASSWORD, None, owner=OWNER)
    assert port.rebind(hashed, OWNER) is hashed


async def test_the_stored_text_reveals_no_hash(plain: Argon2PasswordHasher) -> None:
    hashed = await bound_by(plain, NEW).hash(PASSWORD, owner=OWNER)
    assert hashed.encoded.startswith("$ubr$v=1$")
    assert "argon2" not in hashed.encoded
    assert opened(hashed.encoded, OWNER, [NEW]).startswith("$argon2id$v=19$m=16,t=2,p=1$")


async def test_a_hash_of_an_installation_is_none_of_another(
    plain: Argon2PasswordHasher, caplog: pytest.LogCaptureFixture
) -> None:
    hashed, other = await bound_by(plain, OLD).hash(PASSWORD, owner=OWNER), bound_by(plain, NEW)
    assert other.lacks_secret(hashed)
    for _ in range(2):
        assert not await other.verify(PASSWORD, hashed, owner=OWNER)
    assert caplog.text.count("UBR_SECRET_KEY lacks a secret") == 1
    assert other.outdated(hashed, OWNER)
    assert other.rebind(hashed, OWNER) is None


async def test_an_older_secret_verifies_until_the_hash_is_encrypted_again(plain: Argon2PasswordHasher) -> None:
    hashed = await bound_by(plain, OLD).hash(PASSWORD, owner=OWNER)
    both, alone = bound_by(plain, NEW, OLD), bound_by(plain, NEW)
    assert await both.verify(PASSWORD, hashed, owner=OWNER)
    assert both.outdated(hashed, OWNER)
    assert not both.lacks_secret(hashed)
    again = both.rebind(hashed, OWNER)
    assert again is not None
    assert await alone.verify(PASSWORD, again, owner=OWNER)
    assert not alone.outdated(again, OWNER)
    assert alone.rebind(again, OWNER) is again


async def test_a_hash_from_before_verifies_and_is_outdated(plain: Argon2PasswordHasher) -> None:
    port, hashed = bound_by(plain, NEW), await plain.hash(PASSWORD)
    assert await port.verify(PASSWORD, hashed, owner=OWNER)
    assert port.outdated(hashed, OWNER)
    assert not port.lacks_secret(hashed)
    again = port.rebind(hashed, OWNER)
    assert again is not None
    assert await port.verify(PASSWORD, again, owner=OWNER)
    assert not await port.verify(PASSWORD, again, owner=OTHER)


async def test_a_changed_hash_verifies_nothing(plain: Argon2PasswordHasher) -> None:
    port = bound_by(plain, NEW)
    text = (await port.hash(PASSWORD, owner=OWNER)).encoded
    for changed in (text[:-4] + "AAAA", text[:-1], text + "A", text.replace("v=1", "v=2"), text[:17], "$ubr$", ""):
        assert not await port.verify(PASSWORD, PasswordHash(changed), owner=OWNER)
        assert port.outdated(PasswordHash(changed), OWNER)
