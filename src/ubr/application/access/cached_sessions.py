"""The sessions that a worker keeps, found by session and by user, and their roles.

The most recently used sessions are kept as objects. The others are packed: packed sessions take a quarter of the memory
and are nothing that the garbage collector looks at, so its pauses do not grow with them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

import msgspec

from ubr.application.ports.sessions import Principal
from ubr.domain.accounts.user import User
from ubr.domain.ids import RoleId, SessionId
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.role import Role
from ubr.domain.sessions.session import Session

UNPACKED: Final = 2_000
"""Maximum number of sessions that are kept as objects."""

_ADMITTED: Final = 16
"""A full cache keeps one of so many new sessions, in the place of the session that was not used for the longest."""


class CachedRoles:
    """The latest known version of each role, which all sessions share."""

    def __init__(self) -> None:
        self.edition = 0
        """Changes whenever a role is replaced or dropped."""
        self._all: dict[RoleId, _CachedRole] = {}

    def add(self, roles: Sequence[Role], number: int, until: int, read_at: float) -> tuple[Role, ...] | None:
        """Keep roles that were read when the feed was at a number from `number` to `until`.

        Equal roles become one object.

        None if a different version that was read later is known: then nothing that was read with them is kept.
        """
        for role in roles:
            known = self._all.get(role.id)
            if known is not None and known.number > number and known.role != role:
                return None
        return tuple(self._add(role, number, until, read_at) for role in roles)

    def _add(self, role: Role, number: int, until: int, read_at: float) -> Role:
        known = self._all.get(role.id)
        if known is not None and known.role == role:
            known.read_at = max(known.read_at, read_at)
            return known.role
        self._all[role.id] = _CachedRole(role, number, until, read_at)
        self.edition += 1
        return role

    def drop(self, change: Change, number: int) -> None:
        """Drop a role that was read before a change of it."""
        with suppress(ValueError):
            role_id = RoleId(UUID(change.id))
            known = self._all.get(role_id)
            if known is not None and known.number < number:
                del self._all[role_id]
                self.edition += 1

    def clear(self) -> None:
        self._all.clear()
        self.edition += 1

    def renewed(self, entry: CachedSession, cursor: int, *, read_after: float) -> Principal | None:
        """The principal of an entry with the roles as they are now; None if they are not all known.

        An entry or a role that was certainly read by the cursor is valid at the cursor, because every record up to it
        is applied. One that may have been read beyond it is combined with nothing that was read apart from it: a change
        of the user in between could be unknown, and no user may get a permission that came into the role after they
        lost it.
        """
        if entry.principal is not None and entry.edition == self.edition:
            return entry.principal
        before = () if entry.principal is None else entry.principal.roles
        roles = []
        for role_id in entry.roles:
            known = self._all.get(role_id)
            if known is None or known.read_at < read_after:
                return None
            if max(known.until, entry.until) > cursor and not any(known.role is role for role in before):
                return None
            roles.append(known.role)
        entry.principal = Principal(user=entry.user, session=entry.session, roles=tuple(roles))
        entry.edition = self.edition
        return entry.principal


class _CachedRole(msgspec.Struct):
    role: Role
    number: int
    until: int
    read_at: float


class CachedSession(msgspec.Struct):
    """A session and its user, with the ids of the user's roles, read when the feed was at a number up to `until`.

    It was at `number` or later. `principal` has the roles themselves, as of an edition of `CachedRoles`.
    """

    user: User
    session: Session
    roles: tuple[RoleId, ...]
    number: int
    until: int
    read_at: float
    principal: Principal | None = None
    edition: int = -1


_encoder: Final = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder: Final = msgspec.msgpack.Decoder(tuple[User, Session, tuple[RoleId, ...], int, int, float])


def _pack(entry: CachedSession) -> bytes:
    return _encoder.encode((entry.user, entry.session, entry.roles, entry.number, entry.until, entry.read_at))


def _unpack(packed: bytes) -> CachedSession:
    return CachedSession(*_decoder.decode(packed))


class CachedSessions:
    """The cached entries, at most `capacity`.

    Every change record is looked up here while no other task runs, so the affected entries are found without a search.

    If more sessions are in use than there is room for, most of the new ones are not kept: otherwise each would replace
    one that is about to be used again, and no session would be found. An entry that is older than `horizon` seconds is
    of no use, and gives way to any new one.
    """

    def __init__(self, capacity: int, horizon: float, *, unpacked: int = UNPACKED) -> None:
        self._capacity = capacity
        self._horizon = horizon
        self._unpacked = min(unpacked, capacity)
        self._used: OrderedDict[bytes, CachedSession] = OrderedDict()
        self._packed: OrderedDict[bytes, bytes] = OrderedDict()
        self._of_user: dict[bytes, bytes] = {}
        """The ids of the sessions of a user, one after the other."""
        self._latest = 0.0
        self._refused = 0

    def find(self, session_id: SessionId) -> CachedSession | None:
        """The entry of a session, which is in use."""
        name = session_id.bytes
        entry = self._used.get(name)
        if entry is not None:
            self._used.move_to_end(name)
            return entry
        packed = self._packed.pop(name, None)
        if packed is None:
            return None
        entry = self._used[name] = _unpack(packed)
        self._settle()
        return entry

    def put(self, entry: CachedSession) -> None:
        """Keep an entry, in the place of an earlier one of its session."""
        self.remove(entry.session.id)
        self._latest = max(self._latest, entry.read_at)
        name, user = entry.session.id.bytes, entry.user.id.bytes
        self._used[name] = entry
        self._of_user[user] = self._of_user.get(user, b"") + name
        self._settle()

    def remove(self, session_id: SessionId) -> None:
        name = session_id.bytes
        entry = self._used.pop(name, None)
        if entry is None:
            packed = self._packed.pop(name, None)
            if packed is None:
                return
            entry = _unpack(packed)
        self._forget([entry])

    def drop(self, change: Change, number: int) -> None:
        """Drop the entries that were read before a change of their session or user."""
        entries = [self._used.get(each) or _unpack(self._packed[each]) for each in self._about(change)]
        dropped = [entry for entry in entries if entry.number < number]
        for entry in dropped:
            self._used.pop(entry.session.id.bytes, None)
            self._packed.pop(entry.session.id.bytes, None)
        self._forget(dropped)

    def __len__(self) -> int:
        return len(self._used) + len(self._packed)

    def clear(self) -> None:
        self._used.clear()
        self._packed.clear()
        self._of_user.clear()

    def _about(self, change: Change) -> Sequence[bytes]:
        """The ids of the sessions whose entries depend on the changed record."""
        try:
            name = UUID(change.id).bytes
        except ValueError:
            return ()
        if change.kind == "user":
            return _names(self._of_user.get(name, b""))
        return (name,) if name in self._used or name in self._packed else ()

    def _settle(self) -> None:
        """Pack the entries beyond those that are kept as objects."""
        while len(self._used) > self._unpacked:
            name, entry = self._used.popitem(last=False)
            if self._has_room():
                self._packed[name] = _pack(entry)
            else:
                self._forget([entry])

    def _has_room(self) -> bool:
        """True if another entry can be packed, perhaps in the place of the oldest."""
        if len(self) < self._capacity:
            return True
        if not self._packed:
            return False
        oldest = _unpack(next(iter(self._packed.values())))
        if self._latest - oldest.read_at <= self._horizon:
            self._refused += 1
            if self._refused % _ADMITTED:
                return False
        self.remove(oldest.session.id)
        return True

    def _forget(self, entries: Sequence[CachedSession]) -> None:
        """Entries of one user are no longer kept."""
        if not entries:
            return
        user, gone = entries[0].user.id.bytes, {entry.session.id.bytes for entry in entries}
        if others := b"".join(each for each in _names(self._of_user[user]) if each not in gone):
            self._of_user[user] = others
        else:
            del self._of_user[user]


def _names(ids: bytes) -> Sequence[bytes]:
    return [ids[at : at + 16] for at in range(0, len(ids), 16)]
