"""What a store promises about the tree over the log: what waits, what is in it, what of it may go, and who signs it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Protocol
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import Executable, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.contracts.conftest import Stored
from tests.contracts.kit import HOUR, NOON, MovableClock, new_session, new_user, put, race, seen, something_happened
from tests.support.denials import denials_in
from tests.support.values import replace
from ubr.adapters.memory import MemoryStore
from ubr.adapters.security.log_signing import Ed25519LogSigning
from ubr.adapters.security.secrets import SecretKeys
from ubr.adapters.sql.tables import log_client_ips, log_head, log_leaves, log_queue, logs
from ubr.application.audit.sequencer import BATCH, Sequencer
from ubr.application.audit.verify_log import VerifyLog, VerifyLogCommand
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.ports.audit import Backlog, LogFilter
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import SYSTEM
from ubr.domain.audit.checkpoint import LogKey
from ubr.domain.audit.entry import LogEntry
from ubr.domain.audit.log_check import Leaf
from ubr.domain.audit.merkle import EMPTY_ROOT, Frontier, Node, root_of
from ubr.domain.errors import LogDamaged
from ubr.domain.ids import LogEntryId, SessionId
from ubr.domain.revocation.changes import Change

pytestmark = pytest.mark.anyio

ALL = 1000
SIGNING = Ed25519LogSigning(SecretKeys([b"s" * 32]), "https://example.org", os.urandom)
SQL = pytest.mark.parametrize("stored", ["sqlite", "postgresql"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("stored", ["postgresql"], indirect=True)
SQLITE = pytest.mark.parametrize("stored", ["sqlite"], indirect=True)


def hashed(number: int) -> bytes:
    """Some hash, the same for one number."""
    return sha256(number.to_bytes(8, "big")).digest()


async def waiting(uow: UnitOfWork, limit: int = ALL) -> list[LogEntry]:
    return await seen(uow, lambda tx: tx.log_tree.waiting(limit))


async def recorded(uow: UnitOfWork, count: int = 1) -> list[LogEntry]:
    """Record so many events in one unit; their entries, in the order of their ids."""
    before = await waiting(uow)
    await put(uow, *(something_happened() for _ in range(count)))
    return [entry for entry in await waiting(uow) if entry not in before]


async def plant(tx: Transaction, entries: Sequence[LogEntry], note: str = "a note") -> Frontier:
    """Add entries to the tree; the tree with them."""
    grown = await tx.log_tree.state()
    first = grown.size
    for entry in entries:
        grown.append(entry.leaf)
    await tx.log_tree.extend(first, placed(entries), [], grown, note)
    return grown


def placed(entries: Sequence[LogEntry]) -> list[tuple[LogEntryId, bytes]]:
    return [(entry.id, entry.leaf) for entry in entries]


async def planted(uow: UnitOfWork, entries: Sequence[LogEntry], note: str = "a note") -> Frontier:
    async with uow.begin(SYSTEM) as tx:
        assert await tx.log_tree.lead(wait=True)
        grown = await plant(tx, entries, note)
        await tx.commit()
    return grown


async def pruned(uow: UnitOfWork, until: int) -> int:
    async with uow.begin(SYSTEM) as tx:
        deleted = await tx.log_records.prune(until)
        await tx.commit()
    return deleted


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the stores this is."""
    return str(request.node.callspec.params["stored"])


# --- what is not there -----------------------------------------------------------------------------------------------


async def test_an_empty_log_has_an_empty_tree(uow: UnitOfWork) -> None:
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert await tx.log_tree.anything_waiting() is False
            assert await tx.log_tree.waiting(ALL) == []
            assert await tx.log_tree.state() == Frontier()
            assert (await tx.log_tree.state()).root() == EMPTY_ROOT
            assert await tx.log_tree.newest_checkpoint() is None
            assert await tx.log_tree.index_of(LogEntryId(uuid4())) is None
            assert await tx.log_tree.hashes(0, 0, 10) == await tx.log_tree.hashes(8, 0, 10) == []
            assert await tx.log_records.leaves(0, ALL) == []
            assert await tx.log_records.checkpoints(-1, ALL) == []
            assert (await tx.log_records.strays(None, ALL)).strays == await tx.log_records.lost(ALL) == []
            assert await tx.log_records.older(NOON + HOUR, 0, ALL) == 0
            assert await tx.log_records.pruned() == 0
            assert list(await tx.log_keys.all()) == []
            assert await tx.logs.get(LogEntryId(uuid4())) is None


# --- what waits ------------------------------------------------------------------------------------------------------


async def test_committed_entries_are_queued_once_oldest_id_first(uow: UnitOfWork) -> None:
    for count in (1, 3, 2):
        await put(uow, *(something_happened() for _ in range(count)))
    written = await seen(uow, lambda tx: tx.logs.page(LogFilter(), None, ALL))
    expected = sorted(written, key=lambda entry: entry.id)
    assert len(expected) == 6
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert await tx.log_tree.anything_waiting() is True
            assert await tx.log_tree.waiting(ALL) == expected
            assert await tx.log_tree.waiting(4) == expected[:4]


async def test_uncommitted_entries_are_not_queued(uow: UnitOfWork) -> None:
    await put(uow, new_user())  # this unit has no event
    async with uow.begin(SYSTEM) as tx:
        tx.record(something_happened())
        assert await tx.log_tree.anything_waiting() is False  # entries are written by committing
    assert await seen(uow, lambda tx: tx.log_tree.anything_waiting()) is False
    assert await waiting(uow) == []


async def test_an_entry_is_found_by_its_id_once_it_is_committed(uow: UnitOfWork) -> None:
    one, other = await recorded(uow, 2)
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert await tx.logs.get(one.id) == one
            assert await tx.logs.get(other.id) == other
            assert await tx.logs.get(LogEntryId(uuid4())) is None


# --- what is in the tree ---------------------------------------------------------------------------------------------


async def test_entries_get_their_places_in_the_order_they_are_given(uow: UnitOfWork) -> None:
    entries = (await recorded(uow, 5))[::-1]
    await planted(uow, entries[:2], "one")
    assert await waiting(uow) == sorted(entries[2:], key=lambda entry: entry.id)
    grown = await planted(uow, entries[2:], "two")

    assert grown.root() == root_of(entry.leaf for entry in entries)
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert await tx.log_tree.state() == grown
            assert await tx.log_tree.anything_waiting() is False
            assert [await tx.log_tree.index_of(entry.id) for entry in entries] == [0, 1, 2, 3, 4]
            assert await tx.log_tree.index_of(LogEntryId(uuid4())) is None
            assert await tx.log_tree.hashes(0, 0, ALL) == [entry.leaf for entry in entries]
            assert await tx.log_tree.newest_checkpoint() == "two"
            assert await tx.log_records.checkpoints(0, ALL) == [(2, "one"), (5, "two")]
            found = await tx.log_records.leaves(0, ALL)
            assert [(leaf.index, leaf.entry_id, leaf.hash, leaf.entry) for leaf in found] == [
                (index, entry.id, entry.leaf, entry) for index, entry in enumerate(entries)
            ]
            assert all(leaf.readable for leaf in found)
            assert (await tx.log_records.strays(None, ALL)).strays == await tx.log_records.lost(ALL) == []


async def test_later_entries_wait_for_the_next_batch(uow: UnitOfWork) -> None:
    first = await recorded(uow, 2)
    async with uow.begin(SYSTEM) as tx:
        await plant(tx, first)
        tx.record(something_happened())
        await tx.commit()
    (late,) = await waiting(uow)
    assert late not in first
    assert await seen(uow, lambda tx: tx.log_tree.index_of(late.id)) is None


async def test_an_entry_has_one_place_in_the_tree(uow: UnitOfWork) -> None:
    first = await recorded(uow, 2)
    await planted(uow, first)
    second = await recorded(uow, 2)

    async def look(tx: Transaction) -> tuple[object, ...]:
        return await tx.log_records.leaves(0, ALL), await tx.log_tree.state(), await tx.log_tree.waiting(ALL)

    before = await seen(uow, look)
    for entries in ([first[1]], [*second, first[0]], [second[0], second[1], second[0]]):
        async with uow.begin(SYSTEM) as tx:
            with pytest.raises(LogDamaged):
                await plant(tx, entries)
        assert await seen(uow, look) == before


async def test_a_batch_is_seen_by_its_own_unit_and_by_others_once_it_is_committed(uow: UnitOfWork) -> None:
    entries = await recorded(uow, 3)

    async def look(tx: Transaction) -> tuple[object, ...]:
        return (
            await tx.log_tree.state(),
            await tx.log_tree.anything_waiting(),
            await tx.log_tree.waiting(ALL),
            [await tx.log_tree.index_of(entry.id) for entry in entries],
            await tx.log_tree.hashes(0, 0, ALL),
            await tx.log_tree.hashes(8, 0, ALL),
            await tx.log_tree.newest_checkpoint(),
            await tx.log_records.leaves(0, ALL),
            await tx.log_records.checkpoints(0, ALL),
        )

    before = await seen(uow, look)
    for commit in (False, True):
        async with uow.begin(SYSTEM) as tx:
            grown = await tx.log_tree.state()
            for entry in entries:
                grown.append(entry.leaf)
            await tx.log_tree.extend(0, placed(entries), [(Node(8, 0), hashed(0))], grown, "a note")
            during = await look(tx)
            assert await seen(uow, look) == before
            if commit:
                await tx.commit()
        assert during[:4] == (grown, False, [], [0, 1, 2])
        assert await seen(uow, look) == (during if commit else before)


async def test_a_tree_that_was_read_is_a_copy(uow: UnitOfWork) -> None:
    grown = await planted(uow, await recorded(uow, 3))
    async with uow.begin(SYSTEM) as tx:
        mine = await tx.log_tree.state()
        mine.append(hashed(0))
        assert await tx.log_tree.state() == grown
        await tx.commit()
    grown.append(hashed(0))
    assert (await seen(uow, lambda tx: tx.log_tree.state())).size == 3


async def test_hashes_are_those_that_are_kept_side_by_side(uow: UnitOfWork) -> None:
    nodes = {Node(level, position): hashed(level + position) for level in (8, 16) for position in range(12)}
    entries = await recorded(uow, 12)
    async with uow.begin(SYSTEM) as tx:
        halves = (entries[:5], [*nodes.items()][:7]), (entries[5:], [*nodes.items()][7:])
        for part, some in halves:
            grown = await tx.log_tree.state()
            first = grown.size
            for entry in part:
                grown.append(entry.leaf)
            await tx.log_tree.extend(first, placed(part), some, grown, "a note")
        await tx.commit()
    leaves = {Node(0, index): entry.leaf for index, entry in enumerate(entries)}
    async with uow.read() as tx:
        for level, kept in ((0, leaves), (8, nodes), (16, nodes), (24, {})):
            for first, count in ((0, 12), (0, 1), (11, 1), (3, 6), (9, 11), (10, 256), (12, 3), (99, 1), (4, 0)):
                there = [kept[Node(level, at)] for at in range(first, first + count) if Node(level, at) in kept]
                assert await tx.log_tree.hashes(level, first, count) == there


async def test_the_newest_checkpoint_is_the_one_over_the_whole_tree(uow: UnitOfWork) -> None:
    """Sizes are compared as numbers."""
    for count, size in ((9, 9), (1, 10), (1, 11)):
        await planted(uow, await recorded(uow, count), f"of {size}")
        assert await seen(uow, lambda tx: tx.log_tree.newest_checkpoint()) == f"of {size}"


# --- what waits, and for how long -----------------------------------------------------------------------------------


async def test_the_backlog_is_as_old_as_the_oldest_entry_that_waits(uow: UnitOfWork, clock: MovableClock) -> None:
    async def backlog() -> Backlog:
        return await seen(uow, lambda tx: tx.log_tree.backlog())

    assert await backlog() == Backlog(0, None)
    assert Backlog().age(clock()) == timedelta(0)
    began = clock()
    first = await recorded(uow, 2)
    clock.move(HOUR)
    second = await recorded(uow, 3)
    assert await backlog() == Backlog(5, began)
    assert (await backlog()).age(clock()) == HOUR
    await planted(uow, first)
    assert await backlog() == Backlog(3, began + HOUR)
    await planted(uow, second, "another")
    assert await backlog() == Backlog(0, None)


async def test_what_waits_and_is_gone_is_counted_all_the_same(uow: UnitOfWork, intruder: Intruder) -> None:
    for entry in await recorded(uow, 2):
        await intruder.erase(entry.id)
    assert await seen(uow, lambda tx: tx.log_tree.backlog()) == Backlog(2, None)
    (later,) = await recorded(uow)
    assert await seen(uow, lambda tx: tx.log_tree.backlog()) == Backlog(3, later.timestamp)


# --- who adds to it --------------------------------------------------------------------------------------------------


async def test_each_writer_of_the_tree_sees_the_work_of_the_previous_one(uow: UnitOfWork) -> None:
    await put(uow, *(something_happened() for _ in range(24)))

    async def grow() -> int:
        async with uow.begin(SYSTEM) as tx:
            for wait in (True, False, True):  # whoever leads may ask again
                assert await tx.log_tree.lead(wait=wait) is True
            grown = await tx.log_tree.state()
            await asyncio.sleep(0)
            entries = await tx.log_tree.waiting(3)
            await plant(tx, entries)
            await tx.commit()
        return grown.size

    assert sorted(map(str, await race(grow() for _ in range(8)))) == sorted(map(str, range(0, 24, 3)))
    async with uow.read() as tx:
        assert [leaf.index for leaf in await tx.log_records.leaves(0, ALL)] == list(range(24))
        assert (await tx.log_tree.state()).root() == root_of(await tx.log_tree.hashes(0, 0, ALL))


@POSTGRESQL
async def test_a_unit_that_does_not_wait_learns_of_another_writer(uow: UnitOfWork) -> None:
    for commit in (False, True):
        async with uow.begin(SYSTEM) as tx:
            assert await tx.log_tree.lead(wait=False) is True
            before = len(await waiting(uow))
            async with uow.begin(SYSTEM) as other:
                assert await other.log_tree.lead(wait=False) is False
                other.record(something_happened())  # whoever acts waits for nobody
                await other.commit()
            assert len(await waiting(uow)) == before + 1
            if commit:
                await tx.commit()
        async with uow.begin(SYSTEM) as other:
            assert await other.log_tree.lead(wait=False) is True


ADVISORY = (
    "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database "
    "WHERE locktype = 'advisory' AND datname = current_database()"
)


@POSTGRESQL
async def test_only_who_may_change_the_tree_can_keep_others_from_it(uow: UnitOfWork, stored: Stored) -> None:
    """A lock that takes no right, as an advisory one, anybody could hold who may connect."""
    assert stored.database is not None
    for wait in (False, True):
        async with uow.begin(SYSTEM) as tx, stored.database.connect() as connection:
            assert await tx.log_tree.lead(wait=wait)
            locks = await connection.execute(text(ADVISORY))
            assert locks.all() == []
            assert await seen(uow, lambda tx: tx.log_tree.state()) == Frontier()  # who only reads does not wait


@POSTGRESQL
async def test_a_waiting_unit_becomes_the_writer_when_the_other_ends(
    uow: UnitOfWork, in_line: Callable[[], Awaitable[None]]
) -> None:
    entries = await recorded(uow, 2)

    async def other() -> tuple[int, int]:
        async with uow.begin(SYSTEM) as tx:
            assert await tx.log_tree.lead(wait=True) is True
            return (await tx.log_tree.state()).size, len(await tx.log_tree.waiting(ALL))

    for commit, found in ((False, (0, 2)), (True, (2, 0))):
        async with uow.begin(SYSTEM) as tx:
            assert await tx.log_tree.lead(wait=True)
            second = asyncio.ensure_future(other())
            await in_line()
            await plant(tx, entries)
            assert not second.done()
            if commit:
                await tx.commit()
        assert await second == found


async def test_what_many_units_record_while_others_sequence_is_in_the_tree_once(uow: UnitOfWork) -> None:
    async with uow.begin(SYSTEM) as tx:
        await tx.log_keys.add(SIGNING.generate(tx.now))
        await tx.commit()

    async def write() -> None:
        for _ in range(3):
            await put(uow, something_happened(), something_happened())
            await asyncio.sleep(0)  # in memory nothing else waits

    sequencers = [Sequencer(uow, SIGNING) for _ in range(2)]
    writing = asyncio.gather(*(write() for _ in range(20)))
    early = 0
    while not writing.done():
        early += sum(await asyncio.gather(*(sequencer() for sequencer in sequencers)))
        await asyncio.sleep(0)
    await writing
    late = await sequencers[0](wait=True)

    assert early > 0
    assert early + late == 120
    async with uow.read() as tx:
        assert await tx.log_tree.waiting(ALL) == []
        assert await tx.log_tree.anything_waiting() is False
        leaves = await tx.log_records.leaves(0, ALL)
        assert [leaf.index for leaf in leaves] == list(range(120))
        written = await tx.logs.page(LogFilter(), None, ALL)
        assert sorted(leaf.entry_id for leaf in leaves) == sorted(entry.id for entry in written)
        assert all(leaf.entry is not None and leaf.entry.leaf == leaf.hash for leaf in leaves)
    verified = await VerifyLog(uow, SIGNING.verify, denials_in(uow))(VerifyLogCommand(), actor=SYSTEM)
    assert (verified.finding, verified.size, verified.unsigned) == (None, 120, 0)
    assert verified.checkpoints >= 120 / BATCH


# --- what is kept of it ----------------------------------------------------------------------------------------------


async def test_leaves_are_read_from_an_index_on(uow: UnitOfWork) -> None:
    await planted(uow, await recorded(uow, 7))
    async with uow.read() as tx:
        every = await tx.log_records.leaves(0, ALL)
        assert len(every) == 7
        assert await tx.log_records.leaves(0, 3) == every[:3]
        assert await tx.log_records.leaves(2, 3) == every[2:5]
        assert await tx.log_records.leaves(5, 3) == every[5:]
        assert await tx.log_records.leaves(-(2**63), 3) == every[:3]
        assert await tx.log_records.leaves(7, 3) == []


async def test_checkpoints_are_read_above_a_size(uow: UnitOfWork) -> None:
    sizes = [1, 2, 5, 9, 10, 11]
    for size, before in zip(sizes, [0, *sizes], strict=False):
        await planted(uow, await recorded(uow, size - before), f"of {size}")
    every = [(size, f"of {size}") for size in sizes]
    async with uow.read() as tx:
        assert await tx.log_records.checkpoints(0, ALL) == every
        assert await tx.log_records.checkpoints(-(2**63), 2) == every[:2]
        assert await tx.log_records.checkpoints(2, 3) == every[2:5]
        assert await tx.log_records.checkpoints(3, 1) == every[2:3]
        assert await tx.log_records.checkpoints(11, ALL) == []


async def test_as_many_leaves_are_older_as_stand_before_the_first_that_is_not(
    uow: UnitOfWork, clock: MovableClock
) -> None:
    for hours in (0, 1, 3, 2, 4):
        clock.now = NOON + hours * HOUR
        await planted(uow, await recorded(uow))
    await recorded(uow)  # this one only waits

    async def older(hours: float, first: int = 0, limit: int = ALL) -> int:
        return await seen(uow, lambda tx: tx.log_records.older(NOON + hours * HOUR, first, limit))

    tick = timedelta(microseconds=1) / HOUR
    assert [await older(hours) for hours in (0, tick, 1, 2, 3, 3 + tick, 4 + tick, 99)] == [0, 1, 1, 2, 2, 4, 5, 5]
    assert [await older(3, first) for first in range(7)] == [2, 1, 0, 1, 0, 0, 0]
    assert [await older(99, 1, limit) for limit in (1, 3, 4, 5)] == [1, 3, 4, 4]

    await pruned(uow, 3)  # what is gone counts as well
    assert [await older(hours) for hours in (-9, 2, 2 + tick, 99)] == [3, 3, 4, 5]
    assert await older(-9, 1, 1) == 1


async def test_pruning_keeps_the_leaves(uow: UnitOfWork) -> None:
    entries = await recorded(uow, 6)
    await planted(uow, entries)
    (late,) = await recorded(uow)
    before = await seen(uow, lambda tx: tx.log_records.leaves(0, ALL))

    for until, deleted, reached in ((2, 2, 2), (2, 0, 2), (1, 0, 2), (0, 0, 2), (5, 3, 5)):
        assert await pruned(uow, until) == deleted
        async with uow.read() as tx:
            assert await tx.log_records.pruned() == reached
            assert await tx.log_records.leaves(0, ALL) == [
                replace(leaf, entry=None) if leaf.index < reached else leaf for leaf in before
            ]
            there = [entry.id for entry in entries if await tx.logs.get(entry.id) is not None]
            assert there == [entry.id for entry in entries[reached:]]
            page = await tx.logs.page(LogFilter(), None, ALL)
            assert sorted(entry.id for entry in page) == sorted([*there, late.id])
            assert await tx.log_tree.index_of(entries[0].id) == 0
            assert await tx.log_tree.hashes(0, 0, ALL) == [entry.leaf for entry in entries]
            assert await tx.log_tree.waiting(ALL) == [late]
            assert (await tx.log_records.strays(None, ALL)).strays == await tx.log_records.lost(ALL) == []


@pytest.mark.parametrize("stored", ["sqlite", "postgresql"], indirect=True)
async def test_pruning_deletes_the_client_ips_too(uow: UnitOfWork, stored: Stored) -> None:
    with calling_from(Origin(ip="192.0.2.1")):
        entries = await recorded(uow, 4)
    await planted(uow, entries)
    assert await pruned(uow, 3) == 3
    assert stored.database is not None
    async with stored.database.connect() as connection:
        kept = (await connection.execute(select(log_client_ips.c.entry_id))).scalars().all()
    assert kept == [entries[3].id]


async def test_a_pruning_that_is_rolled_back_deletes_nothing(uow: UnitOfWork) -> None:
    entries = await recorded(uow, 3)
    await planted(uow, entries)
    before = await seen(uow, lambda tx: tx.log_records.leaves(0, ALL))
    async with uow.begin(SYSTEM) as tx:
        assert await tx.log_records.prune(2) == 2
        assert await tx.log_records.pruned() == 2
        assert await tx.logs.get(entries[0].id) is None
        assert await seen(uow, lambda other: other.log_records.leaves(0, ALL)) == before
    async with uow.read() as tx:
        assert await tx.log_records.pruned() == 0
        assert await tx.log_records.leaves(0, ALL) == before
        assert await tx.logs.get(entries[0].id) == entries[0]


# --- what somebody did past the service ------------------------------------------------------------------------------


class Intruder(Protocol):
    """Changes the tables themselves, past all that guards them."""

    async def dequeue(self, entry_id: UUID) -> None: ...
    async def enqueue(self, entry_id: UUID) -> None: ...
    async def erase(self, entry_id: UUID) -> None: ...


class MemoryIntruder:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def dequeue(self, entry_id: UUID) -> None:
        del self._store.log_queue[LogEntryId(entry_id)]

    async def enqueue(self, entry_id: UUID) -> None:
        self._store.log_queue[LogEntryId(entry_id)] = LogEntryId(entry_id)

    async def erase(self, entry_id: UUID) -> None:
        del self._store.logs[LogEntryId(entry_id)]


class SqlIntruder:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self, *statements: Executable) -> None:
        async with self._engine.begin() as connection:
            if self._engine.dialect.name == "postgresql":
                await connection.execute(text("SET LOCAL session_replication_role = replica"))
            else:
                triggers = text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%only_grow%'")
                for name in (await connection.execute(triggers)).scalars().all():
                    await connection.execute(text(f"DROP TRIGGER {name}"))
            for statement in statements:
                await connection.execute(statement)

    async def dequeue(self, entry_id: UUID) -> None:
        await self.run(delete(log_queue).where(log_queue.c.entry_id == entry_id))

    async def enqueue(self, entry_id: UUID) -> None:
        await self.run(insert(log_queue).values(entry_id=entry_id))

    async def erase(self, entry_id: UUID) -> None:
        await self.run(delete(logs).where(logs.c.id == entry_id))


@pytest.fixture
def sql(stored: Stored) -> SqlIntruder:
    assert stored.database is not None
    return SqlIntruder(stored.database)


@pytest.fixture
def intruder(request: pytest.FixtureRequest, stored: Stored) -> Intruder:
    if isinstance(stored.store, MemoryStore):
        return MemoryIntruder(stored.store)
    made: SqlIntruder = request.getfixturevalue("sql")
    return made


async def test_an_entry_that_is_nowhere_in_line_is_a_stray(uow: UnitOfWork, intruder: Intruder) -> None:
    first = await recorded(uow, 2)
    await planted(uow, first)
    entries = await recorded(uow, 3)
    for entry in entries[:2]:
        await intruder.dequeue(entry.id)
    async with uow.read() as tx:
        found = await tx.log_records.strays(None, ALL)
        assert (set(found.strays), found.last) == ({entry.id for entry in entries[:2]}, None)
        ids, pages, last = sorted(entry.id for entry in [*first, *entries]), [], None
        while (page := await tx.log_records.strays(last, 2)).last is not None:
            pages.append(page)
            last = page.last
        assert [page.last for page in pages] == [ids[1], ids[3]]
        assert sorted(stray for one in [*pages, page] for stray in one.strays) == sorted(found.strays)
        assert await tx.log_records.lost(ALL) == []
        assert await tx.log_tree.waiting(ALL) == entries[2:]


async def test_what_waits_and_is_gone_or_in_the_tree_already_is_lost(uow: UnitOfWork, intruder: Intruder) -> None:
    (twice,) = await recorded(uow)
    await planted(uow, [twice])
    gone, kept = await recorded(uow, 2)
    never = uuid4()
    await intruder.erase(gone.id)
    await intruder.enqueue(never)
    await intruder.enqueue(twice.id)
    async with uow.read() as tx:
        assert set(await tx.log_records.lost(ALL)) == {gone.id, never, twice.id}
        assert len(await tx.log_records.lost(2)) == 2
        assert (await tx.log_records.strays(None, ALL)).strays == []
        assert [entry for entry in await tx.log_tree.waiting(ALL) if entry != twice] == [kept]


@SQL
async def test_a_head_that_is_not_a_tree_is_rejected(uow: UnitOfWork, sql: SqlIntruder) -> None:
    for size, frontier in (
        (7, bytes(64)),
        (-3, bytes(64)),
        (6, b""),
        (6, bytes(63)),
        (6, bytes(96)),
        (2**62, bytes(64)),
    ):
        await sql.run(update(log_head).values(size=size, frontier=frontier))
        for unit in (uow.begin(SYSTEM), uow.read()):
            async with unit as tx:
                with pytest.raises(LogDamaged):
                    await tx.log_tree.state()


@SQL
@pytest.mark.parametrize("rows", [0, 2])
async def test_a_head_that_is_not_the_only_one_is_not_believed(uow: UnitOfWork, sql: SqlIntruder, rows: int) -> None:
    await planted(uow, await recorded(uow, 3))
    heads = [{"only": number, "size": 0, "frontier": b""} for number in range(1, 3)]
    await sql.run(delete(log_head), *(insert(log_head).values(head) for head in heads[:rows]))
    try:
        async with uow.read() as tx:
            with pytest.raises(LogDamaged):
                await tx.log_tree.state()
        for wait in (False, True):  # somebody has to come so far as to say so
            async with uow.begin(SYSTEM) as tx:
                assert await tx.log_tree.lead(wait=wait) is True
    finally:  # the database of PostgreSQL is that of the next test too
        await sql.run(delete(log_head), insert(log_head).values(heads[0]))


@SQLITE
@pytest.mark.parametrize(
    ("size", "frontier"),
    [("'x'", "frontier"), ("1.5", "frontier"), ("size", "'text'"), ("1", "printf('%.32c', 'x')")],
    ids=["text", "a fraction", "no bytes", "no bytes, as many"],
)
async def test_a_head_of_other_types_is_not_believed(
    uow: UnitOfWork, sql: SqlIntruder, size: str, frontier: str
) -> None:
    """SQLite keeps any value in any column."""
    await planted(uow, await recorded(uow, 3))
    await sql.run(update(log_head).values(size=text(size), frontier=text(frontier)))
    async with uow.read() as tx:
        with pytest.raises(LogDamaged):
            await tx.log_tree.state()


UNREADABLE = [
    ("timestamp", "'never'"),
    ("timestamp", "7"),
    ("salt", "'text'"),
    ("data", "7"),
    ("message", "x'00'"),
    ("format", "'x'"),
    ("actor_id", "'nobody'"),
    ("entry_id", "'nothing'"),
    ("hash", "'text'"),
]
"""What SQLite keeps, and nothing here could have written."""


async def damaged(uow: UnitOfWork, sql: SqlIntruder, column: str, value: str) -> list[LogEntry]:
    """Four entries in the tree, of which something was done to the third."""
    entries = await recorded(uow, 4)
    await planted(uow, entries)
    if column in log_leaves.c:
        await sql.run(update(log_leaves).where(log_leaves.c.leaf_index == 2).values({column: text(value)}))
    else:
        await sql.run(update(logs).where(logs.c.id == entries[2].id).values({column: text(value)}))
    return entries


def assert_only_the_third_is_damaged(found: Sequence[Leaf], entries: Sequence[LogEntry]) -> None:
    assert [leaf.index for leaf in found] == [0, 1, 2, 3]
    assert [leaf.readable for leaf in found if leaf.index != 2] == [True] * 3
    assert [leaf.entry for leaf in found if leaf.index != 2] == [entries[0], entries[1], entries[3]]
    third = found[2]
    assert not third.readable or (third.entry is not None and third.entry.leaf != third.hash)


@SQLITE
@pytest.mark.parametrize(("column", "value"), UNREADABLE)
async def test_unreadable_entries_are_marked_and_the_others_are_read(
    uow: UnitOfWork, sql: SqlIntruder, column: str, value: str
) -> None:
    entries = await damaged(uow, sql, column, value)
    assert_only_the_third_is_damaged(await seen(uow, lambda tx: tx.log_records.leaves(0, 6)), entries)


@SQLITE
async def test_unreadable_entries_are_marked_from_every_start(uow: UnitOfWork, sql: SqlIntruder) -> None:
    """Whoever verifies begins below every number, for what may have been slipped in there."""
    entries = await damaged(uow, sql, *UNREADABLE[0])
    async with uow.read() as tx:
        assert_only_the_third_is_damaged(await tx.log_records.leaves(-(2**63), 6), entries)
        assert [leaf.index for leaf in await tx.log_records.leaves(1, 2)] == [1, 2]


@pytest.fixture(params=["WEST12", "EAST-14"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The zone of this machine: what has none of its own is taken to be in it, and may lie beyond the calendar then."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@POSTGRESQL
async def test_a_moment_beyond_the_calendar_is_marked_and_the_rest_is_read(
    uow: UnitOfWork, sql: SqlIntruder, zone: str
) -> None:
    """PostgreSQL knows moments that Python does not."""
    entries = await damaged(uow, sql, "timestamp", "'20000-01-01'")
    assert_only_the_third_is_damaged(await seen(uow, lambda tx: tx.log_records.leaves(0, 6)), entries)
    for moment in ("4000-01-01 BC", "infinity", "-infinity", "0001-01-01 00:00+00", "9999-12-31 23:59:59+00"):
        await sql.run(update(logs).where(logs.c.id == entries[2].id).values(timestamp=text(f"'{moment}'")))
        assert_only_the_third_is_damaged(await seen(uow, lambda tx: tx.log_records.leaves(0, 6)), entries)


@SQL
async def test_leaves_that_are_not_there_leave_a_gap(uow: UnitOfWork, sql: SqlIntruder) -> None:
    await planted(uow, await recorded(uow, 5))
    await sql.run(delete(log_leaves).where(log_leaves.c.leaf_index == 2))
    async with uow.read() as tx:
        assert [leaf.index for leaf in await tx.log_records.leaves(0, ALL)] == [0, 1, 3, 4]
        assert [leaf.index for leaf in await tx.log_records.leaves(1, 2)] == [1, 3]
        assert len(await tx.log_tree.hashes(0, 0, 5)) == 4


# --- the keys --------------------------------------------------------------------------------------------------------


def key_of(number: int) -> LogKey:
    return LogKey(
        number=number,
        name=f"example.org/log/{number % 2}",
        public=hashed(number),
        private=b"\x00sealed\xff" + bytes([number]),
        created_at=NOON - number * HOUR,
    )


async def add_keys(uow: UnitOfWork, *keys: LogKey) -> None:
    async with uow.begin(SYSTEM) as tx:
        for key in keys:
            await tx.log_keys.add(key)
        await tx.commit()


async def test_keys_come_back_as_they_were_by_their_numbers(uow: UnitOfWork) -> None:
    """A clock can be set back: theirs is not the order."""
    keys = [key_of(number) for number in (2, 10, 1, 9)]
    await add_keys(uow, *keys)
    expected = [keys[2], keys[0], keys[3], keys[1]]
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert list(await tx.log_keys.all()) == expected
            assert list(await tx.log_keys.note_keys()) == [key.note_key for key in expected]
    async with uow.begin(SYSTEM) as tx:
        assert list(await tx.log_keys.all_to_change()) == expected


async def test_a_key_is_encrypted_again(uow: UnitOfWork) -> None:
    await add_keys(uow, key_of(1), other := key_of(2))
    anew = replace(key_of(1), private=b"anew")
    for commit, found in ((False, key_of(1)), (True, anew)):
        async with uow.begin(SYSTEM) as tx:
            await tx.log_keys.all_to_change()
            await tx.log_keys.save(anew)
            assert list(await tx.log_keys.all()) == [anew, other]
            if commit:
                await tx.commit()
        assert list(await seen(uow, lambda tx: tx.log_keys.all())) == [found, other]


async def test_a_key_that_is_not_there_is_not_made_by_saving_it(uow: UnitOfWork) -> None:
    async with uow.begin(SYSTEM) as tx:
        await tx.log_keys.save(key_of(1))
        await tx.commit()
    assert list(await seen(uow, lambda tx: tx.log_keys.all())) == []


async def test_a_key_that_was_rolled_back_is_not_there(uow: UnitOfWork) -> None:
    await add_keys(uow, key_of(1))
    async with uow.begin(SYSTEM) as tx:
        await tx.log_keys.add(key_of(2))
        assert len(await tx.log_keys.all()) == 2
        assert list(await seen(uow, lambda other: other.log_keys.all())) == [key_of(1)]
    assert list(await seen(uow, lambda tx: tx.log_keys.all())) == [key_of(1)]


async def test_each_unit_that_adds_a_key_sees_the_previous_key(uow: UnitOfWork) -> None:
    """Also where there is no row that could be locked."""

    async def follow() -> int:
        async with uow.begin(SYSTEM) as tx:
            number = len(await tx.log_keys.all_to_change()) + 1
            await asyncio.sleep(0)
            await tx.log_keys.add(key_of(number))
            await tx.commit()
            return number

    assert sorted(map(str, await race(follow() for _ in range(5)))) == ["1", "2", "3", "4", "5"]
    assert list(await seen(uow, lambda tx: tx.log_keys.all())) == [key_of(number) for number in range(1, 6)]


async def test_readers_of_keys_do_not_wait_for_writers(uow: UnitOfWork) -> None:
    await add_keys(uow, key_of(1))
    async with uow.begin(SYSTEM) as tx:
        await tx.log_keys.all_to_change()
        assert list(await seen(uow, lambda other: other.log_keys.all())) == [key_of(1)]


# --- what a restore is settled with ----------------------------------------------------------------------------------


async def test_sessions_end_whosever_they_are(uow: UnitOfWork, clock: MovableClock) -> None:
    one, other = new_user(), new_user()
    sessions = [new_session(user) for user in (one, other, one, other, one)]
    ended = new_session(one, ended=NOON)
    await put(uow, one, other, *sessions, ended)
    now = clock.move(HOUR)

    async def end(limit: int, after: SessionId | None = None, *, commit: bool = True) -> list[SessionId]:
        async with uow.begin(SYSTEM) as tx:
            ids = await tx.sessions.end_any(tx.now, limit, after=after)
            if commit:
                await tx.commit()
                assert (tx.commit_id, tx.must_propagate) == (None, False)
        return ids

    async def live() -> int:
        async with uow.read() as tx:
            return sum([len(await tx.sessions.page(user.id, NOON, None, ALL)) for user in (one, other)])

    ids = sorted(session.id for session in sessions)
    assert await end(ALL, commit=False) == ids
    assert await end(ALL, ids[1], commit=False) == ids[2:], "those before are passed over"
    assert await live() == 5
    assert await end(3) == ids[:3]
    assert await live() == 2
    later = clock.move(HOUR)
    assert [await end(3, ids[2]), await end(3, ids[4]), await end(3)] == [ids[3:], [], []]
    async with uow.read() as tx:
        found = [await tx.sessions.get(session.id) for session in sessions]
        assert sorted(session.ended_at == later for session in found if session is not None) == [False] * 3 + [True] * 2
        assert {session.ended_at for session in found if session is not None} == {now, later}
        assert await tx.sessions.get(ended.id) == ended
        assert await tx.logs.page(LogFilter(), None, ALL) == []


async def test_a_session_is_ended_by_one_of_two(
    uow: UnitOfWork, clock: MovableClock, in_line: Callable[[], Awaitable[None]]
) -> None:
    await put(uow, user := new_user(), session := new_session(user), other := new_session(user))

    async def end_later() -> int:
        async with uow.begin(SYSTEM) as tx:
            ids = await tx.sessions.end_any(tx.now, ALL)
            await tx.commit()
        return len(ids)

    async with uow.begin(SYSTEM) as tx:
        assert len(await tx.sessions.end_any(tx.now, ALL)) == 2
        clock.move(HOUR)
        second = asyncio.ensure_future(end_later())
        await in_line()
        await tx.commit()
    counted = await second
    async with uow.read() as tx:
        found = [await tx.sessions.get(each.id) for each in (session, other)]
    assert [each and each.ended_at for each in found] == [NOON, NOON]
    assert counted == 0


async def test_another_epoch_begins_with_the_commit(uow: UnitOfWork) -> None:
    before = await seen(uow, lambda tx: tx.feed_position())
    async with uow.begin(SYSTEM) as tx:
        await tx.begin_epoch()
    assert await seen(uow, lambda tx: tx.feed_position()) == before
    epochs = {before.epoch}
    for number in (1, 2):
        async with uow.begin(SYSTEM) as tx:
            await tx.begin_epoch()
            tx.announce(Change("session", str(uuid4())))
            assert (await seen(uow, lambda other: other.feed_position())).epoch in epochs
            await tx.commit()
        after = await seen(uow, lambda tx: tx.feed_position())
        assert after.number == before.number + number  # what was announced keeps its number
        epochs.add(after.epoch)
    assert len(epochs) == 3


@pytest.fixture
async def in_line(request: pytest.FixtureRequest, kind: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Waits until a unit stands in line: in PostgreSQL for a lock, elsewhere for its turn to write."""
    if kind != "postgresql":

        async def started() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        yield started
        return
    connection = await asyncpg.connect(
        request.getfixturevalue("database_url").replace("+asyncpg", "").partition("?")[0], statement_cache_size=0
    )
    stuck = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async def locked() -> None:
        async with asyncio.timeout(20):
            while not await connection.fetchval(stuck):  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.005)

    yield locked
    await connection.close()
