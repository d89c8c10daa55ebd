from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Final, TypeAlias
from uuid import UUID, uuid5

from msgspec import UNSET, Meta, UnsetType

from ubr.application.access.authorization import Authority, Authorize
from ubr.application.access.session_cache import SessionCache
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import EXAMPLE_ID, example
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.revocation import ChangeFeed, ChangeNotifier, Elapsed, FeedPosition, FeedRead, WorkerId
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.protection.rate_limits import RateLimiter
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Invalid, RateLimited, StoreUnavailable
from ubr.domain.events import VerifierRegistered
from ubr.domain.ids import UserId
from ubr.domain.revocation.changes import ChangeKind, epoch_name
from ubr.domain.roles.permissions import REVOCATIONS_READ

MAX_WAIT_MS: Final = 300
"""Milliseconds."""

MAX_RECORDS: Final = 10_000
"""A client that is further behind starts over."""

MAX_NUMBER: Final = 2**63 - 1
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ATTEMPTS: Final = 3
_FREED_AFTER: Final = 60
"""Seconds after its last call in which a verifier is removed."""
_REMEMBERED: Final = 10_000
_USER_BYTES: Final = 8
"""The first bytes of a lease, the same for all verifiers of one user."""

VerifierId: TypeAlias = Annotated[
    UUID,
    Meta(description="A random id of the verifier's process.", examples=["01926e5c-7b0e-4f3a-9c55-0d2f6f1c8a10"]),
]


class FollowRevocationsCommand(Command, frozen=True, kw_only=True):
    """`verifier` is a random id of its process. `since` and `epoch` come from the previous answer."""

    verifier: VerifierId
    since: Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": MAX_NUMBER})] | None = None
    epoch: Annotated[str | None, Meta(description="`epoch` of the previous answer.")] = None
    wait: Annotated[
        int,
        Meta(
            description="Number of milliseconds for which the call is held open while there is no news.",
            extra_json_schema={"minimum": 0, "maximum": MAX_WAIT_MS},
        ),
    ] = 0
    nonce: Annotated[
        str | None,
        Meta(
            description="A random text, new for each call. The answer repeats it, which distinguishes it from a cached "
            "answer.",
            extra_json_schema={"pattern": f"^{_NONCE.pattern}$"},
        ),
    ] = None


class RevocationResult(Result, frozen=True, kw_only=True):
    """`id` is the id of a session, user or role, or the `kid` of a signing key."""

    number: int
    kind: ChangeKind
    id: str


class RevocationsResult(Result, frozen=True, kw_only=True):
    """`fresh_for_ms` counts from the moment at which the caller sent the request. `nonce` repeats the request's."""

    epoch: Annotated[str, example("5f70bf18a0860070")]
    number: Annotated[int, example(4711)]
    rows: Annotated[list[RevocationResult], example([{"number": 4711, "kind": "session", "id": EXAMPLE_ID}])]
    fresh_for_ms: Annotated[int, example(1000)]
    nonce: Annotated[str | UnsetType, example("b3BlbiBzZXNhbWU")] = UNSET


@dataclass(frozen=True, slots=True)
class FollowRevocations:
    """Follow revocations and changes as a verifier in another service. Requires `revocations:read`.

    - Every revocation waits for the verifier before it is answered, up to the bound, from the verifier's first call
      until 60 seconds after its last.
    - The call is held open for `wait` milliseconds, at most 300 and a third of the bound, or until there is news.
    - Returns the change records after `since`, if `epoch` is the current one and `since` is at most 10,000 records
      behind. Otherwise `rows` is empty and `number` is where to start.
    - The next call, with `since` and `epoch` from this answer, acknowledges that the verifier applies all of it.
    - A verifier is identified by its id and its user: no caller can acknowledge for another user's verifier.
    - The first call of a verifier is a log entry. A user has at most 50 verifiers, and registers at most 200 an hour:
      429 `rate-limited` beyond.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    rate_limiter: RateLimiter
    policy: OperatorPolicy
    session_cache: SessionCache
    feed: ChangeFeed
    notifier: ChangeNotifier
    elapsed: Elapsed
    denials: DenialLog
    _leases: OrderedDict[WorkerId, tuple[str, float]] = field(default_factory=OrderedDict, init=False, repr=False)
    """The epoch in which this worker renewed each lease, and when the renewal began."""

    @denials_recorded
    async def __call__(self, command: FollowRevocationsCommand, /, *, actor: Actor | System) -> RevocationsResult:
        if command.since is not None and not 0 <= command.since <= MAX_NUMBER:
            raise Invalid.at("/since", "is out of range")
        if not 0 <= command.wait <= MAX_WAIT_MS:
            raise Invalid.at("/wait", f"must be between 0 and {MAX_WAIT_MS}")
        if command.nonce is not None and not _NONCE.fullmatch(command.nonce):
            raise Invalid.at("/nonce", "must be 1 to 64 letters, digits, - and _")
        who = await self.authorize(actor)
        who.require(REVOCATIONS_READ)
        verifier = lease_of(who, command.verifier)
        if who.user_id is not None and not self._renewed(verifier):
            await self._register(verifier, command.verifier, who.user_id, actor)
        here = await self._position()
        since = command.since
        if since is not None and command.epoch in {None, epoch_name(here.epoch)}:
            if command.epoch is not None:
                await self.notifier.acknowledge(verifier, here.epoch, since)
            # Before the call is held: from here on, a unit that ends something knows that it has to wait for this
            # verifier.
            await self._renew(verifier, here.epoch)
            await self._hold(since, command.wait)
            if here.number - since > MAX_RECORDS:
                since = None
        else:
            since = None
        read = await self._read(verifier, since, here.epoch)
        return RevocationsResult(
            epoch=epoch_name(read.position.epoch),
            number=read.position.number,
            rows=[RevocationResult(number=row.number, kind=row.change.kind, id=row.change.id) for row in read.rows],
            fresh_for_ms=int(self.session_cache.times.bound * 1000),
            nonce=UNSET if command.nonce is None else command.nonce,
        )

    async def _register(self, lease: WorkerId, verifier: UUID, user_id: UserId, actor: Actor | System) -> None:
        """Register a verifier, unless it is registered already. Called before each renewal of its lease.

        The number of a user's verifiers is checked again afterwards, because others may have been registered at the
        same time. Errors: `RateLimited`.
        """
        if lease in await self._of_user(lease):
            return
        await self._check_number(lease)
        await self.rate_limiter.verifier(user_id)
        async with self.unit_of_work.begin(actor) as tx:
            tx.record(VerifierRegistered(user_id=user_id, verifier_id=verifier))
            await tx.commit()
        await self.feed.renew(lease)
        try:
            await self._check_number(lease)
        except RateLimited:
            await self.feed.leave(lease)
            raise

    async def _check_number(self, lease: WorkerId) -> None:
        if len(await self._of_user(lease) - {lease}) >= self.policy.verifiers_per_user:
            self.rate_limiter.metrics.rate_limited("verifiers-of-user")
            raise RateLimited(_FREED_AFTER, "This user has as many verifiers as a user may have")

    async def _of_user(self, lease: WorkerId) -> set[WorkerId]:
        """The registered verifiers of the user that this lease belongs to."""
        own = lease.bytes[:_USER_BYTES]
        return {worker for worker in await self.feed.workers() if worker.bytes[:_USER_BYTES] == own}

    async def _position(self) -> FeedPosition:
        """The recent position of the feed, as known to this worker."""
        await self.session_cache.ensure_fresh()
        position = self.session_cache.position
        if position is None:
            raise StoreUnavailable("The position of the change feed is unknown")
        return position

    async def _hold(self, since: int, wait: int) -> None:
        """Hold the call for less than the bound, so that a client that calls again at once stays fresh."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(wait / 1000, self.session_cache.times.bound / 3)):
                await self.session_cache.news(since)

    async def _read(self, verifier: WorkerId, since: int | None, epoch: str) -> FeedRead:
        """New change records, read after a lease was committed to the same database."""
        for _ in range(_ATTEMPTS):
            await self._renew(verifier, epoch)
            read = await self.feed.read(since)
            if read.position.epoch == epoch:
                return read
            # Another database has replaced the one that holds the lease.
            epoch, since = read.position.epoch, None
        raise StoreUnavailable("The database was replaced several times within one call")

    def _renewed(self, verifier: WorkerId) -> bool:
        """True if this worker has renewed the lease recently."""
        found = self._leases.get(verifier)
        return found is not None and self.elapsed() - found[1] < self.session_cache.times.renewal

    async def _renew(self, verifier: WorkerId, epoch: str) -> None:
        """Renew a lease, unless this worker has renewed it recently in this epoch."""
        if self._renewed(verifier) and self._leases[verifier][0] == epoch:
            return
        now = self.elapsed()
        await self.feed.renew(verifier)
        self._leases[verifier] = (epoch, now)
        self._leases.move_to_end(verifier)
        while len(self._leases) > _REMEMBERED:
            self._leases.popitem(last=False)


def lease_of(who: Authority, verifier: UUID) -> WorkerId:
    """The worker id under which a verifier is waited for. Those of one user begin with the same bytes."""
    if who.user_id is None:
        return WorkerId(verifier)
    own = uuid5(who.user_id, str(verifier))
    return WorkerId(UUID(bytes=_beginning(who.user_id) + own.bytes[_USER_BYTES:]))


def leases_of(user_id: UserId, workers: Iterable[WorkerId]) -> list[WorkerId]:
    """The leases of a user's verifiers, among all workers."""
    own = _beginning(user_id)
    return sorted(worker for worker in workers if worker.bytes[:_USER_BYTES] == own)


def _beginning(user_id: UserId) -> bytes:
    return uuid5(user_id, "verifiers").bytes[:_USER_BYTES]
