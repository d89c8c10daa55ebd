"""The tables, and disposable drafts of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import msgspec

from ubr.application.kernel.home_loop import HomeLoop
from ubr.application.ports.idempotency import IdempotencyRecord
from ubr.application.ports.metrics import Load
from ubr.application.ports.revocation import WorkerId
from ubr.domain.accounts.one_time_link import OneTimeLink
from ubr.domain.accounts.user import User
from ubr.domain.accounts.user_fields import FieldIndex
from ubr.domain.audit.checkpoint import LogKey
from ubr.domain.audit.entry import LogEntry
from ubr.domain.audit.merkle import Frontier, Node
from ubr.domain.ids import LogEntryId, MachineKeyId, RoleId, SessionId, TokenDigest, UserId
from ubr.domain.keys.signing_key import SigningKey
from ubr.domain.machines.key import MachineKey
from ubr.domain.machines.machine import MachineName
from ubr.domain.mail.queued_mail import QueuedMail
from ubr.domain.revocation.changes import Change, ChangeRecord
from ubr.domain.roles.role import Role, RoleName
from ubr.domain.sessions.session import RefreshToken, Session

K = TypeVar("K")
V = TypeVar("V")


class _Gone:
    """Marks a deleted row in a draft."""


_GONE: Final = _Gone()


class Draft(Generic[K, V]):
    """A table as seen by one unit of work: the stored rows, overlaid with its own changes."""

    def __init__(self, below: dict[K, V]) -> None:
        self._below = below
        self._changes: dict[K, V | _Gone] = {}

    def get(self, key: K) -> V | None:
        """The row; None if missing."""
        if key in self._changes:
            found = self._changes[key]
            return None if isinstance(found, _Gone) else found
        return self._below.get(key)

    def put(self, key: K, value: V) -> None:
        self._changes[key] = value

    def drop(self, key: K) -> None:
        self._changes[key] = _GONE

    def items(self) -> Iterator[tuple[K, V]]:
        for key in dict.fromkeys([*self._below, *self._changes]):
            if (value := self.get(key)) is not None:
                yield key, value

    def __iter__(self) -> Iterator[V]:
        for key, value in self._below.items():
            if key not in self._changes:
                yield value
        for change in self._changes.values():
            if not isinstance(change, _Gone):
                yield change

    def apply(self) -> None:
        """Write the changes to the table."""
        for key, change in self._changes.items():
            if isinstance(change, _Gone):
                self._below.pop(key, None)
            else:
                self._below[key] = change


class Reservation(msgspec.Struct, frozen=True):
    """An e-mail that a user has given up and can still restore."""

    email_key: str
    user_id: UserId
    until: datetime


class FormerName(msgspec.Struct, frozen=True):
    """The name of a role before it was renamed or deleted."""

    name: RoleName
    role_id: RoleId
    until: datetime


class Window(msgspec.Struct, frozen=True):
    """The attempts on one bucket since the window began: reserved, failed, and passed ones."""

    began_at: datetime
    taken: int = 1
    failed: int = 0
    passed: int = 0


class MachineRow(msgspec.Struct, frozen=True):
    """The row of a machine beside that of its user."""

    user_id: UserId
    name: MachineName
    description: str | None


class MemoryStore(msgspec.Struct):
    """The rows themselves. Only whole units of work change them, one after the other."""

    users: dict[UserId, User] = msgspec.field(default_factory=dict)
    field_indexes: dict[str, FieldIndex] = msgspec.field(default_factory=dict)
    user_by_email: dict[str, UserId] = msgspec.field(default_factory=dict)
    roles: dict[RoleId, Role] = msgspec.field(default_factory=dict)
    role_by_name: dict[RoleName, RoleId] = msgspec.field(default_factory=dict)
    former_role_names: dict[RoleName, FormerName] = msgspec.field(default_factory=dict)
    sessions: dict[SessionId, Session] = msgspec.field(default_factory=dict)
    refresh_tokens: dict[TokenDigest, RefreshToken] = msgspec.field(default_factory=dict)
    links: dict[TokenDigest, OneTimeLink] = msgspec.field(default_factory=dict)
    outbox: dict[UUID, QueuedMail] = msgspec.field(default_factory=dict)
    reserved_emails: dict[str, Reservation] = msgspec.field(default_factory=dict)
    logs: dict[LogEntryId, LogEntry] = msgspec.field(default_factory=dict)
    log_queue: dict[LogEntryId, LogEntryId] = msgspec.field(default_factory=dict)
    log_leaves: dict[int, tuple[LogEntryId, bytes]] = msgspec.field(default_factory=dict)
    log_nodes: dict[Node, bytes] = msgspec.field(default_factory=dict)
    log_checkpoints: dict[int, tuple[int, str]] = msgspec.field(default_factory=dict)
    log_head: dict[str, Frontier] = msgspec.field(default_factory=dict)
    log_pruned: dict[str, int] = msgspec.field(default_factory=dict)
    log_keys: dict[int, LogKey] = msgspec.field(default_factory=dict)
    signing_keys: dict[str, SigningKey] = msgspec.field(default_factory=dict)
    replays: dict[bytes, IdempotencyRecord] = msgspec.field(default_factory=dict)
    password_attempts: dict[bytes, Window] = msgspec.field(default_factory=dict)
    known_clients: dict[tuple[UserId, bytes], datetime] = msgspec.field(default_factory=dict)
    leases: dict[str, tuple[WorkerId, datetime]] = msgspec.field(default_factory=dict)
    """Each lease with its holder and its end."""
    machines: dict[UserId, MachineRow] = msgspec.field(default_factory=dict)
    machine_by_name: dict[MachineName, UserId] = msgspec.field(default_factory=dict)
    machine_keys: dict[MachineKeyId, MachineKey] = msgspec.field(default_factory=dict)
    feed: list[ChangeRecord] = msgspec.field(default_factory=list)
    """The change record with number n is at index n - 1."""
    commits: dict[UUID, tuple[ChangeRecord, ...]] = msgspec.field(default_factory=dict)
    workers: dict[WorkerId, int] = msgspec.field(default_factory=dict)
    """Each worker with the number of its last renewal."""
    renewals: int = 0
    epoch: str = "0"
    steady: bool = True
    """True if the epoch is permanent. A simulation changes it, as a restore would."""
    writing: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    home: HomeLoop = msgspec.field(default_factory=HomeLoop)

    def append(self, commit_id: UUID, changes: Sequence[Change]) -> None:
        """Number changes in commit order."""
        first = len(self.feed) + 1
        rows = tuple(ChangeRecord(number, change) for number, change in enumerate(changes, first))
        self.feed += rows
        self.commits[commit_id] = rows

    @property
    def connections(self) -> Mapping[str, Load]:
        return {}

    async def ping(self) -> None:
        """Does nothing, because memory is always available."""

    async def close(self) -> None:
        """Does nothing, because there are no connections."""


class Drafts:
    """All tables as seen by one unit of work."""

    def __init__(self, store: MemoryStore) -> None:
        self.users = Draft(store.users)
        self.field_indexes = Draft(store.field_indexes)
        self.user_by_email = Draft(store.user_by_email)
        self.roles = Draft(store.roles)
        self.role_by_name = Draft(store.role_by_name)
        self.former_role_names = Draft(store.former_role_names)
        self.sessions = Draft(store.sessions)
        self.refresh_tokens = Draft(store.refresh_tokens)
        self.links = Draft(store.links)
        self.outbox = Draft(store.outbox)
        self.reserved_emails = Draft(store.reserved_emails)
        self.logs = Draft(store.logs)
        self.log_queue = Draft(store.log_queue)
        self.log_leaves = Draft(store.log_leaves)
        self.log_nodes = Draft(store.log_nodes)
        self.log_checkpoints = Draft(store.log_checkpoints)
        self.log_head = Draft(store.log_head)
        self.log_pruned = Draft(store.log_pruned)
        self.log_keys = Draft(store.log_keys)
        self.signing_keys = Draft(store.signing_keys)
        self.replays = Draft(store.replays)
        self.password_attempts = Draft(store.password_attempts)
        self.known_clients = Draft(store.known_clients)
        self.leases = Draft(store.leases)
        self.machines = Draft(store.machines)
        self.machine_by_name = Draft(store.machine_by_name)
        self.machine_keys = Draft(store.machine_keys)

    def apply(self) -> None:
        """Write all changes. No other task runs in between."""
        draft: Draft[Any, Any]
        for draft in vars(self).values():
            draft.apply()


def copy_user(user: User) -> User:
    return replace(user, grants=dict(user.grants), events=[])
