"""What shows that the log is the one that was written: checkpoints, proofs, exports, pruning, keys and restores.

What is signed is read by `tests.support.notes`, and a proof by what stands here: neither shares code with ubr.
"""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from dependency_injector import providers

from tests.simulation.parts import put_back, rows_of
from tests.support import notes
from tests.support.people import Member, World
from tests.support.values import replace
from ubr.adapters.memory import MemoryStore
from ubr.application.audit import compare_checkpoint, prune_log
from ubr.application.audit.compare_checkpoint import CompareCheckpointCommand
from ubr.application.audit.export_log import ExportResult
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.audit.prove_log_entry import ProofResult, ProveLogEntryCommand
from ubr.application.audit.prune_log import PrunedResult, PruneLogCommand
from ubr.application.audit.verify_log import VerifiedLogResult, VerifyLogCommand
from ubr.application.kernel.representations import CheckpointResult, LogEntryResult
from ubr.application.operations.acknowledge_restore import (
    AcknowledgedRestoreResult,
    AcknowledgeRestore,
    AcknowledgeRestoreCommand,
)
from ubr.application.ports.unit_of_work import Repositories, Transaction, UnitOfWork
from ubr.audit_verifier import check_export, report
from ubr.bootstrap.memory import MemoryContainer
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.audit.checkpoint import Note, NoteKey
from ubr.domain.audit.log_check import Tampered
from ubr.domain.errors import (
    CheckpointMismatch,
    Forbidden,
    Invalid,
    InvalidToken,
    LogDamaged,
    LogEntryNotFound,
    StoreUnavailable,
)
from ubr.domain.ids import LogEntryId
from ubr.domain.roles.permissions import BUILT_IN_PERMISSIONS, EVERYTHING, LOGS_READ
from ubr.settings import Settings
from ubr.testing import TINY_HASHING, MovableClock

UNKNOWN = UUID("01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10")
ALL_BUT_ONE = sorted(str(name) for name in BUILT_IN_PERMISSIONS if name not in {EVERYTHING, LOGS_READ})


class Lab:
    """A store in reach of the test: its rows can be put back to what they were, and other processes serve them."""

    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), MovableClock()
        self.settings = Settings.memory(**TINY_HASHING)

    def container(self) -> MemoryContainer:
        made = MemoryContainer(settings=self.settings)
        made.clock.override(providers.Object(self.clock))
        made.store.override(providers.Object(self.store))
        return made

    async def world(self) -> World:
        """Another process over the same rows."""
        ubr = self.container().application()
        await ubr.initialize()
        return World(ubr, self.clock)

    def signed(self) -> list[tuple[int, str]]:
        """Every checkpoint that is kept."""
        return sorted(self.store.log_checkpoints.values())


@pytest.fixture
def lab() -> Lab:
    return Lab()


_numbers = count()


async def fill(world: World, entries: int) -> list[str]:
    """Write so many entries, about roles of names that nobody had. Also where the rows were put back meanwhile."""
    names = [f"filler-{next(_numbers)}" for _ in range(entries)]
    for name in names:
        await world.role(name=name)
    return names


async def checkpoint(world: World) -> CheckpointResult:
    return await world.ubr.get_checkpoint(actor=SYSTEM)


async def newest_key(world: World) -> str:
    return (await world.ubr.list_log_keys(actor=SYSTEM))[0].key


async def prove(world: World, entry_id: UUID, actor: Actor | System = SYSTEM) -> ProofResult:
    return await world.ubr.prove_log_entry(ProveLogEntryCommand(entry_id=entry_id), actor=actor)


async def compare(world: World, kept: str) -> CheckpointResult:
    return await world.ubr.compare_checkpoint(CompareCheckpointCommand(checkpoint=kept), actor=SYSTEM)


async def verify(world: World, *keys: str, checkpoints: tuple[str, ...] = ()) -> VerifiedLogResult:
    return await world.ubr.verify_log(VerifyLogCommand(keys=keys, checkpoints=checkpoints), actor=SYSTEM)


async def export(world: World) -> tuple[list[str], ExportResult]:
    lines: list[str] = []
    return lines, await world.ubr.export_log(lines.append, actor=SYSTEM)


async def prune(world: World, before: datetime) -> PrunedResult:
    return await world.ubr.prune_log(PruneLogCommand(before=before, force=True), actor=SYSTEM)


async def settle(world: World, kept: str | None = None) -> AcknowledgedRestoreResult:
    return await world.ubr.acknowledge_restore(AcknowledgeRestoreCommand(checkpoint=kept), actor=SYSTEM)


async def found(world: World, **filters: Any) -> list[LogEntryResult]:
    """Entries of the log, oldest first."""
    return (await world.ubr.list_logs(ListLogsCommand(limit=200, **filters), actor=SYSTEM)).items[::-1]


# --- the newest checkpoint -------------------------------------------------------------------------------------------


async def test_a_checkpoint_takes_the_permission_to_read_the_log(world: World) -> None:
    for nobody in (await world.user(), await world.user(*ALL_BUT_ONE)):
        with pytest.raises(Forbidden):
            await world.ubr.get_checkpoint(actor=nobody.actor)
    for reader in (await world.user("logs:read"), await world.admin()):
        assert (await world.ubr.get_checkpoint(actor=reader.actor)).size > 0


async def test_a_checkpoint_can_be_read_by_whoever_knows_the_specification(world: World) -> None:
    key, result = await newest_key(world), await checkpoint(world)
    assert notes.checkpoint(result.note, key) == (result.origin, result.size, b64decode(result.root))
    assert key.startswith(f"{result.origin}+")
    assert notes.opened(result.note, key) == f"{result.origin}\n{result.size}\n{result.root}\n"
    with pytest.raises(notes.NotGenuine):
        notes.opened(result.note.replace(f"\n{result.size}\n", f"\n{result.size + 1}\n"), key)


async def test_a_checkpoint_covers_every_act_that_was_answered_before(world: World) -> None:
    await world.acts()
    member = await world.user()
    covered = [(await checkpoint(world)).size]
    await world.log_in(member.email)
    covered.append((await checkpoint(world)).size)
    entries = await world.acts()
    places = [(await prove(world, entry.id)).index for entry in entries]
    assert max(places[:-1]) < covered[0]
    assert covered[0] <= places[-1] < covered[1]


async def test_also_where_many_act_at_once(world: World) -> None:
    async def act(number: int) -> tuple[UUID, int]:
        role = await world.role(name=f"role-{number}")
        return role.id, (await checkpoint(world)).size

    for role_id, size in await asyncio.gather(*map(act, range(20))):
        [entry] = await found(world, target_id=str(role_id))
        assert (await prove(world, entry.id)).index < size


async def test_where_nothing_happened_it_is_the_same_to_the_byte(world: World) -> None:
    one = await checkpoint(world)
    assert await checkpoint(world) == one
    await fill(world, 1)
    assert (await checkpoint(world)).size == one.size + 1


async def test_no_checkpoint_is_given_of_a_log_that_is_not_what_was_signed(lab: Lab) -> None:
    world = await lab.world()
    await fill(world, 3)
    kept = await checkpoint(world)
    lab.store.log_checkpoints[kept.size] = (kept.size, kept.note.replace(kept.root, b64encode(bytes(32)).decode()))
    await fill(world, 1)
    with pytest.raises(LogDamaged):
        await checkpoint(world)


# --- proofs ----------------------------------------------------------------------------------------------------------


def led_to(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root to which an inclusion path leads, by the definition of PATH in RFC 9162, 2.1.3.1, read backwards."""
    if size == 1:
        assert path == []
        return leaf
    left = 1
    while left * 2 < size:
        left *= 2
    *inner, last = path
    if index < left:
        return sha256(b"\x01" + led_to(leaf, index, left, inner) + last).digest()
    return sha256(b"\x01" + last + led_to(leaf, index - left, size - left, inner)).digest()


def check_proof(proof: ProofResult, key: str) -> None:
    """It leads to the root that the key signed."""
    _, size, root = notes.checkpoint(proof.checkpoint, key)
    leaf = b64decode(proof.leaf_hash)
    assert size == proof.size
    assert led_to(leaf, proof.index, size, [b64decode(one) for one in proof.hashes]) == root
    if proof.content is not None:
        assert sha256(b"\x00" + b64decode(proof.content)).digest() == leaf


async def ids_of(world: World) -> list[UUID]:
    """The ids of all entries in the order of the tree, by an export."""
    lines, _ = await export(world)
    return [UUID(record["id"]) for record in map(json.loads, lines) if "index" in record]


@pytest.mark.parametrize("size", [18, 258], ids=["a small log", "one with nodes that are kept"])
async def test_every_entry_is_proved(world: World, size: int) -> None:
    await fill(world, size)
    key, ids = await newest_key(world), await ids_of(world)
    assert len(ids) > size
    for index, entry_id in enumerate(ids):
        proof = await prove(world, entry_id)
        assert (proof.entry_id, proof.index) == (entry_id, index)
        assert proof.content is not None
        assert str(entry_id).encode() in b64decode(proof.content)
        check_proof(proof, key)


async def test_a_proof_of_another_place_or_entry_leads_elsewhere(world: World) -> None:
    """What the test above checks can fail."""
    await fill(world, 5)
    key, ids = await newest_key(world), await ids_of(world)
    proof, other = await prove(world, ids[2]), await prove(world, ids[3])
    for wrong in (
        replace_in(proof, index=3),
        replace_in(proof, leaf_hash=other.leaf_hash, content=None),
        replace_in(proof, content=other.content),
        replace_in(proof, hashes=proof.hashes[::-1]),
    ):
        with pytest.raises(AssertionError):
            check_proof(wrong, key)


def replace_in(proof: ProofResult, **changes: Any) -> ProofResult:
    fields = {name: getattr(proof, name) for name in proof.__struct_fields__}
    return ProofResult(**{**fields, **changes})


async def test_a_proof_takes_the_permission_to_read_the_log(world: World) -> None:
    [first, *_] = await found(world)
    for nobody in (await world.user(), await world.user(*ALL_BUT_ONE)):
        for entry_id in (first.id, UNKNOWN):
            with pytest.raises(Forbidden):
                await prove(world, entry_id, nobody.actor)
    reader = await world.user("logs:read")
    check_proof(await prove(world, first.id, reader.actor), await newest_key(world))


async def test_reading_a_proof_is_an_entry(world: World) -> None:
    [first, *_] = await found(world)
    reader = await world.user("logs:read")
    await world.acts()
    await prove(world, first.id, reader.actor)
    [entry] = await world.acts()
    assert (entry.action, entry.actor_id, entry.data) == ("log.entry_read", reader.id, {})
    assert entry.target is not None
    assert (entry.target.type, entry.target.id) == ("log_entry", str(first.id))


async def test_an_entry_that_does_not_exist(world: World) -> None:
    await world.acts()
    for entry_id in (UNKNOWN, UUID(int=0)):
        with pytest.raises(LogEntryNotFound):
            await prove(world, entry_id)
    assert await world.acts() == []


async def test_an_entry_without_content_is_proved_all_the_same(world: World) -> None:
    await fill(world, 5)
    key, ids = await newest_key(world), await ids_of(world)
    before = await prove(world, ids[2])
    assert before.content is not None
    world.clock.move(days=10)
    await prune(world, world.clock() - timedelta(days=1))
    after = await prove(world, ids[2])
    assert (after.content, after.leaf_hash, after.index) == (None, before.leaf_hash, before.index)
    check_proof(after, key)


# --- a checkpoint that was kept --------------------------------------------------------------------------------------


async def test_the_log_continues_every_checkpoint_that_was_ever_kept(world: World) -> None:
    kept = []
    for more in (0, 1, 1, 1, 2, 7, 30, 250, 1):
        await fill(world, more)
        kept.append(await checkpoint(world))
    assert len({one.size for one in kept}) == len(kept)
    for one in kept:
        await fill(world, 1)
        newest = await compare(world, one.note)
        assert newest == await checkpoint(world), "and what waited is signed"
        assert newest.size > kept[-1].size


async def test_a_shorter_log_is_not_a_continuation_and_is_not_signed(lab: Lab) -> None:
    world = await lab.world()
    await fill(world, 5)
    await checkpoint(world)
    rows = rows_of(lab.store)
    await fill(world, 3)
    kept = await checkpoint(world)
    put_back(lab.store, rows)
    again = await lab.world()
    await fill(again, 1)
    signed = lab.signed()
    with pytest.raises(CheckpointMismatch, match=f"{kept.size} entries and the log {kept.size - 3}"):
        await compare(again, kept.note)
    assert lab.signed() == signed
    assert lab.store.log_queue, "what waits is not signed under this name"


@pytest.mark.parametrize("more", [3, 4, 20], ids=["as long", "longer", "much longer"])
async def test_a_forked_log_is_not_a_continuation(lab: Lab, more: int) -> None:
    world = await lab.world()
    await fill(world, 5)
    before = await checkpoint(world)
    rows = rows_of(lab.store)
    await fill(world, 3)
    kept = await checkpoint(world)
    put_back(lab.store, rows)
    again = await lab.world()
    await fill(again, more)
    await checkpoint(again)
    await fill(again, 1)
    signed = lab.signed()
    with pytest.raises(CheckpointMismatch, match=f"first {kept.size} entries"):
        await compare(again, kept.note)
    assert lab.signed() == signed
    assert (await compare(again, before.note)).size == before.size + more + 1, "up to where they part it fits"


async def test_the_checkpoint_of_another_log_is_no_beginning_of_this_one(world: World) -> None:
    own, foreign = await checkpoint(world), await checkpoint(await Lab().world())
    with pytest.raises(CheckpointMismatch, match="not signed by a current or former key"):
        await compare(world, foreign.note)
    text, _, signatures = foreign.note.partition("\n\n")
    for forged in (
        f"{own.origin}\n{own.size}\n{foreign.root}\n\n" + own.note.partition("\n\n")[2],  # our signature, another root
        f"{own.origin}\n{own.size}\n{own.root}\n\n" + signatures,  # our text, another's signature
        f"{text}\n\n" + own.note.partition("\n\n")[2],
    ):
        with pytest.raises(CheckpointMismatch):
            await compare(world, forged)


async def test_a_text_that_is_not_a_checkpoint(world: World) -> None:
    note = (await checkpoint(world)).note
    text, _, signatures = note.partition("\n\n")
    for junk in ("", "\n", "junk", text, note.rstrip("\n"), note + "x", f"a\nb\nc\n\n{signatures}", "\x00" + note):
        with pytest.raises(Invalid) as failure:
            await compare(world, junk)
        assert [flaw.pointer for flaw in failure.value.flaws] == ["/checkpoint"]


# --- the whole log in a file -----------------------------------------------------------------------------------------


async def test_an_export_verifies_without_the_service(world: World) -> None:
    kept = []
    for _ in range(3):
        await fill(world, 3)
        kept.append(Note.parse((await checkpoint(world)).note))
    key = NoteKey.parse(await newest_key(world))
    lines, result = await export(world)
    assert notes.checkpoint(result.checkpoint, str(key))[1] == result.size
    checked = check_export(lines, keys=[key], against=kept)
    assert (checked.size, checked.pruned, checked.unsigned, checked.signer) == (result.size, 0, 0, key)
    assert check_export(lines).size == result.size, "also by its own word"
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    stranger = NoteKey.parse(await newest_key(await Lab().world()))
    with pytest.raises(Tampered):
        check_export(lines, keys=[stranger])


async def test_the_last_entry_of_an_export_is_the_export(world: World) -> None:
    await fill(world, 3)
    before = await checkpoint(world)
    lines, result = await export(world)
    entries = [record for record in map(json.loads, lines) if "index" in record]
    assert [entry["index"] for entry in entries] == list(range(result.size))
    last = entries[-1]["entry"]
    assert (last["action"], last["actor_id"], last["data"]) == ("log.exported", None, {"size": before.size})
    again, more = await export(world)
    assert more.size == result.size + 1
    assert again[1 : len(lines)] == lines[1:], "a later one begins as this one"


async def test_an_export_tells_how_far_it_is(world: World) -> None:
    told: list[tuple[int, int]] = []
    await fill(world, 3)
    done = await world.ubr.export_log(lambda line: None, actor=SYSTEM, progress=lambda *at: told.append(at))
    assert told == [(done.size, done.size)]


async def test_every_change_of_an_export_is_found(world: World) -> None:
    names = await fill(world, 12)
    await checkpoint(world)
    lines, _ = await export(world)
    key = NoteKey.parse(await newest_key(world))
    changed = [line.replace(f'"{names[7]}"', '"another"') for line in lines]
    at = next(number for number, line in enumerate(changed) if line != lines[number])
    index = json.loads(lines[at])["index"]
    with pytest.raises(Tampered) as failure:
        check_export(changed, keys=[key])
    assert failure.value.index == index
    before, after = lines[:at], lines[at + 1 :]
    for damaged in (before + after, lines[:-2], [*before, after[0], lines[at], *after[1:]]):
        with pytest.raises(Tampered):
            check_export(damaged, keys=[key])


async def test_a_failing_write_is_reported(world: World) -> None:
    def full(line: str) -> None:
        raise OSError("No space left")

    with pytest.raises(OSError, match="No space"):
        await world.ubr.export_log(full, actor=SYSTEM)


# --- what is old -----------------------------------------------------------------------------------------------------


async def test_only_what_has_passed_can_be_pruned(world: World) -> None:
    await checkpoint(world)
    await world.acts()
    for moment in (
        world.clock() + timedelta(microseconds=1),
        world.clock().replace(tzinfo=None) - timedelta(days=1),
        datetime.max.replace(tzinfo=world.clock().tzinfo),
    ):
        with pytest.raises(Invalid) as failure:
            await prune(world, moment)
        assert [flaw.pointer for flaw in failure.value.flaws] == ["/before"]
    assert await world.acts() == []


async def test_entries_of_the_last_thirty_days_stay_unless_forced(world: World) -> None:
    await fill(world, 3)
    size = (await checkpoint(world)).size
    world.clock.move(days=30)
    for early in (world.clock(), world.clock() - timedelta(days=30) + timedelta(microseconds=1)):
        with pytest.raises(Invalid) as failure:
            await world.ubr.prune_log(PruneLogCommand(before=early), actor=SYSTEM)
        assert [flaw.pointer for flaw in failure.value.flaws] == ["/before"]
    world.clock.move(microseconds=1)
    command = PruneLogCommand(before=world.clock() - timedelta(days=30))
    assert (await world.ubr.prune_log(command, actor=SYSTEM)).entries == size


async def test_what_is_old_goes_in_batches_that_say_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune_log, "BATCH", 7)
    await fill(world, 16)
    old = await found(world)
    size = (await checkpoint(world)).size
    world.clock.move(days=10)
    await fill(world, 4)
    young = [entry.id for entry in await found(world) if entry.timestamp == world.clock()]
    await checkpoint(world)
    before = world.clock() - timedelta(days=5)
    told: list[tuple[int, int]] = []
    result = await world.ubr.prune_log(
        PruneLogCommand(before=before, force=True), actor=SYSTEM, progress=lambda *at: told.append(at)
    )
    assert (result.entries, result.size) == (size, size)
    assert told == [(7, size), (14, size), (size, size)]
    said = await found(world, action="log.pruned")
    moment = before.isoformat()
    assert [(entry.data["before"], entry.data["size"], entry.data["entries"]) for entry in said] == [
        (moment, 7, 7),
        (moment, 14, 7),
        (moment, size, size - 14),
    ]
    left = [entry.id for entry in await found(world)]
    assert not {entry.id for entry in old} & set(left)
    assert set(young) <= set(left), "nothing younger goes"
    verified = await verify(world, await newest_key(world))
    assert (verified.finding, verified.pruned) == (None, size)


async def test_a_pruned_log_verifies_at_once_and_later_and_as_an_export(world: World) -> None:
    await fill(world, 5)
    kept, key = await checkpoint(world), await newest_key(world)
    world.clock.move(days=1)
    await prune(world, world.clock())
    for _ in range(2):
        verified = await verify(world, key, checkpoints=(kept.note,))
        assert (verified.finding, verified.pruned) == (None, kept.size)
        await checkpoint(world)
    lines, result = await export(world)
    checked = check_export(lines, keys=[NoteKey.parse(key)], against=[Note.parse(kept.note)])
    assert (checked.size, checked.pruned) == (result.size, kept.size)
    gone = [record for record in map(json.loads, lines) if record.get("entry", True) is None]
    assert [record["index"] for record in gone] == list(range(kept.size))


async def test_entries_without_a_checkpoint_stay(world: World) -> None:
    covered = await checkpoint(world)
    await fill(world, 5)
    entries = await found(world)
    world.clock.move(days=1)
    result = await prune(world, world.clock())
    assert (result.entries, result.size) == (covered.size, covered.size)
    left = {entry.id for entry in await found(world)}
    assert {entry.id for entry in entries[covered.size :]} <= left


async def test_nothing_behind_a_younger_entry_goes(world: World) -> None:
    """A clock can be set back: then what is old stands behind what is young."""
    start = world.clock()
    await fill(world, 2)
    old = await checkpoint(world)
    world.clock.move(days=10)
    await fill(world, 1)
    await checkpoint(world)
    world.clock.move(days=-9)
    await fill(world, 2)
    await checkpoint(world)
    world.clock.move(days=20)
    result = await prune(world, start + timedelta(days=5))
    assert (result.entries, result.size) == (old.size, old.size)
    assert len([entry for entry in await found(world) if entry.timestamp == start + timedelta(days=1)]) >= 2
    assert (await verify(world)).finding is None


async def test_the_moment_itself_is_not_before_it(world: World) -> None:
    await fill(world, 3)
    await checkpoint(world)
    assert (await prune(world, world.clock())).entries == 0
    world.clock.move(microseconds=1)
    assert (await prune(world, world.clock())).entries > 0


async def test_pruning_again_does_nothing(world: World) -> None:
    await fill(world, 3)
    await checkpoint(world)
    world.clock.move(days=1)
    moment = world.clock()
    first = await prune(world, moment)
    await checkpoint(world)
    await world.acts()
    again = await prune(world, moment)
    assert (again.entries, again.size) == (0, first.size)
    assert await world.acts() == []


async def test_an_entry_that_goes_without_being_pruned_is_found(lab: Lab) -> None:
    world = await lab.world()
    await fill(world, 5)
    ids = await ids_of(world)
    del lab.store.logs[LogEntryId(ids[3])]
    verified = await verify(world)
    assert (verified.finding, verified.first) == (f"Entry 3 ({ids[3]}) is missing", 3)


# --- the keys of the log ---------------------------------------------------------------------------------------------


def signed_by(note: str, key: str) -> bool:
    try:
        notes.opened(note, key)
    except notes.NotGenuine:
        return False
    return True


async def test_the_first_checkpoint_over_a_rotation_is_signed_by_both_keys(world: World) -> None:
    await world.acts()
    old, before = await newest_key(world), await checkpoint(world)
    rotated = await world.ubr.rotate_log_key(actor=SYSTEM)
    new = await newest_key(world)
    assert rotated.key == new != old
    first = await checkpoint(world)
    assert [signed_by(first.note, key) for key in (old, new)] == [True, True]
    assert (first.origin, first.size) == (before.origin, before.size + 1)
    await fill(world, 1)
    later = await checkpoint(world)
    assert [signed_by(later.note, key) for key in (old, new)] == [False, True]
    [entry] = [entry for entry in await world.acts() if entry.action != "role.created"]
    assert (entry.action, entry.actor_id, entry.data) == ("log_key.rotated", None, {"key": new, "before": old})
    assert entry.target is not None
    assert (entry.target.type, entry.target.id) == ("log_key", "+".join(new.split("+", 2)[:2]))


async def test_a_verifier_that_trusts_the_old_key_trusts_its_successors(world: World) -> None:
    keys = [await newest_key(world)]
    kept = [(await checkpoint(world)).note]
    for _ in range(3):
        await fill(world, 2)
        keys.append((await world.ubr.rotate_log_key(actor=SYSTEM)).key)
        await fill(world, 2)
        kept.append((await checkpoint(world)).note)
    lines, _ = await export(world)
    for key in keys:
        verified = await verify(world, key)
        assert (verified.finding, verified.signer) == (None, keys[-1])
        assert check_export(lines, keys=[NoteKey.parse(key)]).signer == NoteKey.parse(keys[-1])
    assert (await verify(world, keys[0], checkpoints=tuple(kept))).finding is None
    newest = await checkpoint(world)
    for note in kept:
        assert await compare(world, note) == newest
    stranger = await newest_key(await Lab().world())
    assert (await verify(world, stranger)).finding is not None


async def test_keys_are_listed_newest_first_and_without_anything_private(world: World) -> None:
    [first] = await world.ubr.list_log_keys(actor=SYSTEM)
    assert first.created_at == world.clock()
    world.clock.move(days=1)
    await world.ubr.rotate_log_key(actor=SYSTEM)
    newest, last = await world.ubr.list_log_keys(actor=SYSTEM)
    assert last == first
    assert newest.created_at == world.clock()
    assert newest.__struct_fields__ == ("key", "created_at")


async def test_a_rotation_before_the_first_checkpoint_is_signed_by_both_keys_too(world: World) -> None:
    old = await newest_key(world)
    new = (await world.ubr.rotate_log_key(actor=SYSTEM)).key
    assert [signed_by((await checkpoint(world)).note, key) for key in (old, new)] == [True, True]
    assert (await verify(world, old)).finding is None


async def test_two_rotations_at_once_are_two(world: World) -> None:
    await checkpoint(world)
    old = await newest_key(world)
    one, other = await asyncio.gather(*(world.ubr.rotate_log_key(actor=SYSTEM) for _ in range(2)))
    keys = [known.key for known in await world.ubr.list_log_keys(actor=SYSTEM)]
    assert len(keys) == 3
    assert set(keys) == {old, one.key, other.key}
    verified = await verify(world, old)
    assert (verified.finding, verified.signer) == (None, keys[0])


# --- after a restore -------------------------------------------------------------------------------------------------


async def test_after_a_restore_nothing_that_was_good_is_good(lab: Lab) -> None:
    world = await lab.world()
    members = [await world.user(), await world.admin()]
    signing = {key.kid for key in await world.ubr.list_signing_keys(actor=SYSTEM)}
    epoch = lab.store.epoch
    settled = await settle(world)
    assert settled.sessions == len(members)
    assert {session.ended_at for session in lab.store.sessions.values()} == {lab.clock()}
    assert lab.store.epoch != epoch
    states = {key.kid: key.state for key in await world.ubr.list_signing_keys(actor=SYSTEM)}
    assert {states.pop(kid) for kid in signing} == {"revoked"}
    assert list(states.values()) == ["signing"]
    later = await lab.world()
    for member in members:
        assert not await later.alive(member.tokens)
        with pytest.raises(InvalidToken):
            await later.refresh(member.tokens.refresh_token)
        with pytest.raises(InvalidToken):
            await later.ubr.get_checkpoint(actor=member.actor)
        assert await later.alive((await later.logged_in(member.email)).tokens)


async def test_also_not_for_whoever_settled_it(world: World) -> None:
    """A program that ubr is a part of goes on with the same objects."""
    member = await world.user()
    await settle(world)
    assert not await world.alive(member.tokens)
    with pytest.raises(InvalidToken):
        await world.refresh(member.tokens.refresh_token)
    assert await world.alive((await world.logged_in(member.email)).tokens)


async def put_back_world(lab: Lab) -> tuple[World, str, CheckpointResult, Member]:
    """A log of which the last entries are lost; its key, the checkpoint kept before, and who had logged in by then."""
    world = await lab.world()
    member = await world.user()
    await fill(world, 5)
    await checkpoint(world)
    rows = rows_of(lab.store)
    await fill(world, 7)
    kept = await checkpoint(world)
    put_back(lab.store, rows)
    again = await lab.world()
    return again, await newest_key(again), kept, member


async def test_after_a_restore_the_log_continues_under_another_name(lab: Lab) -> None:
    world, old, kept, _ = await put_back_world(lab)
    with pytest.raises(CheckpointMismatch):
        await compare(world, kept.note)
    settled = await settle(world, kept.note)
    new = await checkpoint(world)
    assert new.origin != kept.origin
    assert new.origin.rpartition("/")[0] == kept.origin.rpartition("/")[0], "but for random bits"
    assert await newest_key(world) == settled.key
    assert settled.key.startswith(f"{new.origin}+")
    assert [signed_by(new.note, key) for key in (old, settled.key)] == [True, True]
    verified = await verify(world, old)
    assert (verified.finding, verified.signer) == (None, settled.key)
    assert (await compare(world, kept.note)).origin == new.origin
    lines, _ = await export(world)
    assert check_export(lines, keys=[NoteKey.parse(old)]).signer == NoteKey.parse(settled.key)


async def test_the_entry_of_a_restore_names_the_checkpoint_that_was_kept(lab: Lab) -> None:
    world, old, kept, _ = await put_back_world(lab)
    settled = await settle(world, kept.note)
    [entry] = await found(world, action="service.restored")
    assert entry.data == {"key": settled.key, "before": old, "checkpoint": kept.note}
    assert (entry.level, entry.actor_id) == ("warning", None)


async def test_the_key_of_the_checkpoint_that_was_kept_may_be_lost_with_the_rest(lab: Lab) -> None:
    world = await lab.world()
    await fill(world, 3)
    await checkpoint(world)
    old, rows = await newest_key(world), rows_of(lab.store)
    lost = (await world.ubr.rotate_log_key(actor=SYSTEM)).key
    await fill(world, 3)
    kept = await checkpoint(world)
    put_back(lab.store, rows)
    again = await lab.world()
    assert lost not in [known.key for known in await again.ubr.list_log_keys(actor=SYSTEM)]
    with pytest.raises(CheckpointMismatch):
        await compare(again, kept.note)
    await settle(again, kept.note)
    assert (await compare(again, kept.note)).origin != kept.origin
    assert (await verify(again, old)).finding is None


async def test_without_one_it_names_that_of_the_database(lab: Lab) -> None:
    world, _, _, _ = await put_back_world(lab)
    newest = lab.signed()[-1][1]
    await settle(world)
    [entry] = await found(world, action="service.restored")
    assert entry.data["checkpoint"] == newest


@pytest.mark.parametrize("more", [0, 3, 30], ids=["shorter", "as long", "longer"])
@pytest.mark.parametrize("named", ["none", "an older one"])
async def test_a_restore_that_does_not_name_a_checkpoint_does_not_settle_what_it_shows(
    lab: Lab, named: str, more: int
) -> None:
    """However long the log has become since, and however often it was settled in this way."""
    world, old, kept, _ = await put_back_world(lab)
    older = lab.signed()[-1][1]
    for _ in range(2):
        await settle(world, older if named == "an older one" else None)
    await fill(world, more)
    newest = await checkpoint(world)
    with pytest.raises(CheckpointMismatch, match=r"No entry service\.restored names this checkpoint"):
        await compare(world, kept.note)
    assert await checkpoint(world) == newest
    assert (await verify(world, old, checkpoints=(kept.note,))).finding is not None
    assert (await compare(world, older)).origin == newest.origin, "all that this one covers is there"
    await settle(world, kept.note)
    assert (await compare(world, kept.note)).size > newest.size


async def test_who_signed_a_checkpoint_beside_the_log_makes_no_other_one_of_it(lab: Lab) -> None:
    world, _, kept, _ = await put_back_world(lab)
    witness = kept.note + f"\N{EM DASH} witness.example {b64encode(bytes(68)).decode()}\n"
    await settle(world, witness)
    assert (await compare(world, kept.note)).origin != kept.origin


async def test_an_entry_that_is_not_signed_settles_nothing(lab: Lab) -> None:
    """Whoever can write to the database could have put it there."""
    world, _, kept, _ = await put_back_world(lab)
    await settle(world)
    [restored] = [entry for entry in lab.store.logs.values() if entry.action == "service.restored"]
    facts = {**restored.facts, "checkpoint": kept.note}
    id = LogEntryId(UNKNOWN)
    lab.store.logs[id] = replace(restored, id=id, data=json.dumps(facts, sort_keys=True, separators=(",", ":")))
    lab.store.log_queue[id] = id
    with pytest.raises(CheckpointMismatch):
        await compare(world, kept.note)


async def test_all_restores_are_looked_at(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_checkpoint, "_PAGE", 1)
    world, _, kept, _ = await put_back_world(lab)
    await settle(world, kept.note)
    for _ in range(3):
        lab.clock.move(seconds=1)
        await settle(world)
    assert (await compare(world, kept.note)).origin != kept.origin


async def test_every_restore_is_reported(lab: Lab) -> None:
    world, old, kept, _ = await put_back_world(lab)
    assert (await verify(world)).restores == ()
    began, size = lab.clock(), (await checkpoint(world)).size
    await settle(world, kept.note)
    lab.clock.move(days=1)
    between = await checkpoint(world)
    await settle(world)
    first, second = (await verify(world, old)).restores
    assert (first.at, first.checkpoint) == (began, kept.note)
    assert size <= first.index < between.size <= second.index
    assert (second.at, second.checkpoint) == (lab.clock(), between.note)
    lines, _ = await export(world)
    assert check_export(lines, keys=[NoteKey.parse(old)]).restores == (first, second)
    said = "\n".join(
        report(9, pruned=0, checkpoints=1, unsigned=0, signer=None, trusted=True, restores=(first, second))
    )
    assert f"Entry {first.index}, {began:%Y-%m-%d %H:%M:%S}Z: the database was restored" in said
    assert f"covers {kept.size} entries: at least {kept.size - first.index} entries are lost." in said
    assert f"covers {between.size} entries." in said


async def test_a_restore_is_reported_even_if_its_entry_was_pruned(lab: Lab) -> None:
    world, _, _, _ = await put_back_world(lab)
    await settle(world)
    lab.clock.move(days=1)
    await checkpoint(world)
    await prune(world, lab.clock())
    [restore] = (await verify(world)).restores
    assert (restore.at, restore.checkpoint) == (None, None)
    said = report(9, pruned=9, checkpoints=1, unsigned=0, signer=None, trusted=True, restores=(restore,))
    assert any(line.startswith(f"The log has another origin from entry {restore.index} on") for line in said)


async def test_a_restore_can_be_settled_again(lab: Lab) -> None:
    world, old, kept, _ = await put_back_world(lab)
    first = await settle(world, kept.note)
    member = await world.user(email="later@example.org")
    second = await settle(world, kept.note)
    assert second.key != first.key
    assert second.sessions == 1
    assert not await (await lab.world()).alive(member.tokens)
    assert (await settle(world)).sessions == 0
    verified = await verify(world, old)
    assert (verified.finding, verified.signer) == (None, await newest_key(world))
    assert len(await found(world, action="service.restored")) == 3


@dataclass
class Interrupted:
    """Units of work of which the one with this number, from 1 on, is not begun."""

    inner: UnitOfWork
    last: int
    begun: int = 0

    def begin(self, actor: Actor | System | None) -> AbstractAsyncContextManager[Transaction]:
        self.begun += 1
        if self.begun == self.last:
            raise StoreUnavailable
        return self.inner.begin(actor)

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        return self.inner.read()

    def peek(self) -> AbstractAsyncContextManager[Repositories]:
        return self.inner.peek()

    def autocommit(self) -> AbstractAsyncContextManager[Repositories]:
        return self.inner.autocommit()


@pytest.mark.parametrize(("last", "later"), [(1, 1), (2, 1), (3, 1), (4, 1), (4, -1)])
async def test_a_restore_that_was_interrupted_can_be_settled(lab: Lab, last: int, later: int) -> None:
    """Also where the clock was set back meanwhile: then the entries of both stand in the other order."""
    _, old, kept, member = await put_back_world(lab)
    container = lab.container()
    whole: AcknowledgeRestore = container.application().acknowledge_restore
    units = Interrupted(container.unit_of_work(), last)
    interrupted = replace(whole, unit_of_work=units, sequencer=replace(whole.sequencer, unit_of_work=units))
    with pytest.raises(StoreUnavailable):
        await interrupted(AcknowledgeRestoreCommand(checkpoint=kept.note), actor=SYSTEM)
    lab.clock.move(seconds=later)
    again = await lab.world()
    settled = await settle(again, kept.note)
    assert not await again.alive(member.tokens)
    assert settled.key.startswith(f"{(await checkpoint(again)).origin}+")
    verified = await verify(again, old)
    assert (verified.finding, verified.signer) == (None, settled.key)
    assert (await compare(again, kept.note)).origin != kept.origin


async def test_a_text_that_is_not_a_checkpoint_acknowledges_nothing(world: World) -> None:
    member = await world.user()
    await world.acts()
    with pytest.raises(Invalid) as failure:
        await settle(world, "junk")
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/checkpoint"]
    assert await world.alive(member.tokens)
    assert await world.acts() == []


# --- the whole log in the database -----------------------------------------------------------------------------------


async def test_a_log_verifies_from_its_first_entry_on(world: World) -> None:
    size = (await checkpoint(world)).size
    for _ in range(3):
        verified = await verify(world, await newest_key(world))
        assert (verified.finding, verified.first, verified.last) == (None, None, None)
        assert (verified.size, verified.pruned, verified.unsigned) == (size, 0, 0)
        assert verified.signer == await newest_key(world)
        await fill(world, 5)
        assert (await verify(world)).size == size, "what waits is not in the tree yet"
        size = (await checkpoint(world)).size


async def test_verifying_leaves_no_trace(lab: Lab) -> None:
    world = await lab.world()
    await fill(world, 3)
    rows = rows_of(lab.store)
    assert (await verify(world)).finding is None
    assert rows_of(lab.store) == rows


async def test_verifying_tells_how_far_it_is(world: World) -> None:
    await fill(world, 520)
    size = (await checkpoint(world)).size
    told: list[tuple[int, int]] = []
    done = await world.ubr.verify_log(VerifyLogCommand(), actor=SYSTEM, progress=lambda *at: told.append(at))
    assert (done.finding, done.size) == (None, size)
    assert told == [(500, size), (size, size)]


async def test_verifying_an_export_tells_how_far_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubr.audit_verifier.export._TOLD", 5)
    await fill(world, 12)
    lines, result = await export(world)
    told: list[tuple[int, int]] = []
    check_export(lines, progress=lambda *at: told.append(at))
    assert len(told) == (len(lines) - 1) // 5
    assert [of for _, of in told] == [result.size] * len(told)
    assert told == sorted(told)


async def test_the_first_entry_that_does_not_fit_is_named(lab: Lab) -> None:
    world = await lab.world()
    await fill(world, 20)
    ids = await ids_of(world)
    for index in (15, 7):
        entry = lab.store.logs[LogEntryId(ids[index])]
        lab.store.logs[entry.id] = replace(entry, message="A role was crated")
        verified = await verify(world)
        assert (verified.first, verified.last, verified.size) == (index, index, index)
        assert verified.finding == f"Entry {index} ({ids[index]}) was changed"


async def test_invalid_keys_and_checkpoints_are_rejected(world: World) -> None:
    await checkpoint(world)
    for command, pointer in (
        (VerifyLogCommand(keys=("junk",)), "/keys"),
        (VerifyLogCommand(checkpoints=("junk",)), "/checkpoints"),
    ):
        with pytest.raises(Invalid) as failure:
            await world.ubr.verify_log(command, actor=SYSTEM)
        assert [flaw.pointer for flaw in failure.value.flaws] == [pointer]


@pytest.mark.parametrize("more", [0, 20], ids=["shorter", "longer"])
async def test_the_checkpoint_of_another_log_says_nothing_of_this_one(world: World, more: int) -> None:
    """It is not tampering that was found, but a mistake in what was asked."""
    await fill(world, 10)
    own, other = await checkpoint(world), await Lab().world()
    await fill(other, more)
    foreign = await checkpoint(other)
    assert (foreign.size > own.size) == (more > 0)
    with pytest.raises(Invalid) as failure:
        await verify(world, checkpoints=(own.note, foreign.note))
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/checkpoints"]


async def test_a_checkpoint_that_was_kept_is_found_ahead_of_the_log(lab: Lab) -> None:
    world, key, kept, _ = await put_back_world(lab)
    size = lab.signed()[-1][0]
    verified = await verify(world, key, checkpoints=(kept.note,))
    assert (verified.first, verified.last) == (size, kept.size - 1)
    assert verified.finding is not None


# --- only the service itself -----------------------------------------------------------------------------------------

OWN: dict[str, Callable[[World, Any], Awaitable[object]]] = {
    "compare_checkpoint": lambda w, actor: w.ubr.compare_checkpoint(
        CompareCheckpointCommand(checkpoint="junk"), actor=actor
    ),
    "verify_log": lambda w, actor: w.ubr.verify_log(VerifyLogCommand(keys=("junk",)), actor=actor),
    "export_log": lambda w, actor: w.ubr.export_log(lambda line: pytest.fail("It wrote"), actor=actor),
    "prune_log": lambda w, actor: w.ubr.prune_log(PruneLogCommand(before=w.clock()), actor=actor),
    "rotate_log_key": lambda w, actor: w.ubr.rotate_log_key(actor=actor),
    "acknowledge_restore": lambda w, actor: w.ubr.acknowledge_restore(
        AcknowledgeRestoreCommand(checkpoint="junk"), actor=actor
    ),
}


@pytest.mark.parametrize("name", OWN)
async def test_only_the_service_itself_may(world: World, name: str) -> None:
    """Before anything that was sent is looked at. An administrator may not, nor may nobody."""
    admin = await world.admin()
    world.clock.move(days=1)
    key = await newest_key(world)
    await world.acts()
    for actor in (admin.actor, None):
        with pytest.raises(Forbidden):
            await OWN[name](world, actor)
    assert await world.acts() == []
    [entry] = await found(world, action="act.refused")
    assert (entry.actor_id, entry.data) == (admin.id, {"act": name, "problem": "forbidden", "count": 1})
    assert await newest_key(world) == key
