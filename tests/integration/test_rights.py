"""Random acts of actors with random rights raise nobody, are entries of the log, and end the links that they end.

`make test-rights` does 100,000 of them on each store (RIGHTS_ACTS=… for another number, RIGHTS_SEED=… for other acts).
The rules are worth as much as they notice: each check of the use cases is removed in turn, and the acts find it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.support.environments import RIGHTS_ACTS, RIGHTS_SEED
from tests.support.plugin import NewDatabase
from tests.support.removals import Check, checks_of
from tests.support.rights import Rightful, rightful
from ubr.bootstrap import migrate
from ubr.settings import MEMORY, Settings

pytestmark = pytest.mark.anyio

LONGEST: Final = 4000
"""Acts on one memory store. The next ones are done on another, because it reads its whole log for each page of it."""


async def do(world: Rightful, acts: int, seed: int) -> None:
    try:
        while world.done < acts:
            await world.step()
    except AssertionError as error:
        error.add_note("\n".join([f"The seed is {seed}.", *world.history[-30:]]))
        raise
    assert 0 < world.refused < world.done, "some acts are allowed, and some are not"


async def campaign(url: str, usual: int, seed: int) -> None:
    acts, seed = RIGHTS_ACTS or usual, RIGHTS_SEED + seed
    at_once = min(acts, LONGEST) if url == MEMORY else acts
    for first in range(0, acts, at_once):
        async with rightful(url, seed + first) as world:
            await do(world, min(at_once, acts - first), seed + first)


@pytest.mark.parametrize("seed", range(2))
async def test_in_memory(seed: int) -> None:
    await campaign(MEMORY, 300, seed)


async def test_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}"
    await migrate(Settings.memory(database_url=url))
    await campaign(url, 40, 5)


async def test_on_postgresql(new_database: NewDatabase) -> None:
    await campaign(new_database(), 40, 6)


# --- what the acts find ----------------------------------------------------------------------------------------------

QUICK: Final = ("machines.key_rights",)
"""Their checks are removed in `make test-system`, those of the others in `make test-long`."""

PLAYED: Final = [
    *QUICK,
    *(f"machines.{name}" for name in ("create_machine", "delete_machine", "update_machine")),
    *(f"machines.{name}" for name in ("get_machine", "list_machines", "list_machine_keys")),
    *(f"roles.{name}" for name in ("assign_role", "unassign_role", "create_role", "update_role", "delete_role")),
    *(f"roles.{name}" for name in ("role_names", "get_role", "list_roles", "list_user_roles")),
    *(f"sessions.{name}" for name in ("list_sessions", "revoke_session", "revoke_user_sessions")),
    *(f"accounts.{name}" for name in ("create_user", "update_user", "delete_user", "erase_user", "unlock_user")),
    *(f"accounts.{name}" for name in ("export_user", "get_user", "get_user_by_email", "list_users", "explain_login")),
    *(f"audit.{name}" for name in ("list_logs", "get_activity", "list_log_keys")),
    *("mail.list_mail", "keys.list_signing_keys", "operations.inspect_installation"),
]
"""The modules whose use cases are among the acts."""

EARLY: Final = "(await self.authorize(actor)).require(*needed)"
"""What `CreateUser` checks before it hashes a password, and again in its unit of work, which decides."""

CHECKS: Final = [
    pytest.param(check, id=str(check), marks=pytest.mark.system if check.module in QUICK else pytest.mark.long)
    for check in checks_of(PLAYED)
    if check.text != EARLY
]

WORLDS: Final = 15


@pytest.mark.parametrize("check", CHECKS)
async def test_a_missing_check_is_found(check: Check) -> None:
    with check.removed():
        for seed in range(WORLDS):
            async with rightful(MEMORY, seed) as world:
                try:
                    await do(world, LONGEST // 2, seed)
                except Exception:  # noqa: BLE001 - the rules, or the domain for which the check stands
                    return
    pytest.fail(f"{WORLDS * LONGEST // 2} acts do not need it")
