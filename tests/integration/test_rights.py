"""Random acts of actors with random rights raise nobody, are entries of the log, and end the links that they end.

`make test-rights` does 100,000 of them on each store (RIGHTS_ACTS=… for another number, RIGHTS_SEED=… for other acts).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.environments import RIGHTS_ACTS, RIGHTS_SEED
from tests.support.plugin import NewDatabase
from tests.support.rights import rightful
from ubr.bootstrap import migrate
from ubr.settings import MEMORY, Settings

pytestmark = pytest.mark.anyio


async def campaign(url: str, usual: int, seed: int) -> None:
    acts, seed = RIGHTS_ACTS or usual, RIGHTS_SEED + seed
    async with rightful(url, seed) as world:
        try:
            while world.done < acts:
                await world.step()
        except AssertionError as error:
            error.add_note("\n".join([f"The seed is {seed}.", *world.history[-30:]]))
            raise
        assert 0 < world.refused < world.done, "some acts are allowed, and some are not"


@pytest.mark.parametrize("seed", range(2))
async def test_in_memory(seed: int) -> None:
    await campaign(MEMORY, 300, seed)


async def test_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}"
    await migrate(Settings.memory(database_url=url))
    await campaign(url, 40, 5)


async def test_on_postgresql(new_database: NewDatabase) -> None:
    await campaign(new_database(), 40, 6)
