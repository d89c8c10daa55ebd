"""The sessions that a worker keeps, found by session and by user."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from ubr.application.ports.sessions import Principal
from ubr.domain.ids import SessionId
from ubr.domain.revocation.changes import Change


@dataclass(frozen=True, slots=True)
class CachedSession:
    principal: Principal
    number: int
    read_at: float


class CachedSessions(MutableMapping[SessionId, CachedSession]):
    """The cached entries, least recently used first.

    Every change record is looked up here while no other task runs, so the affected entries are found without a search.
    """

    def __init__(self) -> None:
        self._all: OrderedDict[SessionId, CachedSession] = OrderedDict()
        self._of_user: dict[str, tuple[SessionId, ...]] = {}
        self._of_role: dict[str, dict[SessionId, None]] = {}

    def __getitem__(self, session_id: SessionId) -> CachedSession:
        return self._all[session_id]

    def __setitem__(self, session_id: SessionId, entry: CachedSession) -> None:
        self.pop(session_id, None)
        self._all[session_id] = entry
        user = str(entry.principal.user.id)
        self._of_user[user] = (*self._of_user.get(user, ()), session_id)
        for role in entry.principal.roles:
            self._of_role.setdefault(str(role.id), {})[session_id] = None

    def __delitem__(self, session_id: SessionId) -> None:
        principal = self._all.pop(session_id).principal
        for role in principal.roles:
            holders = self._of_role.get(str(role.id), {})
            holders.pop(session_id, None)
            if not holders:
                self._of_role.pop(str(role.id), None)
        user = str(principal.user.id)
        if others := tuple(other for other in self._of_user[user] if other != session_id):
            self._of_user[user] = others
        else:
            del self._of_user[user]

    def __iter__(self) -> Iterator[SessionId]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def clear(self) -> None:
        self._all.clear()
        self._of_user.clear()
        self._of_role.clear()

    def use(self, session_id: SessionId) -> None:
        self._all.move_to_end(session_id)

    def about(self, change: Change) -> Sequence[SessionId]:
        """The sessions whose entries depend on the changed record."""
        if change.kind == "user":
            return self._of_user.get(change.id, ())
        with suppress(ValueError):
            id = UUID(change.id)
            if change.kind == "session":
                return [session_id for session_id in (SessionId(id),) if session_id in self._all]
            return list(self._of_role.get(str(id), ()))
        return ()
