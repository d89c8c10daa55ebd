"""Passwords over the time of an installation: a cost that rises, a list that grows, and rules that came later."""

from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.integration.http.kit import sqlite_settings
from tests.support.hashes import bound, opened
from tests.support.people import PASSWORD, World
from tests.support.values import replace
from ubr.adapters.sql import make_engine
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.bootstrap import connect
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import InvalidCredentials, WeakPassword
from ubr.settings import Settings, WrongSetting
from ubr.testing import MovableClock, in_memory

pytestmark = pytest.mark.anyio

LISTED = "widgets of the example company"


async def stored(settings: Settings) -> tuple[str, int, int]:
    """Of the only user: the hash, and both versions."""
    engine = make_engine(settings.database_url)
    async with engine.connect() as connection:
        found = await connection.execute(text("SELECT password_hash, id, version, security_version FROM users"))
        encoded, id, version, security_version = found.one()
    await engine.dispose()
    return opened(encoded, UUID(str(id)), settings.secret_keys), version, security_version


async def test_a_hash_of_a_lower_cost_is_replaced_at_the_next_log_in_and_nobody_is_told(tmp_path: Path) -> None:
    settings, clock = sqlite_settings(tmp_path), MovableClock()
    async with connect(settings, clock=clock) as ubr:
        world = World(ubr, clock)
        member = await world.user(email="somebody@example.org")
    before = await stored(settings)
    assert "t=1," in before[0]
    dearer = replace(settings, argon2_time=2)
    async with connect(dearer, clock=clock) as ubr:
        world = World(ubr, clock)
        shown = await world.seen(member.id)
        await world.acts()
        with pytest.raises(InvalidCredentials):
            await world.log_in(member.email, "wrong" * 4)
        assert await stored(settings) == before
        await world.log_in(member.email)
        after = await stored(settings)
        assert "t=2," in after[0]
        assert after[1:] == before[1:]
        seen = await world.seen(member.id)
        assert (seen, seen.revision) == (shown, shown.revision)
        acts = [entry.action for entry in await world.acts()]
        assert acts == ["session.login_failed", "session.opened"]
        assert await world.alive(member.tokens)
        await world.refresh(member.tokens.refresh_token)
        await world.log_in(member.email)
        assert await stored(settings) == after
    async with connect(settings, clock=clock) as ubr:  # a cost that falls lowers nothing that is stored
        await World(ubr, clock).log_in(member.email)
    assert await stored(settings) == after


async def test_a_hash_that_asks_for_too_much_is_not_looked_at(tmp_path: Path) -> None:
    settings, clock = sqlite_settings(tmp_path), MovableClock()
    async with connect(settings, clock=clock) as ubr:
        world = World(ubr, clock)
        member = await world.register()
        greedy = bound(
            (await stored(settings))[0].replace("m=8,", "m=4294967295,"), member.id, settings.secret_keys, "a-label-"
        )
        engine = make_engine(settings.database_url)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE users SET password_hash = :greedy"), {"greedy": greedy})
        await engine.dispose()
        with pytest.raises(InvalidCredentials):
            await world.log_in(member.email)


async def test_what_is_on_the_own_list_is_set_by_nobody_and_still_opens(tmp_path: Path) -> None:
    """Nobody is locked out by a list of today, and the next password is another one."""
    settings, clock = sqlite_settings(tmp_path), MovableClock()
    async with connect(settings, clock=clock) as ubr:
        member = await World(ubr, clock).register(password=LISTED)
    path = tmp_path / "passwords.txt"
    path.write_text(f"{LISTED.title()}\nthe first of a row\n", "utf-8")
    async with connect(replace(settings, password_block_list=str(path)), clock=clock) as ubr:
        world = World(ubr, clock)
        actor = (await world.logged_in(member.email, LISTED)).actor
        for listed in (LISTED, LISTED.upper(), "The First Of A Row" * 2):
            with pytest.raises(WeakPassword) as failure:
                await world.register(password=listed)
            assert "most common" in failure.value.detail
            for act in (
                ubr.change_password(ChangePasswordCommand(current_password=LISTED, new_password=listed), actor=actor),
                ubr.create_user(CreateUserCommand(email="b@example.org", password=listed), actor=SYSTEM),
                ubr.create_admin(CreateAdminCommand(email="c@example.org", password=listed), actor=SYSTEM),
            ):
                with pytest.raises(WeakPassword):
                    await act
        await world.register(password=f"{LISTED}, and more")
        change = ChangePasswordCommand(current_password=LISTED, new_password=PASSWORD)
        await ubr.change_password(change, actor=actor)


@pytest.mark.parametrize("guessable", ["password12345678", "P@ssw0rd12345678"])
async def test_every_use_case_that_sets_a_password_rejects_one_that_takes_few_guesses(
    tmp_path: Path, guessable: str
) -> None:
    clock = MovableClock()
    async with connect(sqlite_settings(tmp_path), clock=clock) as ubr:
        world = World(ubr, clock)
        actor = (await world.logged_in((await world.register()).email)).actor
        for act in (
            world.register(password=guessable),
            ubr.change_password(ChangePasswordCommand(current_password=PASSWORD, new_password=guessable), actor=actor),
            ubr.create_user(CreateUserCommand(email="b@example.org", password=guessable), actor=SYSTEM),
            ubr.create_admin(CreateAdminCommand(email="c@example.org", password=guessable), actor=SYSTEM),
        ):
            with pytest.raises(WeakPassword, match="little added"):
                await act


async def test_a_list_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "passwords.txt"
    with pytest.raises(WrongSetting, match=r"^UBR_PASSWORD_BLOCK_LIST names .*, which cannot be read: No such file"):
        async with in_memory(password_block_list=str(path)):
            pass


async def test_a_password_like_its_owner_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with in_memory() as (ubr, clock):
        world = World(ubr, clock)
        with pytest.raises(WeakPassword, match="too similar to the e-mail") as failure:
            await world.register("ada.lovelace@example.org", "ada.lovelace12345")
        assert [flaw.pointer for flaw in failure.value.flaws] == ["/password"]
        with pytest.raises(WeakPassword, match="too similar to"):
            await ubr.create_user(
                CreateUserCommand(email="x@example.org", full_name="Ada Lovelace", password="Lovelace!1234567"),
                actor=SYSTEM,
            )
