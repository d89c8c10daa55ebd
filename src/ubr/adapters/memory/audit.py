"""The audit log and its tree, on drafts of their tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Final

from ubr.adapters.memory.paging import cut
from ubr.adapters.memory.store import Drafts
from ubr.application.ports.audit import Backlog, ComparedEntries, LogFilter
from ubr.application.ports.paging import After, Found
from ubr.domain.audit.checkpoint import LogKey, NoteKey
from ubr.domain.audit.entry import LogEntry
from ubr.domain.audit.log_check import Leaf
from ubr.domain.audit.merkle import Frontier, Node
from ubr.domain.errors import LogDamaged
from ubr.domain.event_kinds import Target
from ubr.domain.ids import LogEntryId, SessionId, UserId


class MemoryLogs:
    def __init__(self, drafts: Drafts) -> None:
        self._logs = drafts.logs

    async def page(self, which: LogFilter, after: After[datetime] | None, limit: int) -> list[LogEntry]:
        rows = ((entry.timestamp, entry.id, entry) for entry in self._logs if _fits(entry, which))
        return cut(rows, after, limit, newest=True)

    async def search(self, which: LogFilter, after: After[datetime] | None, limit: int) -> Found[LogEntry, datetime]:
        return Found(await self.page(which, after, limit))

    async def counts(self, action: str, moments: Sequence[datetime], most: int) -> list[int]:
        times = [entry.timestamp for entry in self._logs if entry.action == action]
        return [min(most, sum(since <= time < until for time in times)) for since, until in pairwise(moments)]

    async def get(self, entry_id: LogEntryId) -> LogEntry | None:
        return self._logs.get(entry_id)


def _fits(entry: LogEntry, which: LogFilter) -> bool:
    target_id = None if entry.target is None else entry.target.id
    return (
        which.level in {None, entry.level}
        and which.action in {None, entry.action}
        and which.actor_id in {None, entry.actor_id}
        and which.target_id in {None, target_id}
        and which.request_id in {None, entry.request_id}
        and (which.session_id is None or which.session_id == entry.session_id or _is_session(entry, which.session_id))
        and (which.since is None or entry.timestamp >= which.since)
        and (which.until is None or entry.timestamp < which.until)
    )


def _is_session(entry: LogEntry, session_id: SessionId) -> bool:
    return entry.target == Target("session", str(session_id))


_ONLY: Final = "only"
"""The key of the only row of a table."""


class MemoryLogTree:
    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts

    async def anything_waiting(self) -> bool:
        return next(iter(self._drafts.log_queue), None) is not None

    async def lead(self, *, wait: bool) -> bool:  # noqa: ARG002 - there is only one writer
        return True

    async def backlog(self) -> Backlog:
        waiting = list(self._drafts.log_queue)
        entries = (self._drafts.logs.get(entry_id) for entry_id in waiting)
        return Backlog(len(waiting), min((entry.timestamp for entry in entries if entry is not None), default=None))

    async def state(self) -> Frontier:
        return (self._drafts.log_head.get(_ONLY) or Frontier()).copy()

    async def waiting(self, limit: int) -> list[LogEntry]:
        entries = (self._drafts.logs.get(entry_id) for entry_id in sorted(self._drafts.log_queue))
        return [entry for entry in entries if entry is not None][:limit]

    async def extend(
        self,
        first: int,
        leaves: Sequence[tuple[LogEntryId, bytes]],
        nodes: Sequence[tuple[Node, bytes]],
        grown: Frontier,
        note: str,
    ) -> None:
        placed = {entry_id for entry_id, _ in self._drafts.log_leaves}
        for index, (entry_id, leaf) in enumerate(leaves, first):
            if entry_id in placed:
                raise LogDamaged
            placed.add(entry_id)
            self._drafts.log_leaves.put(index, (entry_id, leaf))
            self._drafts.log_queue.drop(entry_id)
        for node, hashed in nodes:
            self._drafts.log_nodes.put(node, hashed)
        self._drafts.log_checkpoints.put(grown.size, (grown.size, note))
        self._drafts.log_head.put(_ONLY, grown.copy())

    async def index_of(self, entry_id: LogEntryId) -> int | None:
        size = (await self.state()).size
        found = ((index, self._drafts.log_leaves.get(index)) for index in range(size))
        return next((index for index, leaf in found if leaf is not None and leaf[0] == entry_id), None)

    async def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        at = range(first, first + count)
        if level == 0:
            return [leaf[1] for index in at if (leaf := self._drafts.log_leaves.get(index)) is not None]
        nodes = (self._drafts.log_nodes.get(Node(level, position)) for position in at)
        return [node for node in nodes if node is not None]

    async def newest_checkpoint(self) -> str | None:
        found = self._drafts.log_checkpoints.get((await self.state()).size)
        return None if found is None else found[1]


class MemoryLogRecords:
    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts

    async def leaves(self, first: int, limit: int) -> list[Leaf]:
        start = max(first, 0)
        leaves = ((index, self._drafts.log_leaves.get(index)) for index in range(start, start + limit))
        return [
            Leaf(index=index, entry_id=leaf[0], hash=leaf[1], entry=self._drafts.logs.get(leaf[0]))
            for index, leaf in leaves
            if leaf is not None
        ]

    async def checkpoints(self, above: int | None, limit: int) -> list[tuple[int, str]]:
        found = (one for one in self._drafts.log_checkpoints if above is None or one[0] > above)
        return sorted(found)[:limit]

    async def strays(self, after: LogEntryId | None, limit: int) -> ComparedEntries:
        placed = {entry_id for entry_id, _ in self._drafts.log_leaves} | set(self._drafts.log_queue)
        page = sorted(entry.id for entry in self._drafts.logs if after is None or entry.id > after)[:limit]
        strays = [entry_id for entry_id in page if entry_id not in placed]
        return ComparedEntries(strays, page[-1] if len(page) == limit else None)

    async def lost(self, limit: int) -> list[LogEntryId]:
        placed = {entry_id for entry_id, _ in self._drafts.log_leaves}
        waiting = self._drafts.log_queue
        return [id for id in waiting if id in placed or self._drafts.logs.get(id) is None][:limit]

    async def older(self, than: datetime, first: int, limit: int) -> int:
        leaves = await self.leaves(first, limit)
        young = (leaf.index for leaf in leaves if leaf.entry is not None and leaf.entry.timestamp >= than)
        return next(young, first + len(leaves)) - first

    async def pruned(self) -> int:
        return self._drafts.log_pruned.get(_ONLY) or 0

    async def prune(self, until: int) -> int:
        gone = await self.leaves(0, until)
        for leaf in gone:
            if leaf.entry is not None:
                self._drafts.logs.drop(leaf.entry.id)
        self._drafts.log_pruned.put(_ONLY, max(until, await self.pruned()))
        return sum(leaf.entry is not None for leaf in gone)

    async def mentions(self, user_id: UserId) -> bool:
        about = Target("user", str(user_id))
        return any(entry.actor_id == user_id or entry.target == about for entry in self._drafts.logs)

    async def forget_client_ips(self, user_id: UserId, limit: int) -> int:
        known = [entry for entry in self._of(user_id) if entry.client_ip is not None][:limit]
        for entry in known:
            self._drafts.logs.put(entry.id, replace(entry, client_ip=None))
        return len(known)

    def _of(self, user_id: UserId) -> Iterator[LogEntry]:
        own = {
            entry.target
            for entry in self._drafts.logs
            if entry.actor_id == user_id and entry.target is not None and entry.target.type == "session"
        }
        for entry in self._drafts.logs:
            about = entry.target in own or entry.target == Target("user", str(user_id))
            if entry.person == str(user_id) and (entry.actor_id == user_id or about):
                yield entry


class MemoryLogKeys:
    def __init__(self, drafts: Drafts) -> None:
        self._keys = drafts.log_keys

    async def all(self) -> Sequence[LogKey]:
        return sorted(self._keys, key=lambda key: key.number)

    async def note_keys(self) -> Sequence[NoteKey]:
        return [key.note_key for key in await self.all()]

    async def all_to_change(self) -> Sequence[LogKey]:
        """There is only one writer, so no lock is needed."""
        return await self.all()

    async def add(self, key: LogKey) -> None:
        self._keys.put(key.number, key)

    async def save(self, key: LogKey) -> None:
        if self._keys.get(key.number) is not None:
            self._keys.put(key.number, key)
