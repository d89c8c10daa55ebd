"""A person is erased: the account, and the client IPs in the audit log."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.support.people import Member, World
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.erase_user import EraseUserCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.audit.denials import DenialRecorder
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.audit.verify_log import VerifyLogCommand
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.kernel.representations import LogEntryResult
from ubr.audit_verifier import check_export
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import Forbidden, GrantExceedsOwn, InvalidCredentials, InvalidToken, LastAdmin, UserNotFound

OWNER = "owner@example.org"
HOME, STRANGER, OFFICE = "192.0.2.1", "198.51.100.7", "203.0.113.9"


async def erase(world: World, user_id: UUID, actor: Actor | System = SYSTEM) -> int:
    return (await world.ubr.erase_user(EraseUserCommand(user_id=user_id), actor=actor)).entries


async def verified(world: World) -> None:
    """The log verifies, in the database and as an export."""
    found = await world.ubr.verify_log(VerifyLogCommand(), actor=SYSTEM)
    assert found.finding is None
    lines: list[str] = []
    await world.ubr.export_log(lines.append, actor=SYSTEM)
    assert check_export(lines).pruned == 0


def ips(entries: list[LogEntryResult]) -> set[str | None]:
    return {entry.ip for entry in entries}


async def test_the_client_ips_of_a_person_are_gone_and_the_log_still_verifies(world: World) -> None:
    with calling_from(Origin(ip=HOME)):
        member = await world.user(email=OWNER)
        command = UpdateUserCommand(user_id=member.id, changes=UserChanges(full_name="Ada"))
        await world.ubr.update_user(command, actor=member.actor)
    with calling_from(Origin(ip=STRANGER)), pytest.raises(InvalidCredentials):
        await world.log_in(OWNER, "not the right one of them")
    with calling_from(Origin(ip=OFFICE)):
        operator = await world.user("users:erase")
        command = UpdateUserCommand(user_id=member.id, changes=UserChanges(full_name="Ada King"))
        await world.ubr.update_user(command, actor=SYSTEM)
    before = await world.acts()
    assert ips(before) >= {HOME, STRANGER, OFFICE}
    await verified(world)
    with calling_from(Origin(ip=OFFICE)):
        erased = await erase(world, member.id, operator.actor)
    world._read.clear()  # noqa: SLF001 - all entries again
    entries = await world.acts()
    assert HOME not in ips(entries)
    assert STRANGER not in ips(entries)
    assert OFFICE in ips(entries)
    kept = {entry.id: (entry.action, entry.actor_id, entry.data) for entry in entries}
    assert all(kept[entry.id] == (entry.action, entry.actor_id, entry.data) for entry in before)
    [told] = [entry for entry in entries if entry.action == "user.erased"]
    assert (told.actor_id, told.target and told.target.id, told.data) == (
        operator.id,
        str(member.id),
        {"entries": erased},
    )
    assert erased > 2
    await verified(world)
    assert not await world.alive(member.tokens)
    with pytest.raises(InvalidToken):
        await world.refresh(member.tokens.refresh_token)


async def test_a_user_who_was_deleted_before_is_erased_by_their_id(world: World) -> None:
    with calling_from(Origin(ip=HOME)):
        member = await world.user(email=OWNER)
    await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)
    assert HOME in ips(await world.acts())
    assert await erase(world, member.id) > 0
    assert await erase(world, member.id) == 0
    world._read.clear()  # noqa: SLF001 - all entries again
    assert HOME not in ips(await world.acts())
    await verified(world)


async def test_denials_that_are_only_counted_are_erased_too(world: World) -> None:
    member = await world.user()
    await denied(world, member, times=3)
    world.clock.move(minutes=2)
    await denied(world, member, times=2)
    erased = await erase(world, member.id)
    told = await denials(world)
    assert told == [(1, None), (1, None), (2, None), (1, None)]
    assert erased == len(told)


@pytest.mark.parametrize(("how", "left"), [("erased", None), ("deleted", HOME), ("kept", HOME)])
async def test_another_process_writes_its_counts_without_the_client_ip_of_an_erased_user(
    world: World, how: str, left: str | None
) -> None:
    member = await world.user()
    elsewhere = DenialRecorder(unit_of_work=world.ubr.erase_user.unit_of_work, clock=world.clock)
    with calling_from(Origin(ip=HOME)):
        elsewhere.count(member.actor, "list_users", "forbidden")
    if how == "erased":
        await erase(world, member.id)
    elif how == "deleted":
        await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)
    await elsewhere.settle(everything=True)
    assert await denials(world) == [(1, left)]
    await verified(world)


async def denied(world: World, member: Member, *, times: int) -> None:
    for _ in range(times):
        with calling_from(Origin(ip=HOME)), pytest.raises(Forbidden):
            await world.ubr.list_users(ListUsersCommand(), actor=member.actor)


async def denials(world: World) -> list[tuple[int, str | None]]:
    """The count and the client IP of each entry of a denial, oldest first."""
    found = await world.ubr.list_logs(ListLogsCommand(limit=200, action="act.refused"), actor=SYSTEM)
    return [(entry.data["count"], entry.ip) for entry in reversed(found.items)]


async def test_an_id_that_nobody_had_is_not_found(world: World) -> None:
    await world.acts()
    with pytest.raises(UserNotFound):
        await erase(world, UUID(int=7))
    assert await world.acts() == []


async def test_users_do_not_erase_themselves_nor_those_above_them(world: World) -> None:
    operator, admin = await world.user("users:erase"), await world.admin()
    with pytest.raises(Forbidden):
        await erase(world, operator.id, operator.actor)
    with pytest.raises(GrantExceedsOwn):
        await erase(world, admin.id, operator.actor)
    with pytest.raises(LastAdmin):
        await erase(world, admin.id)
    for user in (operator, admin):
        assert await world.alive(user.tokens)
    await verified(world)
