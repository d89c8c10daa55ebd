"""A process whose secrets are not those of the installation makes nothing with them, unless it is told to."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from dependency_injector import providers

from tests.simulation.parts import rows_of
from tests.support.people import World
from ubr.adapters.memory import MemoryStore
from ubr.application.app import Application
from ubr.application.audit.verify_log import VerifyLogCommand
from ubr.application.keys.revoke_signing_key import RevokeSigningKeyCommand
from ubr.application.operations.acknowledge_restore import AcknowledgeRestoreCommand
from ubr.bootstrap.memory import MemoryContainer
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import LogKeyLocked, NoSigningKey, SecretMismatch, SigningKeyLocked
from ubr.settings import Settings
from ubr.testing import TINY_HASHING, MovableClock

RIGHT, WRONG = b"r" * 32, b"w" * 32


class House:
    """Rows, and processes with other secrets over them."""

    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), MovableClock()

    def ubr(self, *secrets: bytes) -> Application:
        """What was not initialized, as a command that looks after keys."""
        made = MemoryContainer(settings=Settings.memory(**TINY_HASHING, secret_keys=secrets))
        made.clock.override(providers.Object(self.clock))
        made.store.override(providers.Object(self.store))
        return made.application()

    async def service(self, *secrets: bytes) -> World:
        ubr = self.ubr(*secrets)
        await ubr.initialize()
        return World(ubr, self.clock)


@pytest.fixture
async def house() -> House:
    house = House()
    await house.service(RIGHT)
    return house


Act: TypeAlias = Callable[[Application, bool], Awaitable[Any]]


async def revoke(ubr: Application, lost: bool) -> None:
    [key] = [key for key in await ubr.list_signing_keys(actor=SYSTEM) if key.state == "signing"]
    await ubr.revoke_signing_key(RevokeSigningKeyCommand(kid=key.kid, lost_secret=lost), actor=SYSTEM)


async def rotate_log_key(ubr: Application, lost: bool) -> None:
    await ubr.rotate_log_key(actor=SYSTEM, lost_secret=lost)


async def settle(ubr: Application, lost: bool) -> None:
    await ubr.acknowledge_restore(AcknowledgeRestoreCommand(lost_secret=lost), actor=SYSTEM)


async def rotate(ubr: Application, lost: bool) -> None:
    await ubr.rotate_signing_key(actor=SYSTEM)


async def rewrap(ubr: Application, lost: bool) -> None:
    await ubr.rewrap_signing_keys(actor=SYSTEM)


SEALING: dict[str, tuple[Act, type[Exception]]] = {
    "revoke": (revoke, SecretMismatch),
    "rotate": (rotate, SecretMismatch),
    "rotate the key of the log": (rotate_log_key, SecretMismatch),
    "settle a restore": (settle, SecretMismatch),
    "rewrap": (rewrap, SigningKeyLocked),
}
"""Every use case that seals something."""


@pytest.mark.parametrize("name", SEALING)
async def test_a_process_with_another_secret_creates_nothing(house: House, name: str) -> None:
    act, error = SEALING[name]
    member = await (await house.service(RIGHT)).user()
    before = rows_of(house.store)
    with pytest.raises(error):
        await act(house.ubr(WRONG), False)
    assert rows_of(house.store) == before
    world = await house.service(RIGHT)
    assert await world.alive(await world.log_in(member.email))
    await world.ubr.get_checkpoint(actor=SYSTEM)


@pytest.mark.parametrize("secrets", [(RIGHT,), (RIGHT, WRONG), (WRONG, RIGHT)], ids=["alone", "first", "last"])
@pytest.mark.parametrize("name", SEALING)
async def test_a_list_of_secrets_with_the_right_one_is_accepted(
    house: House, name: str, secrets: tuple[bytes, ...]
) -> None:
    await SEALING[name][0](house.ubr(*secrets), False)


async def test_one_decrypted_key_is_enough_to_revoke_another(house: House) -> None:
    """A key that was made with a lost secret is given up by whoever has that of the others."""
    await house.ubr(RIGHT).rotate_signing_key(actor=SYSTEM)
    [published] = [key for key in await house.ubr(RIGHT).list_signing_keys(actor=SYSTEM) if key.state == "published"]
    lost = RevokeSigningKeyCommand(kid=published.kid, lost_secret=True)
    await house.ubr(WRONG).revoke_signing_key(lost, actor=SYSTEM)
    await revoke(house.ubr(RIGHT), False)
    await house.service(RIGHT)


async def test_confirming_a_lost_secret_allows_another_one(house: House) -> None:
    await revoke(house.ubr(WRONG), True)
    with pytest.raises(LogKeyLocked):
        await house.service(WRONG)
    with pytest.raises(SecretMismatch):
        await rotate_log_key(house.ubr(WRONG), False)
    await rotate_log_key(house.ubr(WRONG), True)
    world = await house.service(WRONG)
    assert await world.alive((await world.user()).tokens)
    assert (await world.ubr.verify_log(VerifyLogCommand(), actor=SYSTEM)).finding is None


async def test_a_restore_is_settled_with_another_secret_where_that_is_meant(house: House) -> None:
    await settle(house.ubr(WRONG), True)
    world = await house.service(WRONG)
    assert await world.alive((await world.user()).tokens)


# --- the first start -------------------------------------------------------------------------------------------------


async def test_no_key_of_the_log_is_made_beside_keys_that_do_not_open(house: House) -> None:
    """As on a database of the version that had no tree over its log."""
    house.store.log_keys.clear()
    before = rows_of(house.store)
    with pytest.raises(SigningKeyLocked):
        await house.service(WRONG)
    assert rows_of(house.store) == before
    await house.service(RIGHT)


async def test_no_signing_key_is_made_beside_a_key_of_the_log_that_does_not_open(house: House) -> None:
    house.store.signing_keys.clear()
    before = rows_of(house.store)
    with pytest.raises(LogKeyLocked):
        await house.service(WRONG)
    assert rows_of(house.store) == before
    await house.service(RIGHT)


# --- whether it is ready ---------------------------------------------------------------------------------------------


async def test_a_process_on_which_no_key_signs_is_not_ready(house: House) -> None:
    world = await house.service(RIGHT)
    await world.ubr.initialize.check()
    await revoke(house.ubr(WRONG), True)
    await world.ubr.check_health()
    with pytest.raises(NoSigningKey):
        await world.ubr.initialize.check()
    with pytest.raises(NoSigningKey):
        await world.user()
    await revoke(house.ubr(WRONG, RIGHT), False)
    with pytest.raises(NoSigningKey):
        await world.ubr.initialize.check()
    await revoke(house.ubr(RIGHT), True)
    await world.ubr.initialize.check()


async def test_a_process_that_cannot_sign_the_log_is_not_ready(house: House) -> None:
    world = await house.service(RIGHT)
    await rotate_log_key(house.ubr(WRONG), True)
    with pytest.raises(LogKeyLocked):
        await world.ubr.initialize.check()
