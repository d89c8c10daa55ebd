"""Random acts of actors with random rights raise nobody, are entries of the log, and end the links that they end.

`make test-rights` does 100,000 of them on each store (RIGHTS_ACTS=… for another number, RIGHTS_SEED=… for other acts).
The rules are worth as much as they notice: each check of the application is removed in turn, and the acts find it.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

import pytest

from tests.support.environments import RIGHTS_ACTS, RIGHTS_SEED
from tests.support.plugin import NewDatabase
from tests.support.removals import Check, checks_of, modules_with_checks
from tests.support.rights import ACTS, Rightful, rightful
from ubr.bootstrap import migrate
from ubr.settings import MEMORY, Settings

pytestmark = pytest.mark.anyio

LONGEST: Final = 4000
"""Acts on one memory store. The next ones are done on another, because it reads its whole log for each page of it."""

SPAN: Final = 300
"""Acts until another act is done more often than all others."""


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
            for done in range(0, min(at_once, acts - first), SPAN):
                world.focus = world.random.choice([None, *ACTS])
                await do(world, min(done + SPAN, at_once, acts - first), seed + first)


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

FOUND_BY: Final = {
    "access.authorization": ("updates_user", "operates", "poses", "assigns"),
    "accounts.change_password": ("poses",),
    "accounts.create_admin": ("poses",),
    "accounts.create_user": ("creates_user",),
    "accounts.delete_user": ("deletes_user",),
    "accounts.erase_user": ("erases",),
    "accounts.explain_login": ("reads",),
    "accounts.export_user": ("exports",),
    "accounts.get_user": ("reads",),
    "accounts.get_user_by_email": ("reads",),
    "accounts.index_user_fields": ("poses",),
    "accounts.list_users": ("reads",),
    "accounts.request_email_change": ("poses",),
    "accounts.undo_email_change": ("follows_link", "asks_change"),
    "accounts.unlock_user": ("unlocks",),
    "accounts.update_user": ("updates_user",),
    "audit.compare_checkpoint": ("poses",),
    "audit.export_log": ("poses",),
    "audit.get_activity": ("reads",),
    "audit.get_checkpoint": ("reads",),
    "audit.list_log_keys": ("reads",),
    "audit.list_logs": ("reads",),
    "audit.prove_log_entry": ("reads",),
    "audit.prune_log": ("poses",),
    "audit.read_events": ("poses",),
    "audit.rotate_log_key": ("poses",),
    "audit.verify_log": ("poses",),
    "keys.list_signing_keys": ("reads",),
    "keys.revoke_signing_key": ("operates",),
    "keys.rewrap_signing_keys": ("poses",),
    "keys.rotate_signing_key": ("operates",),
    "machines.create_machine": ("creates_machine",),
    "machines.delete_machine": ("deletes_machine",),
    "machines.get_machine": ("reads",),
    "machines.key_rights": ("creates_key", "rotates_key"),
    "machines.list_machine_keys": ("reads",),
    "machines.list_machines": ("reads",),
    "machines.update_machine": ("updates_machine",),
    "mail.deliver_mail": ("poses",),
    "mail.list_mail": ("reads",),
    "mail.retry_mail": ("operates",),
    "operations.acknowledge_restore": ("poses",),
    "operations.inspect_installation": ("reads",),
    "revocation.follow_revocations": ("follows",),
    "revocation.stop_following_revocations": ("follows",),
    "roles.assign_role": ("assigns",),
    "roles.create_role": ("creates_role",),
    "roles.delete_role": ("deletes_role",),
    "roles.get_role": ("reads",),
    "roles.list_roles": ("reads",),
    "roles.list_user_roles": ("reads",),
    "roles.role_names": ("updates_role", "creates_role"),
    "roles.unassign_role": ("unassigns",),
    "roles.update_role": ("updates_role",),
    "sessions.list_sessions": ("reads",),
    "sessions.revoke_session": ("revokes",),
    "sessions.revoke_user_sessions": ("revokes_all",),
}
"""Every module with a check of rights, and the acts that meet it, of which the worlds do more."""

QUICK: Final = ("machines.key_rights",)
"""Their checks are removed in `make test-system`, those of the others in `make test-long`."""

REPEATED: Final = ("(await self.authorize(actor)).require(*needed)",)
"""Checks that change no decision, because a later one repeats them: `CreateUser` checks before it hashes a password,
which is expensive, and again in its unit of work, which decides.
"""

CHECKS: Final = checks_of(list(FOUND_BY))

WORLDS: Final = 60
ACTS_EACH: Final = 600
"""Many short worlds find more than few long ones: each has other users and roles, and its log is short."""


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=str(check), marks=pytest.mark.system if check.module in QUICK else pytest.mark.long)
        for check in CHECKS
        if check.text not in REPEATED
    ],
)
async def test_a_missing_check_is_found(check: Check) -> None:
    with check.removed(), pytest.raises(AssertionError):
        await worlds(check, WORLDS)


@pytest.mark.long
@pytest.mark.parametrize("check", [check for check in CHECKS if check.text in REPEATED], ids=str)
async def test_a_check_that_another_one_repeats_decides_nothing(check: Check) -> None:
    with check.removed():
        await worlds(check, 5)


async def worlds(check: Check, number: int) -> None:
    acts = FOUND_BY[check.module]
    for seed in range(number):
        async with rightful(MEMORY, seed, focus=acts[seed % len(acts)]) as world:
            await do(world, ACTS_EACH, seed)


def test_the_acts_of_every_module_with_a_check_are_known() -> None:
    assert modules_with_checks() == FOUND_BY.keys()
    assert set(itertools.chain(*FOUND_BY.values())) <= set(ACTS)
    assert {check.text for check in CHECKS} >= set(REPEATED)
