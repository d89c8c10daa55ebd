from __future__ import annotations

import re
from typing import Final

import msgspec

from ubr.application.audit.sequencer import Sequencer
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.paging import DEFAULT_LIMIT, check_limit
from ubr.application.kernel.representations import LogEntryResult, log_entry_result
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import System
from ubr.domain.audit.log_check import Leaf
from ubr.domain.errors import EventsMissing, Forbidden, Invalid, LogDamaged
from ubr.domain.events import actions

_POSITION: Final = re.compile(r"(0|[1-9][0-9]{0,17})\.[0-9a-f]{32}", re.ASCII)
_HASH_BYTES: Final = 16


class ReadEventsCommand(Command, frozen=True, kw_only=True):
    """`after` is the position of an earlier answer; None starts at the oldest event that is kept.

    `actions` selects events by their names; none selects all. `limit` is the number of events that are looked at.
    """

    after: str | None = None
    actions: list[str] = msgspec.field(default_factory=list)
    limit: int = DEFAULT_LIMIT


class EventResult(Result, frozen=True, kw_only=True):
    """`position` is where reading goes on after this event. `entry` is its audit log entry."""

    position: str
    entry: LogEntryResult


class EventsResult(Result, frozen=True, kw_only=True):
    """`position` is where to go on, also without items; None if the log is empty.

    `more` is True if there may be later events already.
    """

    items: list[EventResult]
    position: str | None
    more: bool


class ReadEvents(msgspec.Struct, frozen=True):
    """Read events in order: the entries of the audit log, in the order of its tree.

    - Only the service itself may.
    - None is skipped, also if it was committed later than events with a later time.
    - A position names its event: one of another log is refused, also after a restore.
    - Adds waiting entries to the tree, if no other process is doing it.
    """

    unit_of_work: UnitOfWork
    sequencer: Sequencer
    denials: DenialLog

    @denials_recorded
    async def __call__(self, command: ReadEventsCommand, /, *, actor: System) -> EventsResult:
        """Errors: `EventsMissing`; `LogDamaged`."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may read events")
        limit = check_limit(command.limit)
        wanted = _wanted(command.actions)
        after = None if command.after is None else _parsed(command.after)
        await self.sequencer()
        async with self.unit_of_work.read() as tx:
            leaves = await self._leaves(tx, after, limit)
        items = [
            EventResult(position=_position(leaf), entry=log_entry_result(leaf.entry))
            for leaf in leaves
            if leaf.entry is not None and (not wanted or leaf.entry.action in wanted)
        ]
        position = _position(leaves[-1]) if leaves else command.after
        return EventsResult(items=items, position=position, more=len(leaves) == limit)

    async def _leaves(self, tx: Transaction, after: tuple[int, str] | None, limit: int) -> list[Leaf]:
        """The leaves after a position, with their entries."""
        pruned = await tx.log_records.pruned()
        if after is None:
            leaves = await tx.log_records.leaves(pruned, limit)
        else:
            index, position = after
            leaves = await tx.log_records.leaves(index, limit + 1)
            if not leaves or _position(leaves[0]) != position:
                raise EventsMissing("The position is not one of this log, which may have been restored to earlier")
            if index + 1 < pruned:
                raise EventsMissing("The log was pruned after the position: events after it are deleted")
            leaves = leaves[1:]
        if not all(leaf.readable and leaf.entry is not None for leaf in leaves):
            raise LogDamaged("An entry of the log is missing or cannot be read")
        return leaves


def _wanted(names: list[str]) -> frozenset[str]:
    """Errors: `Invalid` for a name that no event has."""
    for index, name in enumerate(names):
        if name not in actions():
            raise Invalid.at(f"/actions/{index}", "names an unknown action")
    return frozenset(names)


def _parsed(position: str) -> tuple[int, str]:
    """The index in a position, and the position. Errors: `Invalid`."""
    found = _POSITION.fullmatch(position)
    if found is None:
        raise Invalid.at("/after", "is not a position")
    return int(found[1]), position


def _position(leaf: Leaf) -> str:
    return f"{leaf.index}.{leaf.hash[:_HASH_BYTES].hex()}"
