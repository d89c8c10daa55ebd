"""The Sequencer, on every store: what was written gets its place in the tree and is signed for, or nothing is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeAlias
from uuid import UUID

import pytest
from sqlalchemy import delete, text, update

from tests.contracts.conftest import Stored
from tests.contracts.kit import NOON, MovableClock, put, race, seen, something_happened
from tests.support.denials import denials_in
from tests.support.notes import NotGenuine, checkpoint, opened
from tests.support.values import replace
from ubr.adapters.memory import MemoryStore
from ubr.adapters.security.log_signing import Ed25519LogSigning
from ubr.adapters.security.secrets import SecretKeys
from ubr.adapters.sql.tables import log_checkpoints, log_head, log_leaves
from ubr.application.audit.backlog import OVERDUE, BacklogWatch
from ubr.application.audit.sequencer import BATCH, Sequencer, current_checkpoint, hash_of
from ubr.application.audit.verify_log import VerifiedLogResult, VerifyLog, VerifyLogCommand
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import SYSTEM
from ubr.domain.audit.checkpoint import Checkpoint, LogKey, Note
from ubr.domain.audit.entry import LogEntry
from ubr.domain.audit.log_check import Leaf
from ubr.domain.audit.merkle import (
    Frontier,
    Span,
    check_consistency,
    consistency,
    inclusion,
    root_by_inclusion,
    root_of,
)
from ubr.domain.errors import LogDamaged, LogKeyLocked
from ubr.domain.events import Event, LogKeyRotated, Restored

pytestmark = pytest.mark.anyio

ALL = 1000
PLACE = "https://example.org"


def signing_with(*secrets: bytes) -> Ed25519LogSigning:
    return Ed25519LogSigning(SecretKeys(secrets), PLACE, os.urandom)


SIGNING, STRANGER = signing_with(b"s" * 32), signing_with(b"x" * 32)
"""Ours, and one whose keys our secret does not open."""


Forgery: TypeAlias = Callable[[Frontier, LogKey], tuple[Frontier, str]]
"""From the head and the key as they should be to a head and a note."""


@dataclass
class Log:
    """A log with a key, and who puts entries into its tree."""

    uow: UnitOfWork
    key: LogKey
    sequencer: Sequencer

    async def record(self, count: int = 1, *events: Event) -> None:
        """So many events, and these, in one unit."""
        await put(self.uow, *(something_happened() for _ in range(count)), *events)

    async def add(self, key: LogKey) -> None:
        async with self.uow.begin(SYSTEM) as tx:
            await tx.log_keys.add(key)
            await tx.commit()

    async def forge(self, forgery: Forgery) -> None:
        """Add one entry to the tree, with a head and a checkpoint that are not what the Sequencer would write."""
        async with self.uow.begin(SYSTEM) as tx:
            head = await tx.log_tree.state()
            first = head.size
            (entry,) = await tx.log_tree.waiting(1)
            head.append(entry.leaf)
            await tx.log_tree.extend(first, [(entry.id, entry.leaf)], [], *forgery(head, self.key))
            await tx.commit()

    async def head(self) -> Frontier:
        return await seen(self.uow, lambda tx: tx.log_tree.state())

    async def waiting(self) -> list[LogEntry]:
        return await seen(self.uow, lambda tx: tx.log_tree.waiting(ALL))

    async def leaves(self) -> list[Leaf]:
        return await seen(self.uow, lambda tx: tx.log_records.leaves(0, ALL))

    async def checkpoints(self) -> list[tuple[int, str]]:
        return await seen(self.uow, lambda tx: tx.log_records.checkpoints(0, ALL))

    async def verified(self, *keys: LogKey) -> VerifiedLogResult:
        command = VerifyLogCommand(keys=tuple(map(str, keys)))
        return await VerifyLog(self.uow, SIGNING.verify, denials_in(self.uow))(command, actor=SYSTEM)

    async def everything(self) -> tuple[object, ...]:
        async with self.uow.read() as tx:
            return (
                await tx.log_tree.state(),
                await tx.log_tree.waiting(ALL),
                await tx.log_tree.hashes(8, 0, ALL),
                await tx.log_records.leaves(0, ALL),
                await tx.log_records.checkpoints(-1, ALL),
            )

    @asynccontextmanager
    async def unchanged(self) -> AsyncIterator[None]:
        """Nothing of the tree is another one behind this."""
        before = await self.everything()
        yield
        assert await self.everything() == before


@pytest.fixture
async def log(uow: UnitOfWork) -> Log:
    log = Log(uow, SIGNING.generate(NOON), Sequencer(uow, SIGNING))
    await log.add(log.key)
    return log


def signed(grown: Frontier, *keys: LogKey, by: Ed25519LogSigning = SIGNING) -> str:
    note = Note(Checkpoint(keys[-1].name, grown.size, grown.root()).text, ())
    for key in keys:
        note = note.with_signature(key.note_key, by.sign(key, note.text.encode()))
    return str(note)


def signs(note: str, key: LogKey) -> bool:
    """Whether a key signed a note, as somebody sees it who knows only the specification."""
    try:
        opened(note, str(key))
    except NotGenuine:
        return False
    return True


# --- what is added ---------------------------------------------------------------------------------------------------


async def test_queued_entries_are_added_in_signed_batches(log: Log) -> None:
    await log.record(600)
    entries = await log.waiting()

    assert await log.sequencer() == 600

    assert await log.waiting() == []
    leaves = await log.leaves()
    assert [leaf.entry for leaf in leaves] == entries  # by their ids
    hashes = [entry.leaf for entry in entries]
    notes = await log.checkpoints()
    assert [size for size, _ in notes] == [BATCH, 2 * BATCH, 600]
    for size, note in notes:
        assert checkpoint(note, str(log.key)) == (log.key.name, size, root_of(hashes[:size]))
    async with log.uow.read() as tx:
        assert await tx.log_tree.hashes(0, 0, ALL) == hashes
        assert await tx.log_tree.hashes(8, 0, ALL) == [root_of(hashes[:256]), root_of(hashes[256:512])]
        for level in (1, 4, 7, 9, 16):
            assert await tx.log_tree.hashes(level, 0, ALL) == []
        assert str(await current_checkpoint(tx)) == notes[-1][1]
        await proofs_fit(tx, hashes, [1, 3, 256, 257, 600], [0, 2, 255, 256, 599])
    verified = await log.verified()
    assert (verified.finding, verified.size, verified.checkpoints, verified.signer) == (None, 600, 3, str(log.key))


@pytest.mark.long
async def test_whatever_is_proved_is_proved_by_what_is_kept(log: Log) -> None:
    """Every proof between every two of these sizes, and of every leaf in them."""
    await log.record(600)
    await log.sequencer()
    hashes = [leaf.hash for leaf in await log.leaves()]
    sizes = [*range(1, 20), *range(250, 262), *range(510, 515), 599, 600]
    async with log.uow.read() as tx:
        await proofs_fit(tx, hashes, sizes, range(600))


async def proofs_fit(tx: Transaction, leaves: Sequence[bytes], sizes: Sequence[int], indexes: Sequence[int]) -> None:
    """What is kept gives every range its hash, and with it the proofs between these sizes and of these leaves."""
    found: dict[Span, bytes] = {}

    async def hashes_of(spans: list[Span]) -> list[bytes]:
        for span in spans:
            if span not in found:
                found[span] = await hash_of(tx, span)
                assert found[span] == root_of(leaves[span.start : span.end])
        return [found[span] for span in spans]

    for size in sizes:
        root = root_of(leaves[:size])
        for index in indexes:
            if index < size:
                proof = await hashes_of(inclusion(index, size))
                assert root_by_inclusion(leaves[index], index, size, proof) == root
        for first in sizes:
            if first < size:
                check_consistency(first, root_of(leaves[:first]), size, root, await hashes_of(consistency(first, size)))


async def test_a_hash_of_what_is_not_kept_is_not_made_up(log: Log) -> None:
    await log.record(6)
    await log.sequencer()
    async with log.uow.read() as tx:
        for span in (Span(4, 8), Span(6, 7), Span(0, 256)):
            with pytest.raises(LogDamaged):
                await hash_of(tx, span)


async def test_an_empty_queue_signs_nothing(log: Log) -> None:
    assert await log.sequencer() == await log.sequencer(wait=True) == 0
    assert await log.checkpoints() == []
    async with log.uow.read() as tx:
        with pytest.raises(LogDamaged):
            await current_checkpoint(tx)
    await log.record(2)
    assert [await log.sequencer(), await log.sequencer(), await log.sequencer(wait=True)] == [2, 0, 0]
    assert [size for size, _ in await log.checkpoints()] == [2]


async def test_every_round_goes_on_where_the_one_before_ended_whoever_it_was(log: Log) -> None:
    sizes: list[int] = []
    for count in (1, 254, 3):  # over the end of a node, in small steps
        await log.record(count)
        assert await Sequencer(log.uow, SIGNING)() == count
        sizes.append(sum(sizes[-1:]) + count)
    leaves = await log.leaves()
    assert [leaf.index for leaf in leaves] == list(range(258))
    assert [size for size, _ in await log.checkpoints()] == sizes == [1, 255, 258]
    assert await seen(log.uow, lambda tx: tx.log_tree.hashes(8, 0, ALL)) == [
        root_of(leaf.hash for leaf in leaves[:256])
    ]
    assert (await log.verified(log.key)).finding is None


async def test_each_entry_is_added_by_one_of_many_concurrent_rounds(log: Log) -> None:
    await log.record(300)
    sequencers = [Sequencer(log.uow, SIGNING) for _ in range(3)]
    added = await race(sequencer(wait=True) for sequencer in sequencers * 2)
    assert sum(count for count in added if isinstance(count, int)) == 300
    assert [leaf.index for leaf in await log.leaves()] == list(range(300))
    assert (await log.verified()).finding is None


@pytest.mark.parametrize("stored", ["postgresql"], indirect=True)
async def test_a_round_leaves_the_work_to_who_is_at_it(log: Log) -> None:
    await log.record(3)
    async with log.uow.begin(SYSTEM) as tx:
        assert await tx.log_tree.lead(wait=False)
        assert await log.sequencer() == 0
        waits = asyncio.ensure_future(log.sequencer(wait=True))
        await asyncio.sleep(0)
        assert len(await log.waiting()) == 3
    assert await waits == 3


# --- keys that follow ------------------------------------------------------------------------------------------------


def rotated(new: LogKey, before: LogKey) -> Event:
    return LogKeyRotated(label=new.label, key=str(new), before=str(before))


async def test_the_first_checkpoint_over_a_rotation_is_signed_by_both_and_later_ones_by_the_new_key(log: Log) -> None:
    await log.record()
    await log.sequencer()
    await log.add(new := SIGNING.generate(NOON, log.key))
    await log.record()
    await log.sequencer()  # a key that no entry names does not sign yet
    await log.record(3, rotated(new, log.key))
    await log.sequencer()
    await log.record()
    await log.sequencer()

    (place,) = (leaf.index for leaf in await log.leaves() if leaf.entry and leaf.entry.action == "log_key.rotated")
    assert 2 <= place < 6
    notes = await log.checkpoints()
    assert [size for size, _ in notes] == [1, 2, 6, 7]
    assert new.name == log.key.name
    for size, note in notes:
        assert (signs(note, log.key), signs(note, new)) == (size <= 6, size >= 6)
    for trusted in ((), (log.key,), (log.key, new)):
        verified = await log.verified(*trusted)
        assert (verified.finding, verified.unsigned, verified.signer) == (None, 0, str(new))


async def test_both_keys_sign_if_a_rotation_precedes_the_first_signature(log: Log) -> None:
    await log.add(new := SIGNING.generate(NOON, log.key))
    await log.record(2, rotated(new, log.key))
    await log.sequencer()
    ((_, note),) = await log.checkpoints()
    assert (signs(note, log.key), signs(note, new)) == (True, True)


async def test_all_three_keys_sign_two_rotations_in_one_batch(log: Log) -> None:
    await log.record()
    await log.sequencer()
    second = SIGNING.generate(NOON, log.key)
    third = SIGNING.generate(NOON, second)
    for key, before in ((second, log.key), (third, second)):
        await log.add(key)
        await log.record(1, rotated(key, before))
    await log.sequencer()
    await log.record()
    await log.sequencer()
    (_, alone), (_, over), (_, late) = await log.checkpoints()
    assert [[signs(note, key) for key in (log.key, second, third)] for note in (alone, over, late)] == [
        [True, False, False],
        [True, True, True],
        [False, False, True],
    ]
    assert (await log.verified(log.key)).finding is None


async def test_after_a_restore_the_log_continues_under_another_name(log: Log) -> None:
    await log.record(2)
    await log.sequencer()
    new = SIGNING.generate(NOON, log.key, anew=True)
    assert new.name != log.key.name
    await log.add(new)
    await log.record(1, Restored(label=new.label, key=str(new), before=str(log.key), checkpoint=None))
    await log.sequencer()
    await log.record()
    await log.sequencer()
    (_, before), (_, over), (_, after) = await log.checkpoints()
    assert checkpoint(before, str(log.key))[0] == log.key.name
    assert checkpoint(over, str(log.key))[:2] == checkpoint(over, str(new))[:2] == (new.name, 4)
    assert checkpoint(after, str(new))[:2] == (new.name, 5)
    assert not signs(after, log.key)
    assert (await log.verified(log.key)).finding is None


async def test_a_present_key_that_is_locked_is_left_out_where_its_successor_signs(log: Log) -> None:
    await log.record()
    await log.sequencer()
    await log.add(new := STRANGER.generate(NOON, log.key))
    await log.record(1, rotated(new, log.key))
    sequencer = Sequencer(log.uow, STRANGER)
    assert await sequencer() == 2
    await log.record()
    assert await sequencer() == 1
    for size, note in (await log.checkpoints())[1:]:
        assert (signs(note, log.key), signs(note, new)) == (False, True)
        assert checkpoint(note, str(new))[:2] == (log.key.name, size)


async def test_no_entry_is_added_if_the_current_key_is_locked(log: Log) -> None:
    for count in (1, 2):  # at first, and where something is signed already
        await log.record(count)
        async with log.unchanged():
            with pytest.raises(LogKeyLocked):
                await Sequencer(log.uow, STRANGER)()
        assert await log.sequencer() == count


async def test_no_entry_is_added_if_the_successor_is_locked(log: Log) -> None:
    """The present key vouches for no key that only somebody without a secret of ours can have made."""
    await log.record()
    await log.sequencer()
    await log.add(new := STRANGER.generate(NOON, log.key))
    await log.record(1, rotated(new, log.key))
    async with log.unchanged():
        with pytest.raises(LogKeyLocked):
            await log.sequencer()


async def test_no_entry_is_added_if_one_of_two_successors_is_locked(log: Log) -> None:
    """Nor is it passed over for the one behind it."""
    await log.record()
    await log.sequencer()
    locked = STRANGER.generate(NOON, log.key)
    new = SIGNING.generate(NOON, locked)
    await log.add(locked)
    await log.add(new)
    await log.record(0, rotated(locked, log.key))
    # Ids are random here. An early one comes before one of the next eight, and all of them into one batch.
    while (await log.waiting())[0].id >= UUID(int=1 << 124):
        await log.record(0, rotated(locked, log.key))
    await log.record(0, *(rotated(new, locked) for _ in range(8)))
    async with log.unchanged():
        with pytest.raises(LogKeyLocked):
            await log.sequencer()


# --- where nothing is signed -----------------------------------------------------------------------------------------


async def test_without_a_key_nothing_is_added(uow: UnitOfWork) -> None:
    log = Log(uow, SIGNING.generate(NOON), Sequencer(uow, SIGNING))
    await log.record(2)
    async with log.unchanged():
        with pytest.raises(LogDamaged):
            await log.sequencer()


async def test_no_entry_is_added_if_one_names_a_missing_key(log: Log) -> None:
    await log.record()
    await log.sequencer()
    await log.record(2, rotated(SIGNING.generate(NOON, log.key), log.key))
    async with log.unchanged():
        with pytest.raises(LogDamaged):
            await log.sequencer()


def note_of(head: Frontier, key: LogKey) -> Note:
    return Note.parse(signed(head, key))


def with_text(text: str, key: LogKey) -> str:
    return str(Note(text, ()).with_signature(key.note_key, SIGNING.sign(key, text.encode())))


FORGERIES: dict[str, Forgery] = {
    "nothing": lambda head, key: (head, ""),
    "no note": lambda head, key: (head, "a note\n"),
    "no signature": lambda head, key: (head, note_of(head, key).text + "\n"),
    "cut": lambda head, key: (head, signed(head, key)[:-9]),
    "no checkpoint": lambda head, key: (head, with_text("a note\n", key)),
    "no hash": lambda head, key: (head, with_text(note_of(head, key).text[:-9] + "\n", key)),
    "another text": lambda head, key: (head, str(replace(note := note_of(head, key), text=note.text + "more\n"))),
    # of the name and with the number that would be next
    "unknown key": lambda head, key: (head, signed(head, STRANGER.generate(NOON, key), by=STRANGER)),
    "another root": lambda head, key: (head, signed(Frontier(head.size, [bytes(32)]), key)),
    "another leaf": lambda head, key: (Frontier(head.size, [*head.hashes[:-1], bytes(32)]), signed(head, key)),
    # Three leaves and five both make two hashes, which have one root whichever it is.
    "another size": lambda head, key: (Frontier(5, head.hashes), signed(head, key)),
}


@pytest.mark.parametrize("which", [["another size"], [name for name in FORGERIES if name != "another size"]], ids=len)
async def test_over_what_was_not_signed_nothing_is_added(log: Log, which: Sequence[str]) -> None:
    """Whatever it is that stands there, it stays as it is."""
    await log.record(2)
    await log.sequencer()
    await log.record(len(which) + 2)
    for name in which:
        await log.forge(FORGERIES[name])
        async with log.unchanged():
            with pytest.raises(LogDamaged):
                await log.sequencer()


class Cut(Protocol):
    """Puts the tables back to a smaller tree, past all that guards them. The entries themselves stay."""

    async def __call__(self, size: int, head: Frontier | None = None) -> None:
        """Without a head it stays as it is, and so do the leaves: only the checkpoints are gone."""


@pytest.fixture
def cut(stored: Stored) -> Cut:
    if isinstance(memory := stored.store, MemoryStore):

        async def cut_memory(size: int, head: Frontier | None = None) -> None:
            for above in [above for above in memory.log_checkpoints if above > size]:
                del memory.log_checkpoints[above]
            if head is not None:
                for index in [index for index in memory.log_leaves if index >= size]:
                    del memory.log_leaves[index]
                memory.log_head["only"] = head

        return cut_memory
    engine = stored.database
    assert engine is not None
    postgresql = engine.dialect.name == "postgresql"

    async def cut_sql(size: int, head: Frontier | None = None) -> None:
        async with engine.begin() as connection:
            if postgresql:
                await connection.execute(text("SET LOCAL session_replication_role = replica"))
            else:
                for table in ("log_leaves", "log_checkpoints"):
                    await connection.execute(text(f"DROP TRIGGER {table}_only_grow_delete"))
            await connection.execute(delete(log_checkpoints).where(log_checkpoints.c.size > size))
            if head is not None:
                await connection.execute(delete(log_leaves).where(log_leaves.c.leaf_index >= size))
                await connection.execute(update(log_head).values(size=size, frontier=head.to_bytes()))

    return cut_sql


async def test_a_tree_without_a_checkpoint_is_not_signed(log: Log, cut: Cut) -> None:
    await log.record(3)
    await log.sequencer()
    await log.record(2)
    await cut(0)
    async with log.unchanged():
        with pytest.raises(LogDamaged):
            await log.sequencer()


async def test_a_tree_is_not_signed_again_where_it_is_shorter_than_it_was(log: Log, cut: Cut) -> None:
    """A roll-back to a state that was signed. Who was not there then cannot see it in the database alone."""
    await log.record(3)
    await log.sequencer()
    before = await log.head()
    await log.record(4)
    await log.sequencer()
    await log.record(2)
    await cut(3, before)
    async with log.unchanged():
        for _ in range(2):
            with pytest.raises(LogDamaged):
                await log.sequencer()
    assert await Sequencer(log.uow, SIGNING)() == 2


async def test_a_tree_that_is_shorter_is_signed_under_another_name(log: Log, cut: Cut) -> None:
    await log.record(3)
    await log.sequencer()
    before = await log.head()
    await log.record(4)
    await log.sequencer()
    await cut(3, before)
    new = SIGNING.generate(NOON, log.key, anew=True)
    await log.add(new)
    await log.record(0, Restored(label=new.label, key=str(new), before=str(log.key), checkpoint=None))
    assert await Sequencer(log.uow, SIGNING)() == 1  # another process, after `ubr after-restore`
    await log.record()
    assert await log.sequencer() == 1  # the one that was there before
    assert checkpoint((await log.checkpoints())[-1][1], str(new))[:2] == (new.name, 5)


async def test_a_process_that_saw_nothing_signed_may_be_the_one_that_signs_next(log: Log) -> None:
    """A round that fails or finds nothing is no memory of a log."""
    await log.sequencer()
    await log.record(2)
    with pytest.raises(LogKeyLocked):
        await Sequencer(log.uow, STRANGER)()
    assert await log.sequencer() == 2


# --- what nobody puts into the tree ----------------------------------------------------------------------------------


async def test_an_entry_queued_for_more_than_a_minute_is_a_finding(log: Log, clock: MovableClock) -> None:
    await log.record(3)
    await log.sequencer()
    found = await log.verified()
    assert (found.finding, found.waiting, found.waiting_since) == (None, 0, None)
    began = clock()
    await log.record(2)
    clock.move(OVERDUE)
    await log.record(1)
    found = await log.verified()
    assert (found.finding, found.waiting, found.waiting_since) == (None, 3, began)
    clock.move(timedelta(seconds=1))
    found = await log.verified()
    assert found.finding is not None
    assert "3 entries are queued" in found.finding
    assert (found.size, found.waiting, found.waiting_since) == (3, 3, began)
    await log.sequencer()
    assert (await log.verified()).finding is None


async def test_a_stalled_log_is_reported_once_a_minute_until_it_continues(
    log: Log, clock: MovableClock, caplog: pytest.LogCaptureFixture
) -> None:
    watch = BacklogWatch(log.uow)

    async def said() -> list[str]:
        caplog.clear()
        await watch()
        return [record.getMessage() for record in caplog.records if record.name == "ubr.audit"]

    assert await said() == []
    await log.record(2)
    clock.move(OVERDUE)
    assert await said() == []
    clock.move(timedelta(seconds=5))
    assert "stands still: 2 entries are queued to be signed, the oldest for 65 s" in "".join(await said())
    assert (watch.seen.entries, watch.age) == (2, timedelta(seconds=65))
    clock.move(timedelta(seconds=30))
    assert await said() == []
    clock.move(timedelta(seconds=30))
    assert "the oldest for 125 s" in "".join(await said())
    await log.sequencer()
    assert "The log continues" in "".join(await said())
    assert (watch.seen.entries, watch.age) == (0, timedelta(0))
    assert await said() == []
