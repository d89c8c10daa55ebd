"""A program that is killed within its transactions: its row, the act of ubr and its entries are there, or none is."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.integration.production.host_program import act, engine_of, settings_of
from tests.support.plugin import NewDatabase
from tests.support.races import rounds
from ubr import SYSTEM, VerifyLogCommand, connect
from ubr.adapters.sql.migrations import upgrade

pytestmark = [pytest.mark.anyio, pytest.mark.system(seconds=20)]

PROGRAM = Path(__file__).with_name("host_program.py")


async def url_of(kind: str, folder: Path, new_database: NewDatabase) -> str:
    if kind == "postgresql":
        return new_database()
    url = f"sqlite:///{folder / 'ubr.db'}"
    await upgrade(url)
    return url


async def lines_until_killed(url: str, word: str, life: float) -> AsyncIterator[str]:
    """The transactions that one process began. It is killed `life` seconds after the first of them."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.production.host_program", url, word,
        stdout=asyncio.subprocess.PIPE, cwd=PROGRAM.parents[3],
    )  # fmt: skip
    assert process.stdout is not None
    try:
        first = await process.stdout.readline()
        assert first, "the program ended by itself"
        yield first.decode().strip()
        await asyncio.sleep(life)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        rest = await process.stdout.read()
        await process.wait()
    for line in rest.decode().split():
        yield line


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@rounds(15, 10_000)
async def test_a_row_of_the_host_an_act_and_its_entries_are_there_together_or_not_at_all(
    kind: str, rounds: int, tmp_path: Path, new_database: NewDatabase
) -> None:
    url = await url_of(kind, tmp_path, new_database)
    engine = engine_of(url)
    prefix = "ubr." if kind == "postgresql" else ""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE teams (name text PRIMARY KEY)"))
    async with connect(settings_of(url)) as ubr:
        await act(engine, ubr, "warm")
    begun, chance = ["warm"], random.Random(8)  # noqa: S311
    kills = 0
    while len(begun) < rounds or kills < 3:
        life = chance.random() * (0.5 if rounds < 100 else 8)
        begun += [line async for line in lines_until_killed(url, f"k{kills}", life)]
        kills += 1
    async with engine.connect() as connection:

        async def found(query: str) -> list[str]:
            return list((await connection.execute(text(query))).scalars())

        teams = await found("SELECT name FROM teams ORDER BY name")
        emails = await found(f"SELECT email FROM {prefix}users ORDER BY email")  # noqa: S608
        created = await found(f"SELECT target_id FROM {prefix}logs WHERE action = 'user.created'")  # noqa: S608
        assigned = await found(f"SELECT target_id FROM {prefix}logs WHERE action = 'role.assigned'")  # noqa: S608
        unnumbered = await found(f"SELECT thing FROM {prefix}feed WHERE number IS NULL")  # noqa: S608
        ids = {str(each) for each in await found(f"SELECT cast(id AS text) FROM {prefix}users")}  # noqa: S608
    assert sorted(f"{team}@example.org" for team in teams) == sorted(emails)
    assert set(teams) <= set(begun)
    assert len(begun) - len(teams) <= 3 * kills, "nothing but the transactions of the last moments is missing"
    assert {each.replace("-", "") for each in created} == {each.replace("-", "") for each in ids}
    assert len(created) == len(assigned) == len(teams)
    assert unnumbered == []
    async with connect(settings_of(url)) as ubr:
        await ubr.get_checkpoint(actor=SYSTEM)
        assert (await ubr.verify_log(VerifyLogCommand(), actor=SYSTEM)).finding is None
    await engine.dispose()
