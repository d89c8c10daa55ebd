"""Keys that change under two running instances of the service: nobody is restarted, and no good token is refused."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from sqlalchemy import Uuid, insert, literal, select, text, update
from sqlalchemy.exc import DBAPIError

from tests.integration.http.kit import migrated_file
from tests.support.people import NO_LIMITS
from tests.support.plugin import NewDatabase
from tests.support.races import rounds, two_instances
from ubr import (
    SYSTEM,
    Application,
    ListLogsCommand,
    ListUsersCommand,
    LogInCommand,
    RefreshSessionCommand,
    RegisterUserCommand,
    RevokeSigningKeyCommand,
    Settings,
    TokensResult,
    connect,
)
from ubr.adapters.sql import ConnectionLimits, make_engine
from ubr.adapters.sql.tables import users
from ubr.bootstrap import open_environment
from ubr.domain.errors import InvalidCredentials, InvalidToken, LogKeyLocked, SecretMismatch, SigningKeyLocked
from ubr.domain.keys.signing_key import NOTICE, OVERLAP
from ubr.testing import TINY_HASHING, MovableClock

pytestmark = pytest.mark.system

EMAIL, PASSWORD = "user@example.org", "a long enough password"
OLD, NEW = b"o" * 32, b"n" * 32

Start = Callable[..., Awaitable[Application]]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        (tmp_path / "ubr.db").write_bytes(migrated_file())
        return f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}"
    new_database: NewDatabase = request.getfixturevalue("new_database")
    return new_database()


def settings_for(url: str, **changes: Any) -> Settings:
    quick = {"revocation_poll": timedelta(milliseconds=50), "revocation_bound": timedelta(milliseconds=400)}
    return Settings.memory(
        **{"secret_keys": (OLD,), **TINY_HASHING, **quick, "migrate": "auto", **changes}, database_url=url
    )


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def start(url: str, clock: MovableClock) -> AsyncIterator[Start]:
    """Start instances of the service on one database and one clock."""
    async with AsyncExitStack() as stack:

        async def started(**changes: Any) -> Application:
            return await stack.enter_async_context(connect(settings_for(url, **changes), clock=clock))

        yield started


async def log_in(ubr: Application, email: str = EMAIL) -> TokensResult:
    return await ubr.log_in(LogInCommand(email=email, password=PASSWORD))


async def register(ubr: Application, email: str = EMAIL) -> None:
    await ubr.register_user(RegisterUserCommand(email=email, password=PASSWORD))


def kid_of(tokens: TokensResult) -> str:
    return str(jwt.get_unverified_header(tokens.access_token)["kid"])


async def published(ubr: Application) -> set[str]:
    return {json.loads(text)["kid"] for text in await ubr.get_public_keys()}


async def states(ubr: Application) -> dict[str, str]:
    return {key.kid: key.state for key in await ubr.list_signing_keys(actor=SYSTEM)}


async def revoke(ubr: Application, kid: str) -> str:
    return (await ubr.revoke_signing_key(RevokeSigningKeyCommand(kid=kid), actor=SYSTEM)).kid


async def refused(ubr: Application, tokens: TokensResult) -> bool:
    try:
        await ubr.authenticate(tokens.access_token)
    except InvalidToken:
        return True
    return False


async def test_a_rotation_as_the_other_instance_sees_it(start: Start, clock: MovableClock) -> None:
    first, second = await start(), await start()
    await register(first)
    old = await log_in(first)
    assert not await refused(second, old)
    new = (await first.rotate_signing_key(actor=SYSTEM)).kid
    # Published everywhere when the answer is there, and signing nowhere yet.
    assert await published(second) == await published(first) == {kid_of(old), new}
    assert {kid_of(await log_in(ubr)) for ubr in (first, second)} == {kid_of(old)}
    clock.move(seconds=NOTICE.total_seconds() - 1)
    last = await log_in(second)
    assert kid_of(last) == kid_of(old)
    clock.move(seconds=1)
    for one, other in ((first, second), (second, first)):
        tokens = await log_in(one)
        assert kid_of(tokens) == new
        assert not await refused(other, tokens)
        assert not await refused(other, last)
    clock.move(seconds=OVERLAP.total_seconds() - 1)
    assert await published(second) == {kid_of(old), new}
    clock.move(seconds=1)
    assert await published(second) == await published(first) == {new}


async def test_a_revocation_holds_everywhere_when_its_answer_is_there(start: Start) -> None:
    first, second = await start(), await start()
    await register(first)
    for one, other in ((first, second), (second, first), (first, first)):
        tokens = await log_in(one)
        assert not await refused(first, tokens)
        assert not await refused(second, tokens)
        new = await revoke(one, kid_of(tokens))
        assert await refused(other, tokens)
        assert await refused(one, tokens)
        # Sessions live on, and what replaces the token is good at once, wherever it comes from.
        again = await other.refresh_session(RefreshSessionCommand(refresh_token=tokens.refresh_token))
        assert kid_of(again) == new
        assert again.session_id == tokens.session_id
        assert not await refused(one, again)
        assert await published(other) == {new}


async def test_a_token_of_a_key_made_a_moment_ago_is_good_where_nobody_has_heard_of_it(start: Start) -> None:
    """The instance that revoked signs with the new key before the feed has told the other one."""
    slow = {"revocation_poll": timedelta(seconds=20), "revocation_bound": timedelta(seconds=30)}
    first, second = await start(), await start(**slow)
    await register(first)
    assert not await refused(second, await log_in(first))
    new = await revoke(first, kid_of(await log_in(first)))
    tokens = await log_in(first)
    assert kid_of(tokens) == new
    async with asyncio.timeout(15):
        assert not await refused(second, tokens)


async def test_a_revocation_is_in_the_log_with_what_came_of_it(start: Start) -> None:
    ubr = await start()
    await register(ubr)
    old = kid_of(await log_in(ubr))
    new = await revoke(ubr, old)
    entries = (await ubr.list_logs(ListLogsCommand(limit=200), actor=SYSTEM)).items
    told = {(entry.action, entry.target.id) for entry in entries if entry.target and "signing_key" in entry.action}
    assert told == {("signing_key.created", old), ("signing_key.revoked", old), ("signing_key.created", new)}


async def test_a_revocation_that_is_erased_from_the_database_holds(start: Start, url: str, clock: MovableClock) -> None:
    first = await start()
    await register(first)
    tokens = await log_in(first)
    clock.move(seconds=1)
    new = await revoke(first, kid_of(tokens))
    engine = make_engine(url, ConnectionLimits())
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE signing_keys SET revoked_at = NULL, retired_at = NULL"))
    await engine.dispose()
    later = await start()
    await first.rotate_signing_key(actor=SYSTEM)  # a reason to read the keys again
    for ubr in (first, later):
        assert await refused(ubr, tokens)
        assert kid_of(await log_in(ubr)) == new


# --- the algorithm ---------------------------------------------------------------------------------------------------


async def test_another_algorithm_comes_with_the_next_rotation(start: Start, clock: MovableClock) -> None:
    first = await start(jwt_algorithm="EdDSA")
    await register(first)
    old = await log_in(first)
    second = await start(jwt_algorithm="ES256")
    assert await published(second) == {kid_of(old)}
    assert not await refused(second, old)
    assert kid_of(await log_in(second)) == kid_of(old)
    waiting = await first.rotate_signing_key(actor=SYSTEM)
    clock.move(seconds=1)
    new = await second.rotate_signing_key(actor=SYSTEM)
    assert (waiting.algorithm, new.algorithm) == ("EdDSA", "ES256")
    assert (await second.rotate_signing_key(actor=SYSTEM)).kid == new.kid
    clock.move(seconds=NOTICE.total_seconds())
    for one, other in ((first, second), (second, first)):
        tokens = await log_in(one)
        assert kid_of(tokens) == new.kid
        assert jwt.get_unverified_header(tokens.access_token)["alg"] == "ES256"
        assert not await refused(other, tokens)
        assert not await refused(other, old) or clock() > old.user.created_at + timedelta(minutes=10)
    assert await published(first) == {kid_of(old), waiting.kid, new.kid}


# --- the secret ------------------------------------------------------------------------------------------------------


async def test_a_secret_is_replaced_while_the_service_runs(start: Start) -> None:
    running = await start(secret_keys=(OLD,))
    await register(running)
    for number in range(3):
        await register(running, f"user{number}@example.org")
    tokens, kept = await log_in(running), await log_in(running)
    cursor = (await running.list_users(ListUsersCommand(limit=2), actor=SYSTEM)).next_cursor
    await running.rotate_signing_key(actor=SYSTEM)

    both = await start(secret_keys=(NEW, OLD))
    assert not await refused(both, tokens)
    assert len((await both.list_users(ListUsersCommand(limit=2, cursor=cursor), actor=SYSTEM)).items) == 2
    with pytest.raises(SigningKeyLocked):
        await start(secret_keys=(NEW,))
    await log_in(both, "user2@example.org")  # encrypts this one password hash again
    done = await both.rewrap_signing_keys(actor=SYSTEM)
    assert (done.keys, done.rewrapped) == (3, 3)  # the key of the log is one of them
    assert (done.passwords, done.lost) == (3, 0)
    done = await both.rewrap_signing_keys(actor=SYSTEM)
    assert (done.keys, done.rewrapped, done.passwords) == (3, 0, 0)

    refreshed = await both.refresh_session(RefreshSessionCommand(refresh_token=kept.refresh_token))
    alone = await start(secret_keys=(NEW,))
    assert not await refused(alone, tokens)
    assert not await refused(running, await log_in(alone))
    await alone.refresh_session(RefreshSessionCommand(refresh_token=refreshed.refresh_token))
    with pytest.raises(InvalidToken):
        await alone.refresh_session(RefreshSessionCommand(refresh_token=tokens.refresh_token))
    with pytest.raises(SigningKeyLocked):
        await start(secret_keys=(OLD,))
    for email in (EMAIL, "user0@example.org", "user2@example.org"):
        await log_in(alone, email)
    # Whoever still runs with the old secret goes on with its keys, also when it reads them again.
    await running.initialize()
    assert not await refused(running, tokens)


async def test_an_old_secret_that_passwords_need_is_missed_at_the_start(
    start: Start, clock: MovableClock, caplog: pytest.LogCaptureFixture
) -> None:
    running, both = await start(secret_keys=(OLD,)), await start(secret_keys=(NEW, OLD))
    await register(running)
    # The keys no longer need the old secret, and nothing was rewrapped.
    await both.rotate_signing_key(actor=SYSTEM)
    clock.move(seconds=(NOTICE + OVERLAP).total_seconds())
    await both.rotate_log_key(actor=SYSTEM)
    assert "UBR_SECRET_KEY lacks a secret" not in caplog.text
    alone = await start(secret_keys=(NEW,))
    assert "the password hashes of 1 of the 1 oldest users, who cannot log in" in caplog.text
    with pytest.raises(InvalidCredentials):
        await log_in(alone)
    assert (await alone.rewrap_signing_keys(actor=SYSTEM)).lost == 1
    done = await both.rewrap_signing_keys(actor=SYSTEM)
    assert (done.passwords, done.lost) == (1, 0)
    await log_in(alone)


@pytest.mark.parametrize("act", ["set", "add"])
async def test_the_database_takes_no_password_hash_that_is_not_bound(start: Start, url: str, act: str) -> None:
    ubr = await start()
    await register(ubr)
    plain = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGk"
    statement: Any = update(users).values(password_hash=plain)
    if act == "add":
        copied: dict[str, Any] = {"id": literal(uuid4(), Uuid()), "email_key": literal("new")}
        copied |= {"password_hash": literal(plain)}
        columns: list[Any] = [copied.get(column.name, column) for column in users.columns]
        statement = insert(users).from_select([column.name for column in users.columns], select(*columns))
    engine = make_engine(url, ConnectionLimits())
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError, match="must be bound to the secret"):
            await connection.execute(statement)
    await engine.dispose()
    await log_in(ubr)


async def test_an_installation_can_recover_without_its_secrets(start: Start, url: str, clock: MovableClock) -> None:
    first = await start(secret_keys=(OLD,))
    await register(first)
    tokens = await log_in(first)
    with pytest.raises(SigningKeyLocked) as failure:
        await start(secret_keys=(NEW,))
    assert failure.value.kids == (kid_of(tokens),)
    async with open_environment(settings_for(url, secret_keys=(NEW,)), clock=clock, prepared=False) as unprepared:
        ubr = unprepared.application
        with pytest.raises(SigningKeyLocked):
            await ubr.rewrap_signing_keys(actor=SYSTEM)
        with pytest.raises(SecretMismatch):
            await revoke(ubr, kid_of(tokens))
        lost = RevokeSigningKeyCommand(kid=kid_of(tokens), lost_secret=True)
        new = (await ubr.revoke_signing_key(lost, actor=SYSTEM)).kid
    with pytest.raises(LogKeyLocked):
        await start(secret_keys=(NEW,))
    async with open_environment(settings_for(url, secret_keys=(NEW,)), clock=clock, prepared=False) as unprepared:
        await unprepared.application.rotate_log_key(actor=SYSTEM, lost_secret=True)
    second = await start(secret_keys=(NEW,))
    assert await refused(second, tokens)
    with pytest.raises(InvalidToken):  # its digest needs the lost secret, and so does the password
        await second.refresh_session(RefreshSessionCommand(refresh_token=tokens.refresh_token))
    await register(second, "later@example.org")
    assert kid_of(await log_in(second, "later@example.org")) == new
    # What is of no use any more need not open.
    async with open_environment(settings_for(url, secret_keys=(NEW,)), clock=clock) as prepared:
        done = await prepared.application.rewrap_signing_keys(actor=SYSTEM)
    assert (done.keys, done.rewrapped) == (4, 0)


async def test_a_key_made_with_another_secret_does_not_stop_who_cannot_open_it(
    start: Start, clock: MovableClock, caplog: pytest.LogCaptureFixture
) -> None:
    running, careless = await start(secret_keys=(OLD,)), await start(secret_keys=(NEW, OLD))
    await register(running)
    tokens = await log_in(running)
    new = (await careless.rotate_signing_key(actor=SYSTEM)).kid
    assert not await refused(running, tokens)
    assert new not in await published(running)
    assert f"UBR_SECRET_KEY does not decrypt a newly created signing key: {new}" in caplog.text


# --- at once ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def instances(new_database: NewDatabase) -> AsyncIterator[tuple[Application, Application]]:
    # A fast machine logs in more often than an account may.
    async with two_instances(settings_for(new_database(), login_rate_limit=NO_LIMITS)) as both:
        yield both


@rounds(3, 100)
async def test_many_concurrent_rotations_return_one_key(
    instances: tuple[Application, Application], rounds: int
) -> None:
    for _ in range(rounds):
        made = await asyncio.gather(*(instances[at % 2].rotate_signing_key(actor=SYSTEM) for at in range(8)))
        [kid] = {key.kid for key in made}
        found = await states(instances[0])
        assert [each for each, state in found.items() if state == "published"] == [kid]
        assert list(found.values()).count("signing") == 1
        await revoke(instances[1], kid)


@rounds(3, 100)
async def test_many_concurrent_revocations_of_a_key_return_one_successor(
    instances: tuple[Application, Application], rounds: int
) -> None:
    for _ in range(rounds):
        found = await states(instances[0])
        old = next(kid for kid, state in found.items() if state == "signing")
        [new] = set(await asyncio.gather(*(revoke(instances[at % 2], old) for at in range(8))))
        assert (await states(instances[0]))[new] == "signing"
        assert list((await states(instances[0])).values()).count("signing") == 1


@rounds(4, 200)
async def test_logins_succeed_while_keys_change(instances: tuple[Application, Application], rounds: int) -> None:
    """No call fails, and a token is refused only where its key was given up. Its session then still refreshes."""
    rng = random.Random(11)  # noqa: S311 - no secret
    for number in range(4):
        await register(instances[0], f"user{number}@example.org")
    given_up: set[str] = set()
    over = False
    used = 0

    async def client(number: int) -> None:
        nonlocal used
        tokens = await log_in(rng.choice(instances), f"user{number}@example.org")
        while not over:
            if await refused(rng.choice(instances), tokens):
                assert kid_of(tokens) in given_up
                again = RefreshSessionCommand(refresh_token=tokens.refresh_token)
                tokens = await rng.choice(instances).refresh_session(again)
            elif rng.random() < 0.3:
                tokens = await log_in(rng.choice(instances), f"user{number}@example.org")
            used += 1

    async def operator(ubr: Application) -> None:
        for _ in range(rounds):
            kids = [kid for kid, state in (await states(ubr)).items() if state in {"signing", "published"}]
            kid = rng.choice(kids)
            if rng.random() < 0.5:
                await ubr.rotate_signing_key(actor=SYSTEM)
            else:
                given_up.add(kid)
                await revoke(ubr, kid)

    clients = [asyncio.create_task(client(number)) for number in range(4)]
    await asyncio.gather(operator(instances[0]), operator(instances[1]))
    over = True
    await asyncio.gather(*clients)
    assert used > rounds
    assert given_up
    found = list((await states(instances[0])).values())
    assert found.count("signing") == 1
    assert found.count("published") <= 1
