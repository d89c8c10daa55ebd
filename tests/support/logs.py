"""Logs made in memory: all entries in order, the checkpoints between them, and the keys that signed them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from random import Random
from typing import Final, TypeAlias
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ubr.domain.audit.checkpoint import Checkpoint, Note, NoteKey
from ubr.domain.audit.entry import SALT_BYTES, ClientIp, LogEntry
from ubr.domain.audit.log_check import Leaf
from ubr.domain.audit.merkle import Frontier
from ubr.domain.events import (
    ActRefused,
    Event,
    IdempotencyKeyMismatched,
    LogEntryRead,
    LogExported,
    LogInFailed,
    LogInLocked,
    LogKeyCreated,
    LogKeyRotated,
    LogPruned,
    LogRead,
    PasswordChanged,
    RequestsRejected,
    Restored,
    RoleAssigned,
    RoleCreated,
    RoleDeleted,
    RoleUpdated,
    SessionOpened,
    SessionRevoked,
    SigningKeyRotated,
    TokenReused,
    UserDeleted,
    UserDisabled,
    UserRegistered,
    UserUpdated,
)
from ubr.domain.ids import LogEntryId, RoleId, SessionId, UserId

ORIGIN: Final = "auth.example.org/log/0123456789abcdef"
START: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


def seeded(seed: int) -> Random:
    """Reproducible randomness."""
    return Random(seed)  # noqa: S311 - nobody has to be kept from guessing it


@dataclass(frozen=True)
class Signer:
    """A key that signs checkpoints. Equal seeds make equal keys."""

    seed: str
    name: str = ORIGIN

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(sha256(self.seed.encode()).digest())

    @cached_property
    def key(self) -> NoteKey:
        return NoteKey(self.name, self._private.public_key().public_bytes_raw())

    def sign(self, note: Note) -> Note:
        return note.with_signature(self.key, self._private.sign(note.text.encode()))


def checkpoint_of(frontier: Frontier, *signers: Signer, origin: str = ORIGIN) -> Note:
    """The checkpoint over a tree, signed by all of these."""
    return signed(Checkpoint(origin, frontier.size, frontier.root()).text, *signers)


def signed(text: str, *signers: Signer) -> Note:
    note = Note(text, ())
    for signer in signers:
        note = signer.sign(note)
    return note


@dataclass(frozen=True)
class Written:
    """A checkpoint, and the size it is stored under."""

    size: int
    note: str


Step: TypeAlias = Leaf | Written


@dataclass(frozen=True)
class Log:
    """All steps of a log, in the order in which a verifier reads them. The entry `rotation` names the second key."""

    steps: tuple[Step, ...]
    old: Signer
    new: Signer
    rotation: int
    pruned: int

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        return tuple(step for step in self.steps if isinstance(step, Leaf))

    @cached_property
    def notes(self) -> dict[int, str]:
        """The checkpoints, by their sizes."""
        return {step.size: step.note for step in self.steps if isinstance(step, Written)}

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self.notes)

    @cached_property
    def where(self) -> tuple[int, ...]:
        """The step of each leaf."""
        return tuple(at for at, step in enumerate(self.steps) if isinstance(step, Leaf))

    @cached_property
    def frontiers(self) -> tuple[Frontier, ...]:
        """The tree of each size."""
        grown = [Frontier()]
        for leaf in self.leaves:
            grown.append(grown[-1].copy())
            grown[-1].append(leaf.hash)
        return tuple(grown)

    @cached_property
    def handover(self) -> int:
        """The size of the checkpoint that both keys signed."""
        return self.covering(self.rotation)

    @property
    def size(self) -> int:
        return len(self.leaves)

    def fits(self, index: int) -> int:
        """The size of the last checkpoint that does not cover an entry."""
        at = bisect_right(self.sizes, index)
        return self.sizes[at - 1] if at else 0

    def covering(self, index: int) -> int:
        """The size of the first checkpoint over an entry."""
        return self.sizes[bisect_right(self.sizes, index)]

    def note(self, size: int) -> Note:
        return Note.parse(self.notes[size])


@dataclass
class Maker:
    """Makes entries of many kinds, all of them real events."""

    random: Random
    clock: datetime = START
    people: list[UserId] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.people = [UserId(self.uuid()) for _ in range(7)]

    def uuid(self) -> UUID:
        return UUID(int=self.random.getrandbits(128), version=4)

    def entry(self, event: Event | None = None) -> LogEntry:
        """An entry that records this event, or a random one."""
        random = self.random
        self.clock += timedelta(microseconds=random.randrange(1, 10**9))
        return LogEntry.of(
            event or self.event(),
            id=LogEntryId(self.uuid()),
            actor_id=random.choice([None, *self.people]),
            ip=random.choice(
                [None, *(ClientIp(ip=ip, salt=random.randbytes(SALT_BYTES)) for ip in ("192.0.2.7", "2001:db8::7"))]
            ),
            request_id=random.choice([None, "", "req-7", "Zürich\N{KEY}"]),
            request_id_given=random.random() < 0.5,
            now=self.clock,
            salt=random.randbytes(SALT_BYTES),
        )

    def event(self) -> Event:
        return self.random.choice(_EVENTS)(self)

    def person(self) -> UserId:
        return self.random.choice(self.people)

    def session(self) -> SessionId:
        return SessionId(self.uuid())

    def role(self) -> RoleId:
        return RoleId(self.uuid())


_EVENTS: Final[Sequence[Callable[[Maker], Event]]] = (
    lambda make: UserRegistered(user_id=make.person()),
    lambda make: UserUpdated(user_id=make.person(), changed=("email", "full_name")),
    lambda make: UserDisabled(user_id=make.person()),
    lambda make: UserDeleted(user_id=make.person()),
    lambda make: PasswordChanged(user_id=make.person()),
    lambda make: RoleCreated(role_id=make.role(), name="Prüfer", permissions=("logs:read", "users:read")),
    lambda make: RoleUpdated(role_id=make.role(), before={"name": "a \" \\ '", "permissions": []}, after={"n": 2**60}),
    lambda make: RoleDeleted(role_id=make.role(), name="editor"),
    lambda make: RoleAssigned(user_id=make.person(), role_id=make.role(), expires_at=make.clock),
    lambda make: RoleAssigned(user_id=make.person(), role_id=make.role(), expires_at=None),
    lambda make: SessionOpened(session_id=make.session(), user_id=make.person(), kind="tokens"),
    lambda make: SessionRevoked(session_id=make.session(), user_id=make.person(), cause="logout"),
    lambda make: TokenReused(session_id=make.session(), user_id=make.person()),
    lambda make: LogInFailed(user_id=None, reason="unknown_email"),
    lambda make: LogInLocked(user_id=make.person(), until=START, known_client=bool(make.random.randrange(2))),
    lambda make: LogInFailed(user_id=make.person(), reason="wrong_password"),
    lambda make: SigningKeyRotated(kid="k-1", successor="k-2"),
    lambda make: LogRead(filters={"level": "warning"}, entries=make.random.randrange(200)),
    lambda make: LogEntryRead(entry_id=LogEntryId(make.uuid())),
    lambda make: LogExported(size=make.random.randrange(9)),
    lambda make: ActRefused(act="delete_user", problem="forbidden", count=make.random.randrange(1, 99)),
    lambda make: IdempotencyKeyMismatched(user_id=None, mismatches=make.random.randrange(1, 6)),
    lambda make: RequestsRejected(counts={"invalid_token": make.random.randrange(1, 99)}),
)


def new_log(count: int, *, seed: int = 1, pruned: int = 0) -> Log:
    """A log of `count` entries, 1 to 8 in each checkpoint. The first `pruned` have no content, as an entry records."""
    random = seeded(seed)
    make = Maker(random)
    old, new = Signer("old"), Signer("new")
    rotation = count * 2 // 5
    told: dict[int, Event] = {0: key_created(old), rotation: key_rotated(new, old)}
    if pruned:
        told[count * 3 // 4] = LogPruned(before=START, size=pruned, entries=pruned)
    entries = [make.entry(told.get(index)) for index in range(count)]
    sizes = [0]
    while sizes[-1] < count:
        sizes.append(min(count, sizes[-1] + random.randrange(1, 9)))
    signers = [old]
    steps: list[Step] = []
    frontier = Frontier()
    for start, end in pairwise(sizes):
        for index in range(start, end):
            steps.append(placed(index, entries[index], gone=index < pruned))
            frontier.append(entries[index].leaf)
        signers = [*signers[-1:], new] if start <= rotation < end else signers[-1:]
        steps.append(Written(end, str(checkpoint_of(frontier, *signers))))
    return Log(tuple(steps), old, new, rotation, pruned)


def placed(index: int, entry: LogEntry, *, gone: bool = False) -> Leaf:
    """An entry at an index, with its own hash."""
    return Leaf(index=index, entry_id=entry.id, hash=entry.leaf, entry=None if gone else entry)


def key_created(signer: Signer) -> Event:
    return LogKeyCreated(label=signer.key.label, key=str(signer.key))


def key_rotated(to: Signer, before: Signer) -> Event:
    return LogKeyRotated(label=to.key.label, key=str(to.key), before=str(before.key))


def restored(to: Signer, before: Signer, checkpoint: str) -> Event:
    return Restored(label=to.key.label, key=str(to.key), before=str(before.key), checkpoint=checkpoint)


def steps_over(batches: Iterable[tuple[Iterable[LogEntry], Sequence[Signer]]]) -> Iterator[Step]:
    """A log of these entries. Each batch is signed by its signers, in the name of the last of them."""
    frontier = Frontier()
    for entries, signers in batches:
        for entry in entries:
            yield placed(frontier.size, entry)
            frontier.append(entry.leaf)
        yield Written(frontier.size, str(checkpoint_of(frontier, *signers, origin=signers[-1].name)))
