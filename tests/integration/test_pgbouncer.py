"""ubr through a real PgBouncer. That the contracts hold through it, `make test-long` asks with `--pgbouncer`."""

import asyncio
from typing import Any, get_args
from uuid import uuid4

import anyio
import anyio.to_thread
import asyncpg
import pytest
from sqlalchemy import text

from tests.support.people import NO_LIMITS
from tests.support.servers import PgBouncer, PoolMode, PostgresServer
from ubr import SYSTEM, Application, GetUserCommand, RegisterUserCommand, Settings, connect
from ubr.adapters.sql import ConnectionLimits, make_engine
from ubr.adapters.sql.migrations import upgrade
from ubr.domain.errors import StoreUnavailable
from ubr.testing import TINY_HASHING

pytestmark = [pytest.mark.anyio, pytest.mark.system, pytest.mark.long]

UNNAMED = {"prepared_statement_cache_size": "0"}


async def register(ubr: Application) -> Any:
    made = await ubr.register_user(
        RegisterUserCommand(email=f"{uuid4().hex}@example.org", password="a long enough password")
    )
    assert made is not None
    return made.id


@pytest.mark.parametrize("mode", get_args(PoolMode))
async def test_an_installation_is_made_and_used_through_pgbouncer(
    mode: PoolMode, postgres_server: PostgresServer
) -> None:
    name = f"bouncer_{uuid4().hex}"
    direct = await anyio.to_thread.run_sync(postgres_server.create_database, name)
    # Fewer sessions than clients: each is many clients' in turn.
    with PgBouncer.start(
        postgres_server, mode, {"default_pool_size": "8" if mode == "transaction" else "40"}
    ) as bouncer:
        url = bouncer.through(direct, **(UNNAMED if mode == "transaction" else {}))
        settings = Settings.memory(database_url=url, migrate="auto", login_rate_limit=NO_LIMITS, **TINY_HASHING)
        async with connect(settings) as first, connect(settings) as second:
            for _ in range(10):
                made = await asyncio.gather(*(register(ubr) for ubr in (first, second) * 5))
                read = [
                    ubr.get_user(GetUserCommand(user_id=user_id), actor=SYSTEM)
                    for user_id in made
                    for ubr in (first, second)
                ]
                assert [user.id for user in await asyncio.gather(*read)] == [each for each in made for _ in range(2)]
    await anyio.to_thread.run_sync(postgres_server.drop_database, name)


async def test_what_a_transaction_is_told_stays_in_it(postgres_server: PostgresServer) -> None:
    with PgBouncer.start(postgres_server, "transaction", {"default_pool_size": "1"}) as bouncer:
        url = bouncer.through(postgres_server.url("postgres"), **UNNAMED)
        engines = [make_engine(url, ConnectionLimits(statement=statement)) for statement in (3.0, 7.0)]
        for _ in range(3):
            for engine, expected in zip(engines, ("3s", "7s"), strict=True):
                async with engine.begin() as connection:
                    assert (await connection.execute(text("SHOW statement_timeout"))).scalar() == expected
        for engine in engines:
            await engine.dispose()


@pytest.mark.parametrize("options", [{}, UNNAMED], ids=["named", "unnamed"])
async def test_a_pooled_session_keeps_no_setting(postgres_server: PostgresServer, options: dict[str, str]) -> None:
    with PgBouncer.start(postgres_server, "transaction", {"default_pool_size": "1"}) as bouncer:
        direct = postgres_server.url("postgres")
        before = await _seen_by_a_stranger(bouncer.through(direct))
        engine = make_engine(bouncer.through(direct, **options), ConnectionLimits(statement=7.0))
        async with engine.begin() as connection:
            assert (await connection.execute(text("SHOW statement_timeout"))).scalar() == "7s"
        assert await _seen_by_a_stranger(bouncer.through(direct)) == before
        await engine.dispose()


async def _seen_by_a_stranger(url: str) -> list[Any]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), statement_cache_size=0)
    try:
        return [await connection.fetchval(f"SHOW {name}") for name in ("statement_timeout", "search_path", "jit")]
    finally:
        await connection.close()


async def test_named_statements_behind_pooled_transactions_are_named_as_the_cause(
    postgres_server: PostgresServer,
) -> None:
    name = f"bouncer_{uuid4().hex}"
    direct = await anyio.to_thread.run_sync(postgres_server.create_database, name)
    await upgrade(direct)
    with PgBouncer.start(postgres_server, "transaction", {"default_pool_size": "6"}) as bouncer:
        settings = Settings.memory(database_url=bouncer.through(direct), login_rate_limit=NO_LIMITS, **TINY_HASHING)
        with pytest.raises(StoreUnavailable) as refused:
            await _register_for_long(settings)
    assert "prepared_statement_cache_size=0" in str(refused.value)
    await anyio.to_thread.run_sync(postgres_server.drop_database, name)


async def _register_for_long(settings: Settings) -> None:
    async with connect(settings) as first, connect(settings) as second:
        for _ in range(200):
            await asyncio.gather(*(register(ubr) for ubr in (first, second) * 5))
