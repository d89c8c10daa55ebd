"""What a store promises about the log."""

from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.contracts.kit import HOUR, NOON, MovableClock, new_user, pages, put, race, seen, something_happened
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.ports.audit import LogFilter
from ubr.application.ports.paging import After
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import SYSTEM, Actor
from ubr.domain.audit.entry import LogEntry
from ubr.domain.events import (
    Event,
    LogInFailed,
    RoleUpdated,
    SessionOpened,
    SessionRevoked,
    SigningKeyCreated,
    TokenReused,
    UserCreated,
    UserDeleted,
    UserDisabled,
    UserUpdated,
)
from ubr.domain.ids import LogEntryId, RoleId, SessionId, UserId

pytestmark = pytest.mark.anyio

EVERYTHING = LogFilter()
TICK = timedelta(microseconds=1)


def somebody() -> Actor:
    return Actor(UserId(uuid4()), SessionId(uuid4()))


async def record(uow: UnitOfWork, actor: Actor | None, *events: Event) -> None:
    async with uow.begin(actor or SYSTEM) as tx:
        for event in events:
            tx.record(event)
        await tx.commit()


async def log(uow: UnitOfWork, which: LogFilter = EVERYTHING, limit: int = 100) -> list[LogEntry]:
    return await seen(uow, lambda tx: tx.logs.page(which, None, limit))


async def test_without_an_event_there_is_no_entry(uow: UnitOfWork) -> None:
    await put(uow, new_user())
    assert await log(uow) == []


@pytest.mark.parametrize(
    "event",
    [
        RoleUpdated(
            role_id=RoleId(uuid4()),
            before={"name": "Ünï \U0001f511 \\ \" '", "permissions": ["b", "a"], "none": None, "big": 2**60},
            after={"z": {"y": 1.5, "x": True}},
        ),
        LogInFailed(user_id=None, reason="unknown_email"),
        SigningKeyCreated(kid="k-1"),
    ],
    ids=lambda event: event.action,
)
async def test_an_entry_comes_back_to_the_byte(uow: UnitOfWork, event: Event) -> None:
    actor = somebody()
    with calling_from(Origin(ip="2001:db8::7", user_agent="x", request_id="Zürich-1", request_id_given=True)):
        await record(uow, actor, event)
    (found,) = await log(uow)
    made = LogEntry.of(
        event,
        id=found.id,
        actor_id=actor.user_id,
        ip=found.client_ip,
        request_id="Zürich-1",
        request_id_given=True,
        now=NOON,
        salt=found.salt,
        session_id=actor.session_id,
    )
    assert found == made
    assert found.session_id == actor.session_id
    assert found.canonical() == made.canonical()
    assert len(found.salt) == 16
    assert found.client_ip is not None
    assert (found.known_ip, len(found.client_ip.salt)) == ("2001:db8::7", 16)
    assert found.client_ip == made.client_ip


async def test_no_two_entries_share_an_id_or_a_salt(uow: UnitOfWork) -> None:
    await record(uow, None, *(something_happened() for _ in range(50)))
    found = await log(uow)
    assert len({entry.id for entry in found}) == len({entry.salt for entry in found}) == 50


def last(entries: list[LogEntry]) -> After[datetime] | None:
    return After(entries[-1].timestamp, entries[-1].id) if entries else None


async def test_the_entries_of_a_session_are_its_own_and_those_done_in_it(uow: UnitOfWork, clock: MovableClock) -> None:
    one, other = somebody(), somebody()

    def opened(actor: Actor) -> Event:
        return SessionOpened(session_id=actor.session_id, user_id=actor.user_id, kind="tokens")

    def revoked(actor: Actor) -> Event:
        return SessionRevoked(session_id=actor.session_id, user_id=actor.user_id, cause="revoked")

    steps: list[tuple[Actor | None, Event]] = [
        (None, opened(one)),
        (None, opened(other)),
        (one, UserCreated(user_id=UserId(uuid4()))),
        (Actor(one.user_id, other.session_id), UserDisabled(user_id=UserId(uuid4()))),
        (one, revoked(other)),
        (one, UserDeleted(user_id=UserId(one.session_id))),
        (one, revoked(one)),
    ]
    for actor, event in steps:
        clock.move(HOUR)
        await record(uow, actor, event)

    async def found(actor: Actor, **more: Any) -> list[tuple[str, bool]]:
        which = LogFilter(session_id=actor.session_id, **more)
        return [(entry.action, entry.session_id == actor.session_id) for entry in await log(uow, which)]

    of_one = [
        ("session.revoked", True),
        ("user.deleted", True),
        ("session.revoked", True),
        ("user.created", True),
        ("session.opened", False),
    ]
    assert await found(one) == of_one, "newest first, and its own end once"
    assert await found(other) == [("session.revoked", False), ("user.disabled", True), ("session.opened", False)]
    assert await found(one, action="session.revoked", target_id=str(other.session_id)) == [("session.revoked", True)]
    assert await found(somebody()) == []

    paged: list[LogEntry] = []
    which = LogFilter(session_id=one.session_id)

    async def following() -> list[LogEntry]:
        return await seen(uow, lambda tx: tx.logs.page(which, last(paged), 2))

    while page := await following():
        paged += page
    assert [entry.action for entry in paged] == [action for action, _ in of_one]


async def test_entries_are_found_by_each_of_their_marks(uow: UnitOfWork, clock: MovableClock) -> None:
    one, two, target = somebody(), somebody(), UserId(uuid4())
    await record(uow, one, UserCreated(user_id=target))
    clock.move(HOUR)
    await record(uow, two, UserDisabled(user_id=target), SigningKeyCreated(kid="k-1"))
    created, disabled, key = sorted(await log(uow), key=lambda entry: entry.action != "user.created")
    if disabled.action != "user.disabled":
        disabled, key = key, disabled

    async def found(which: LogFilter) -> set[str]:
        return {entry.action for entry in await log(uow, which)}

    assert await found(LogFilter(level="warning")) == {disabled.action}
    assert await found(LogFilter(level="error")) == set()
    assert await found(LogFilter(action="signing_key.created")) == {key.action}
    assert await found(LogFilter(action="signing_key")) == set()
    assert await found(LogFilter(actor_id=one.user_id)) == {created.action}
    assert await found(LogFilter(actor_id=UserId(uuid4()))) == set()
    assert await found(LogFilter(target_id=str(target))) == {created.action, disabled.action}
    assert await found(LogFilter(target_id="k-1")) == {key.action}
    assert await found(LogFilter(target_id=str(target), actor_id=two.user_id)) == {disabled.action}
    with calling_from(Origin(request_id="req-1", request_id_given=True)):
        await record(uow, one, UserDeleted(user_id=target))
    assert await found(LogFilter(request_id="req-1")) == {"user.deleted"}
    assert await found(LogFilter(request_id="req-1", actor_id=two.user_id)) == set()
    assert await found(LogFilter(request_id="req")) == set()
    assert await found(LogFilter(target_id=str(target), actor_id=two.user_id, level="info")) == set()


async def test_since_is_counted_and_until_is_not(uow: UnitOfWork, clock: MovableClock) -> None:
    for _ in range(3):
        await put(uow, something_happened())
        clock.move(HOUR)

    async def moments(which: LogFilter) -> list[int]:
        return [(entry.timestamp - NOON) // HOUR for entry in await log(uow, which)]

    assert await moments(LogFilter()) == [2, 1, 0]
    assert await moments(LogFilter(since=NOON + HOUR)) == [2, 1]
    assert await moments(LogFilter(since=NOON + HOUR + TICK)) == [2]
    assert await moments(LogFilter(until=NOON + HOUR)) == [0]
    assert await moments(LogFilter(until=NOON + HOUR + TICK)) == [1, 0]
    assert await moments(LogFilter(since=NOON + HOUR, until=NOON + 2 * HOUR)) == [1]
    assert await moments(LogFilter(since=NOON, until=NOON)) == []


@pytest.mark.parametrize("limit", [1, 3, 50])
@pytest.mark.parametrize("which", [LogFilter(), LogFilter(level="warning"), LogFilter(since=NOON)], ids=repr)
async def test_pages_hold_every_entry_once_newest_first(
    uow: UnitOfWork, clock: MovableClock, which: LogFilter, limit: int
) -> None:
    for hours in (1, 0, 1, 0):
        await record(uow, None, *(something_happened() for _ in range(3)))
        clock.move(hours * HOUR)

    def page(last: LogEntry | None) -> Awaitable[list[LogEntry]]:
        after = None if last is None else After(last.timestamp, last.id)
        return seen(uow, lambda tx: tx.logs.page(which, after, limit))

    expected = sorted(await log(uow, which), key=lambda entry: (entry.timestamp, entry.id), reverse=True)
    assert len(expected) == 12
    assert await pages(page) == expected
    assert await page(None) == expected[:limit]


async def test_a_search_that_stops_early_goes_on_where_it_stopped(
    uow: UnitOfWork, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ubr.adapters.sql.audit.entries.AHEAD", 4)
    busy, target = somebody(), UserId(uuid4())
    for number in range(30):
        await record(uow, busy, UserCreated(user_id=target if number in {2, 17, 18} else UserId(uuid4())))
        clock.move(HOUR)
    await record(uow, somebody(), UserCreated(user_id=target))
    which = LogFilter(actor_id=busy.user_id, action="user.created", level="info")
    expected = [entry.id for entry in await log(uow, which)]
    assert len(expected) == 30

    async def walked(which: LogFilter) -> list[LogEntryId]:
        found: list[LogEntryId] = []
        after: After[datetime] | None = None
        while True:
            page = await seen(uow, lambda tx, after=after: tx.logs.search(which, after, 2))  # type: ignore[misc]
            found += [entry.id for entry in page.items]
            after = page.reached if len(page.items) < 2 else After(page.items[-1].timestamp, page.items[-1].id)
            if after is None:
                return found

    assert await walked(which) == expected
    for rare in (
        LogFilter(target_id=str(target), actor_id=busy.user_id),
        LogFilter(actor_id=busy.user_id, action="user.deleted"),
        LogFilter(action="user.created", level="warning"),
        LogFilter(actor_id=busy.user_id, action="user.created", since=NOON + 9 * HOUR, until=NOON + 20 * HOUR),
    ):
        assert await walked(rare) == [entry.id for entry in await log(uow, rare)]


async def test_a_rolled_back_unit_leaves_no_entry(uow: UnitOfWork) -> None:
    async with uow.begin(SYSTEM) as tx:
        tx.record(something_happened())
        assert await tx.logs.page(EVERYTHING, None, 10) == []  # They are written by committing.
    assert await log(uow) == []


async def test_whatever_many_units_record_is_all_there(uow: UnitOfWork) -> None:
    actors = [somebody() for _ in range(20)]
    doings = [record(uow, actor, something_happened(), something_happened()) for actor in actors]
    assert await race(doings) == [None] * 20
    for actor in actors:
        assert len(await log(uow, LogFilter(actor_id=actor.user_id))) == 2


async def test_client_ips_of_a_person_are_deleted_and_the_entries_stay(uow: UnitOfWork) -> None:
    ada, bob = somebody(), somebody()
    own, others = SessionId(uuid4()), SessionId(uuid4())
    about_ada = LogInFailed(user_id=ada.user_id, reason="wrong_password")
    with calling_from(Origin(ip="2001:db8::7")):
        await record(uow, None, SessionOpened(session_id=own, user_id=ada.user_id, kind="tokens"))
        await record(uow, None, SessionOpened(session_id=others, user_id=bob.user_id, kind="tokens"))
        await record(uow, ada, UserUpdated(user_id=bob.user_id, changed=()))
        await record(uow, bob, UserUpdated(user_id=ada.user_id, changed=()))
        await record(uow, None, about_ada, LogInFailed(user_id=bob.user_id, reason="wrong_password"))
        await record(uow, None, SessionRevoked(session_id=own, user_id=ada.user_id, cause="evicted"))
        await record(uow, None, SessionRevoked(session_id=others, user_id=bob.user_id, cause="evicted"))
    await record(uow, ada, UserUpdated(user_id=ada.user_id, changed=()))
    before = await log(uow)
    async with uow.begin(SYSTEM) as tx:
        assert await tx.log_records.forget_client_ips(ada.user_id, 3) == 3
        assert await tx.log_records.forget_client_ips(ada.user_id, 3) == 1
        assert await tx.log_records.forget_client_ips(ada.user_id, 3) == 0
        await tx.commit()
    after = await log(uow)
    assert after == before
    for old, new in zip(before, after, strict=True):
        erased = old.person == str(ada.user_id)
        assert new.known_ip == (None if erased else old.known_ip)
        assert new.leaf == old.leaf
    assert sum(entry.lacks_ip for entry in after) == 4


async def test_a_session_that_a_person_ended_keeps_the_client_ips_of_its_owner(uow: UnitOfWork) -> None:
    """A thief used a token of Bob's session, and Ada ended it."""
    ada, bob = somebody(), somebody()
    session_id = SessionId(uuid4())
    with calling_from(Origin(ip="2001:db8::7")):
        await record(uow, None, TokenReused(session_id=session_id, user_id=bob.user_id))
        await record(uow, ada, SessionRevoked(session_id=session_id, user_id=bob.user_id, cause="revoked"))
    async with uow.begin(SYSTEM) as tx:
        assert await tx.log_records.forget_client_ips(ada.user_id, 10) == 1
        await tx.commit()
    assert {entry.action: entry.known_ip for entry in await log(uow)} == {
        "session.token_reused": "2001:db8::7",
        "session.revoked": None,
    }


async def test_a_deletion_of_client_ips_that_is_rolled_back_deletes_none(uow: UnitOfWork) -> None:
    ada = somebody()
    with calling_from(Origin(ip="2001:db8::7")):
        await record(uow, ada, UserUpdated(user_id=ada.user_id, changed=()))
    async with uow.begin(SYSTEM) as tx:
        assert await tx.log_records.forget_client_ips(ada.user_id, 10) == 1
    assert [entry.known_ip for entry in await log(uow)] == ["2001:db8::7"]


async def test_the_log_mentions_its_actors_and_those_it_is_about(uow: UnitOfWork) -> None:
    ada, bob, cyd = somebody(), somebody(), somebody()
    await record(uow, ada, UserUpdated(user_id=bob.user_id, changed=()))
    await record(uow, None, LogInFailed(user_id=cyd.user_id, reason="wrong_password"))
    async with uow.read() as tx:
        mentioned = [await tx.log_records.mentions(actor.user_id) for actor in (ada, bob, cyd, somebody())]
    assert mentioned == [True, True, True, False]


async def test_entries_are_counted_between_moments(uow: UnitOfWork, clock: MovableClock) -> None:
    opened = SessionOpened(user_id=UserId(uuid4()), session_id=SessionId(uuid4()), kind="tokens")
    began = clock()
    for count in (1, 0, 3):
        await record(uow, None, *[opened] * count, LogInFailed(user_id=None, reason="unknown_email"))
        clock.now += HOUR
    moments = [began + HOUR * hour for hour in range(4)]
    assert await seen(uow, lambda tx: tx.logs.counts(SessionOpened.action, moments, 9)) == [1, 0, 3]
    assert await seen(uow, lambda tx: tx.logs.counts(SessionOpened.action, moments, 2)) == [1, 0, 2]
    assert await seen(uow, lambda tx: tx.logs.counts(LogInFailed.action, moments, 2)) == [1, 1, 1]
    # A moment belongs to what begins with it.
    assert await seen(uow, lambda tx: tx.logs.counts(LogInFailed.action, [began + TICK, *moments[1:]], 2)) == [0, 1, 1]
