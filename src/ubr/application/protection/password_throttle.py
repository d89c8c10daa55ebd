"""The guard before every password: so many may be wrong, for an account and from a client IP, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from ubr.application.kernel.origin import current_origin
from ubr.application.ports.accounts import PasswordHasher
from ubr.application.ports.protection import Exhausted, Quota, Reservation
from ubr.application.ports.revocation import Elapsed
from ubr.application.ports.secrets import Signer
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.application.protection.rate_limits import RateLimiter, RateLimitStatus, whole_seconds
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.accounts.user import User
from ubr.domain.errors import (
    InvalidCredentials,
    InvalidToken,
    RateLimited,
    TransactionConflict,
    UbrError,
    WrongPassword,
)
from ubr.domain.events import LogInFailed
from ubr.domain.ids import UserId

PURPOSE: Final = "password tries"
KNOWN_FOR: Final = timedelta(days=30)
"""How long a client IP from which somebody logged in has a bucket of its own."""

_FRESH: Final = timedelta(days=1)
"""A client that was seen since is not written down anew."""
_PATIENCE: Final = 2.0
"""Seconds that a try waits for a slot, since it came or since another one passed anywhere."""
_AT_MOST: Final = 30.0
"""Seconds that it waits, however many pass."""
_POLL: Final = 0.025
_WAITING: Final = 64
"""How many tries of one account may wait in this process: as many as would wait for their password to be hashed."""
_READERS: Final = 2
"""How many connections the tries of one account take at a time: a storm on one leaves the others to everybody else."""
_IN_LINE: Final = 512

Pause: TypeAlias = Callable[[float], Awaitable[object]]


@dataclass(slots=True)
class _Line:
    """The tries of one account in this process whose user has not been read yet."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_READERS))
    waiting: int = 0


@dataclass(slots=True)
class _Queue:
    """The tries of one bucket in this process. They ask for slots one after the other, on one connection."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    moved_at: float = float("-inf")
    """When it was seen last that a slot had become free."""
    passed: int = 0
    refused_at: float = float("-inf")
    refused_for: int = 0
    """When it was found that all slots are of failures, and how many seconds it will stay so."""


class _Outcome(Enum):
    """How far an attempt has come."""

    UNTRIED = auto()
    RIGHT = auto()
    WRONG = auto()
    """Nobody has written down yet that the slot stays taken."""
    FAILED = auto()
    PASSED = auto()
    """The slot is given back by the unit that the password opened. Its commit may still fail."""


@dataclass(frozen=True, slots=True)
class PasswordThrottle:
    """Checks passwords, counts the wrong ones, and has too many refused before they are hashed.

    - A slot of the account is taken before a password is hashed, and given back if it was right, in the unit that
      this opens. So of any number of guesses at once exactly the limit is verified, and a right one beside wrong ones
      gives back its own slot alone.
    - Where all slots are taken by tries on their way, a try waits for as long as others are given back.
    - An account is an e-mail, whether there is one or not. A client IP from which the account was logged in to has a
      bucket of its own, so that a stranger shuts nobody out.
    - It is the store that counts, whatever becomes of Redis.
    """

    unit_of_work: UnitOfWork
    rate_limiter: RateLimiter
    hasher: PasswordHasher
    signer: Signer
    elapsed: Elapsed
    pause: Pause = asyncio.sleep
    _lines: dict[str, _Line] = field(default_factory=dict, init=False, repr=False)
    _queues: dict[bytes, _Queue] = field(default_factory=dict, init=False, repr=False)
    _rest: set[asyncio.Task[None]] = field(default_factory=set, init=False, repr=False)

    @asynccontextmanager
    async def checked(self, email: Email, password: str) -> AsyncIterator[CheckedPassword]:
        """Check the password of somebody who logs in. A failure becomes an entry of the log.

        An unknown e-mail, a wrong password and a disabled user differ neither in words nor in time.
        Errors: `InvalidCredentials`, `RateLimited`, `Busy`.
        """
        async with self._attempt() as attempt:
            async with self._reading(email) as tx:
                user = await tx.users.by_email(email)
                await attempt.find_bucket(tx, email)
            right = await attempt.verify(password, None if user is None else user.password_hash)
            if user is None or user.password_hash is None or not right or not user.active:
                await self._record_failure(attempt, None if user is None else user.id)
                raise InvalidCredentials
            outdated = self.hasher.outdated(user.password_hash)
            yield CheckedPassword(user, attempt, upgraded=await self.hasher.hash(password) if outdated else None)

    @asynccontextmanager
    async def confirmed(self, user_id: UserId, password: str) -> AsyncIterator[CheckedPassword]:
        """Check the current password of somebody who is logged in.

        Errors: `WrongPassword`; `InvalidToken` where there is no such user; `RateLimited`, `Busy`.
        """
        async with self._attempt() as attempt:
            async with self.unit_of_work.read() as tx:
                user = await tx.users.get(user_id)
                if user is None:
                    raise InvalidToken
                await attempt.find_bucket(tx, user.email)
            if not await attempt.verify(password, user.password_hash):
                raise WrongPassword
            yield CheckedPassword(user, attempt)

    @asynccontextmanager
    async def _attempt(self) -> AsyncIterator[_Attempt]:
        attempt = _Attempt(self, await self.rate_limiter.password())
        try:
            yield attempt
        except BaseException as error:
            if attempt.innocent(error):
                await self._finish(attempt.undo())
            elif isinstance(error, UbrError):
                await self._finish(attempt.keep())
            raise
        await self.rate_limiter.give_back(attempt.status)

    async def _record_failure(self, attempt: _Attempt, user_id: UserId | None) -> None:
        async with self.unit_of_work.begin(None) as tx:
            await attempt.fail(tx)
            tx.record(LogInFailed(user_id=user_id))
            await tx.commit()

    @asynccontextmanager
    async def _reading(self, email: Email) -> AsyncIterator[Transaction]:
        """A unit in which to read who has this e-mail. Errors: `RateLimited` where very many want to at once."""
        quota = self.rate_limiter.quotas.account
        if quota is None:
            async with self.unit_of_work.read() as tx:
                yield tx
            return
        line = self._lines.setdefault(email.key, _Line())
        if line.waiting >= _IN_LINE:
            raise RateLimited(whole_seconds(quota.per))
        line.waiting += 1
        try:
            async with line.places, self.unit_of_work.read() as tx:
                yield tx
        finally:
            line.waiting -= 1
            if not line.waiting:
                self._lines.pop(email.key, None)

    def bucket(self, email: Email, network: str | None = None) -> bytes:
        """Of an account, or of a client it knows."""
        return self.signer.sign(PURPOSE, f"{email.key}\0{network or ''}".encode())

    async def take(self, bucket: bytes) -> Reservation | None:
        """A slot; None where nothing is limited. Errors: `RateLimited`."""
        quota = self.rate_limiter.quotas.account
        if quota is None:
            return None
        queue = self._queues.setdefault(bucket, _Queue())
        if queue.waiting >= _WAITING:
            raise RateLimited(whole_seconds(quota.per))
        queue.waiting += 1
        try:
            came = self.elapsed()
            async with queue.turn:
                return await self._in_turn(queue, bucket, quota, came)
        finally:
            queue.waiting -= 1
            if not queue.waiting:
                self._queues.pop(bucket, None)

    async def _in_turn(self, queue: _Queue, bucket: bytes, quota: Quota, came: float) -> Reservation:
        while queue.refused_at < came:
            asked = self.elapsed()
            found, now = await self._ask(bucket, quota)
            if isinstance(found, Reservation):
                queue.moved_at = asked
                return found
            if found.passed != queue.passed:
                queue.moved_at, queue.passed = asked, found.passed
            seconds = whole_seconds(found.until - now)
            if found.all_failed:
                queue.refused_at, queue.refused_for = asked, seconds
            elif asked - max(came, queue.moved_at) >= _PATIENCE or asked - came >= _AT_MOST:
                raise RateLimited(seconds)
            else:
                await self.pause(_POLL)
        raise RateLimited(queue.refused_for)

    async def _ask(self, bucket: bytes, quota: Quota) -> tuple[Reservation | Exhausted, datetime]:
        async with self.unit_of_work.begin(None) as tx:
            found = await tx.password_attempts.take(bucket, quota, tx.now)
            if isinstance(found, Reservation):
                await tx.commit()
            return found, tx.now

    async def _finish(self, rest: Coroutine[Any, Any, None]) -> None:
        """Do what is left to do, also where the caller goes away. What fails now is over with its window."""
        task = asyncio.create_task(_quietly(rest))
        self._rest.add(task)
        task.add_done_callback(self._rest.discard)
        await asyncio.shield(task)


async def _quietly(doing: Coroutine[Any, Any, None]) -> None:
    with suppress(UbrError):
        await doing


class CheckedPassword:
    """A password that was right, and the account as it was before it was hashed."""

    def __init__(self, user: User, attempt: _Attempt, *, upgraded: PasswordHash | None = None) -> None:
        self.user = user
        self.upgraded = upgraded
        """The same password at today's cost; None where it is kept at that already."""
        self._attempt = attempt

    async def user_in(self, tx: Transaction) -> User:
        """The user in the unit that the password opens: locked, and what was checked still holds.

        Errors: `TransactionConflict` where the hash, the e-mail or the status changed meanwhile. The call is repeated
        then, on the changed account.
        """
        user = await tx.users.get(self.user.id)
        if user is None or _checked_facts(user) != _checked_facts(self.user):
            raise TransactionConflict
        return user

    async def passed(self, tx: Transaction, *, logged_in: bool = False) -> None:
        """Give back the slot in that unit. The client of somebody who logs in is known to the account from now on."""
        await self._attempt.give_back(tx)
        if logged_in:
            await self._attempt.remember_client(tx, self.user.id)


def _checked_facts(user: User) -> tuple[object, ...]:
    """The facts that a check rests on."""
    return user.password_hash, user.email.key, user.status


class _Attempt:
    """One password that is tried, from the slot it takes to what becomes of that."""

    def __init__(self, throttle: PasswordThrottle, status: RateLimitStatus | None) -> None:
        self.status = status
        self._throttle = throttle
        self._bucket = b""
        self._client: bytes | None = None
        self._reservation: Reservation | None = None
        self._outcome = _Outcome.UNTRIED

    async def find_bucket(self, tx: Transaction, email: Email) -> None:
        """Find out whether this client is known to the account. It asks the same for an unknown e-mail."""
        throttle = self._throttle
        if throttle.rate_limiter.quotas.account is None:
            return
        self._bucket = throttle.bucket(email)
        network = current_origin().network
        if network is None:
            return
        client = throttle.signer.sign(PURPOSE, network.encode())
        seen_at = await tx.known_clients.seen_at(email, client)
        if seen_at is not None and tx.now - seen_at <= KNOWN_FOR:
            self._bucket = throttle.bucket(email, network)
        if seen_at is None or tx.now - seen_at >= _FRESH:
            self._client = client

    async def verify(self, password: str, against: PasswordHash | None) -> bool:
        """Hash it once there is a slot for it. Errors: `RateLimited`, `Busy`."""
        if self._bucket:
            self._reservation = await self._throttle.take(self._bucket)
        right = await self._throttle.hasher.verify(password, against)
        self._outcome = _Outcome.RIGHT if right else _Outcome.WRONG
        return right

    async def give_back(self, tx: Transaction) -> None:
        self._outcome = _Outcome.PASSED
        if self._reservation is not None:
            await tx.password_attempts.give_back(self._reservation, passed=True)

    async def remember_client(self, tx: Transaction, user_id: UserId) -> None:
        if self._client is not None:
            await tx.known_clients.see(user_id, self._client, tx.now)

    async def fail(self, tx: Transaction) -> None:
        """The slot stays taken: the password was wrong, or of no use."""
        self._outcome = _Outcome.FAILED
        if self._reservation is not None:
            await tx.password_attempts.fail(self._reservation)

    def innocent(self, error: BaseException) -> bool:
        """Whether nobody has been told that the password is wrong, and the slot was not given back for certain."""
        match self._outcome:
            case _Outcome.WRONG | _Outcome.FAILED:
                return False
            case _Outcome.PASSED:  # a commit of unknown outcome may have given it back
                return isinstance(error, TransactionConflict)
            case _Outcome.RIGHT:
                return True
            case _:
                return not isinstance(error, RateLimited)

    async def undo(self) -> None:
        """It was not tried after all."""
        await self._throttle.rate_limiter.give_back(self.status)
        if self._reservation is not None:
            async with self._throttle.unit_of_work.begin(None) as tx:
                await tx.password_attempts.give_back(self._reservation, passed=False)
                await tx.commit()

    async def keep(self) -> None:
        """It was wrong: whoever waits for this slot waits in vain."""
        if self._reservation is not None and self._outcome is _Outcome.WRONG:
            async with self._throttle.unit_of_work.begin(None) as tx:
                await tx.password_attempts.fail(self._reservation)
                await tx.commit()
