"""`ending`: one word for a unit that ends something."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest

import ubr.application
from tests.support.people import Member, World
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.ports.revocation import WorkerId
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.revocation.follow_revocations import FollowRevocationsCommand
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import Forbidden, InvalidToken, NotFound, UserNotFound
from ubr.domain.events import LogInFailed
from ubr.domain.revocation.changes import Change, ChangeRecord
from ubr.domain.sessions.termination import SecurityEvent

GONE = Change("user", "the one it is about")


@pytest.fixture
def unit_of_work(world: World) -> EndingUnitOfWork:
    return world.ubr.log_out.unit_of_work


@pytest.fixture
async def acknowledged(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Change]:
    """The changes that another worker has acknowledged so far."""
    changes: list[Change] = []

    async def deliver(_epoch: str, rows: Sequence[ChangeRecord], _to: frozenset[WorkerId]) -> bool:
        changes.extend(row.change for row in rows)
        return True

    monkeypatch.setattr(world.ubr.follow_revocations.notifier, "deliver", deliver)
    await world.ubr.follow_revocations(FollowRevocationsCommand(verifier=uuid4()), actor=SYSTEM)
    return changes


async def position(unit_of_work: EndingUnitOfWork) -> int:
    async with unit_of_work.read() as tx:
        return (await tx.feed_position()).number


async def failures(world: World) -> int:
    page = await world.ubr.list_logs(ListLogsCommand(action=LogInFailed.action), actor=SYSTEM)
    return len(page.items)


async def fail(unit_of_work: EndingUnitOfWork, error: type[Exception], actor: Actor | System = SYSTEM) -> None:
    """A unit that notes something, and then finds that it cannot go on."""
    async with unit_of_work.ending(GONE, actor=actor) as tx:
        tx.record(LogInFailed(user_id=None, reason="unknown_email"))
        raise error


async def ended(unit_of_work: EndingUnitOfWork, member: Member) -> Change:
    """A unit that ends the member's session, and the change that it announces beside that."""
    async with unit_of_work.ending(GONE, actor=SYSTEM) as tx:
        session = await tx.sessions.get(member.actor.session_id)
        assert session is not None
        session.end(SecurityEvent.REVOKED, now=tx.now)
        await tx.sessions.save(session)
    return Change("session", str(member.actor.session_id))


async def test_it_commits_and_returns_when_others_have_acknowledged(
    world: World, unit_of_work: EndingUnitOfWork, acknowledged: list[Change]
) -> None:
    member = await world.user()
    assert await world.alive(member.tokens)
    acknowledged.clear()
    assert acknowledged == [await ended(unit_of_work, member), GONE]
    assert not await world.alive(member.tokens)


async def test_a_unit_that_changes_nothing_writes_nothing_and_waits_for_the_one_before(
    world: World, unit_of_work: EndingUnitOfWork, acknowledged: list[Change]
) -> None:
    member = await world.user()
    await ended(unit_of_work, member)
    before = await position(unit_of_work)
    acknowledged.clear()
    async with unit_of_work.ending(GONE, actor=SYSTEM):
        pass
    assert acknowledged == [GONE]
    assert await position(unit_of_work) == before


async def test_a_target_that_is_gone_is_waited_for_without_the_rest_of_the_unit(
    world: World, unit_of_work: EndingUnitOfWork, acknowledged: list[Change]
) -> None:
    await ended(unit_of_work, await world.user())
    before = await position(unit_of_work)
    acknowledged.clear()
    with pytest.raises(NotFound):
        await fail(unit_of_work, UserNotFound)
    assert acknowledged == [GONE]
    assert await position(unit_of_work) == before
    assert await failures(world) == 0


async def test_a_session_of_the_actor_that_is_gone_is_waited_for_in_place_of_the_target(
    world: World, unit_of_work: EndingUnitOfWork, acknowledged: list[Change]
) -> None:
    member = await world.user()
    change = await ended(unit_of_work, member)
    acknowledged.clear()
    with pytest.raises(InvalidToken):
        await fail(unit_of_work, InvalidToken, member.actor)
    assert acknowledged == [change]


async def test_a_target_that_never_was_is_not_waited_for(
    world: World, unit_of_work: EndingUnitOfWork, acknowledged: list[Change]
) -> None:
    with pytest.raises(NotFound):
        await fail(unit_of_work, UserNotFound)
    assert acknowledged == []
    assert world.ubr is not None


@pytest.mark.parametrize("error", [Forbidden, ZeroDivisionError])
async def test_any_other_error_announces_nothing(
    world: World, unit_of_work: EndingUnitOfWork, acknowledged: list[Change], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await fail(unit_of_work, error)
    assert acknowledged == []
    assert await failures(world) == 0


def test_every_use_case_that_ends_sessions_says_so() -> None:
    folder = Path(ubr.application.__path__[0])
    ends, says = set(), set()
    for path in folder.glob("*/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if (
                    called in {"end_sessions", "end_of", "end_of_key", "shorten", "evict", "evict_of_key"}
                    or ast.unparse(node.func) == "session.end"
                ):
                    ends.add(path.stem)
                if called == "ending":
                    says.add(path.stem)
    ends -= {"termination"}  # what they all call
    # A login, also of a machine, evicts the session longest unused and waits for nobody; an account is taken over at
    # the command line, whose e-mail is looked up in the unit that does it.
    assert ends - says == {"new_session", "log_in_machine", "create_admin"}
