"""The password throttle: limits the wrong passwords for an account, and from a client IP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import msgspec

from ubr.application.kernel.origin import current_origin
from ubr.application.ports.accounts import PasswordHasher
from ubr.application.ports.protection import Quota, Reservation
from ubr.application.ports.revocation import Elapsed
from ubr.application.ports.secrets import Signer
from ubr.application.ports.unit_of_work import Repositories, Transaction, UnitOfWork
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
from ubr.domain.events import LogInFailed, LogInLocked
from ubr.domain.ids import UserId

PURPOSE: Final = "password tries"
KNOWN_FOR: Final = timedelta(days=30)
"""How long a client IP keeps its own bucket after a login."""

_FRESH: Final = timedelta(days=1)
"""A client seen within this time is not stored again."""
_PATIENCE: Final = 2.0
"""Seconds that an attempt waits for a reservation, from its start or from the last attempt that passed anywhere."""
_AT_MOST: Final = 30.0
"""Maximum seconds that it waits, however many attempts pass."""
_POLL: Final = 0.025
_WAITING: Final = 64
"""Maximum number of attempts on one account waiting in this process: as many as may wait for hashing."""
_READERS: Final = 2
"""Number of connections that attempts on one account use at a time: a storm on one account leaves the others free."""
_IN_LINE: Final = 512

Pause: TypeAlias = Callable[[float], Awaitable[object]]


class _Line(msgspec.Struct):
    """The attempts on one account in this process whose user has not been read yet."""

    places: asyncio.Semaphore = msgspec.field(default_factory=lambda: asyncio.Semaphore(_READERS))
    waiting: int = 0


class _Queue(msgspec.Struct):
    """The attempts on one bucket in this process. They request reservations one after the other, on one connection."""

    turn: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    waiting: int = 0
    moved_at: float = float("-inf")
    """The last time at which a reservation was seen to become free."""
    passed: int = 0
    refused_at: float = float("-inf")
    refused_for: int = 0
    """The time at which all reservations were found to be failures, and for how many seconds they stay so."""


class _Outcome(Enum):
    """The progress of an attempt."""

    UNTRIED = auto()
    RIGHT = auto()
    WRONG = auto()
    """The failure is not recorded yet."""
    FAILED = auto()
    PASSED = auto()
    """The unit that the password admits returns the reservation. Its commit may still fail."""


@dataclass(frozen=True, slots=True)
class PasswordThrottle:
    """Checks passwords, counts wrong ones, and rejects attempts beyond the limit before hashing.

    - An attempt reserves its place in the account's quota before the password is hashed. If the password is right, the
      unit that it admits returns the reservation. So of any number of concurrent guesses, exactly the limit is
      verified, and a right password among wrong ones returns only its own reservation.
    - If all reservations belong to attempts in progress, an attempt waits as long as others are returned.
    - An account is an e-mail, existing or not. A client IP from which the account was logged in to has its own bucket,
      so that a stranger cannot lock the owner out.
    - The store counts the attempts, independently of Redis.
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
    async def checked(self, email: Email, password: str) -> AsyncIterator[PasswordAttempt]:
        """Check the password of a login, and count the login. A failure becomes a log entry.

        An unknown e-mail, a wrong password and a disabled user get the same response in the same time.
        Errors: `InvalidCredentials`, `RateLimited`, `Busy`.
        """
        async with PasswordAttempt(self, await self.rate_limiter.password_attempt()) as attempt:
            user = await self._account(attempt, email)
            right = await self._verify(attempt, password, user, email)
            if user is None or user.password_hash is None or not right or not user.active:
                # Before the answer, not at the end of the attempt: a failure without an entry gets no verdict.
                await self._record_failure(attempt, _reason(user, right=right))
                raise InvalidCredentials
            attempt.user = user
            if self.hasher.outdated(user.password_hash, user.id):
                attempt.upgraded = await self.hasher.hash(password, owner=user.id, account=email.key)
            await self.rate_limiter.login(user)
            yield attempt

    @asynccontextmanager
    async def confirmed(self, user_id: UserId, password: str) -> AsyncIterator[PasswordAttempt]:
        """Check the current password of a logged-in user.

        Errors: `WrongPassword`; `InvalidToken` if the user is missing; `RateLimited`, `Busy`.
        """
        async with PasswordAttempt(self, await self.rate_limiter.password_attempt()) as attempt:
            async with self.unit_of_work.peek() as tx:
                user = await tx.users.get(user_id)
                if user is None:
                    raise InvalidToken
                await self._find_bucket(attempt, tx, user.email)
            if not await self._verify(attempt, password, user, user.email):
                raise WrongPassword  # the end of the attempt records it
            attempt.user = user
            yield attempt

    async def vouch(self, tx: Transaction, user: User, *, new: bool = False) -> None:
        """Forget the failed attempts of an account, and make this client known to it, in the unit of the caller.

        The mailbox was proved from here, or the account is `new`: failures of others no longer count against its owner.
        The clients known so far become strangers. Some may be of a former owner, and the owner's own ones may have used
        up their attempts.
        """
        network = current_origin().network
        if not new:
            await tx.known_clients.forget_of(user.id)
        await tx.password_attempts.clear({self.bucket(user.email), self.bucket(user.email, network)})
        if network is not None:
            await tx.known_clients.see(user.id, self.client(network), tx.now)

    async def forget_failures(self, tx: Transaction, email: Email) -> None:
        """Forget the failed attempts with an e-mail that an account just got, in the unit of the caller.

        They are older than this account's use of the e-mail, so they guessed at another password.
        """
        await tx.password_attempts.clear({self.bucket(email)})

    async def _record_failure(self, attempt: PasswordAttempt, reason: str) -> None:
        async with self.unit_of_work.begin(None) as tx:
            tx.record(LogInFailed(user_id=attempt.user_id, reason=reason))
            await attempt.fail(tx)
            await tx.commit()

    async def _account(self, attempt: PasswordAttempt, email: Email) -> User | None:
        """Read the user of an e-mail, and find the bucket of the attempt. Attempts on one account wait in line.

        Errors: `RateLimited` for too many concurrent attempts.
        """
        quota = self.rate_limiter.quotas.account
        if quota is None:
            return await self._read_account(attempt, email)
        line = self._lines.setdefault(email.key, _Line())
        if line.waiting >= _IN_LINE:
            raise self._refused(whole_seconds(quota.per))
        line.waiting += 1
        try:
            async with line.places:
                return await self._read_account(attempt, email)
        finally:
            line.waiting -= 1
            if not line.waiting:
                self._lines.pop(email.key, None)

    async def _read_account(self, attempt: PasswordAttempt, email: Email) -> User | None:
        async with self.unit_of_work.peek() as tx:
            user = await tx.users.by_email(email)
            await self._find_bucket(attempt, tx, email)
        return user

    async def _find_bucket(self, attempt: PasswordAttempt, tx: Repositories, email: Email) -> None:
        """Find out if this client is known to the account. Does the same for an unknown e-mail."""
        if self.rate_limiter.quotas.account is None:
            return
        attempt.bucket = self.bucket(email)
        network = current_origin().network
        if network is None:
            return
        client = self.client(network)
        absence = await tx.known_clients.absence(email, client)
        if absence is not None and absence <= KNOWN_FOR:
            attempt.bucket = self.bucket(email, network)
            attempt.client_known = True
        if absence is None or absence >= _FRESH:
            attempt.client = client

    async def _verify(self, attempt: PasswordAttempt, password: str, user: User | None, email: Email) -> bool:
        """Hash the password once there is a reservation. Errors: `RateLimited`, `Busy`."""
        if attempt.bucket is not None:
            attempt.reservation = await self.reserve(attempt.bucket)
        against, attempt.user_id = (None, None) if user is None else (user.password_hash, user.id)
        right = await self.hasher.verify(password, against, owner=attempt.user_id, account=email.key)
        attempt.outcome = _Outcome.RIGHT if right else _Outcome.WRONG
        return right

    def bucket(self, email: Email, network: str | None = None) -> bytes:
        """The bucket of an account, or of a client known to it."""
        return self.signer.sign(PURPOSE, f"{email.key}\0{network or ''}".encode())

    def client(self, network: str) -> bytes:
        """The client under which a network is known to an account."""
        return self.signer.sign(PURPOSE, network.encode())

    async def reserve(self, bucket: bytes) -> Reservation | None:
        """A reservation; None if there is no limit. Errors: `RateLimited`."""
        quota = self.rate_limiter.quotas.account
        if quota is None:
            return None
        queue = self._queues.setdefault(bucket, _Queue())
        if queue.waiting >= _WAITING:
            raise self._refused(whole_seconds(quota.per))
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
            async with self.unit_of_work.autocommit() as tx:
                found = await tx.password_attempts.take(bucket, quota)
            if isinstance(found, Reservation):
                queue.moved_at = asked
                return found
            if found.passed != queue.passed:
                queue.moved_at, queue.passed = asked, found.passed
            seconds = whole_seconds(found.wait)
            if found.all_failed:
                queue.refused_at, queue.refused_for = asked, seconds
            elif asked - max(came, queue.moved_at) >= _PATIENCE or asked - came >= _AT_MOST:
                raise self._refused(seconds)
            else:
                await self.pause(_POLL)
        raise self._refused(queue.refused_for)

    def _refused(self, seconds: int) -> RateLimited:
        self.rate_limiter.metrics.rate_limited("account")
        return RateLimited(seconds)

    async def finish(self, rest: Coroutine[Any, Any, None]) -> None:
        """Complete the remaining work, even if the caller is cancelled. A failure here expires with the window."""
        task = asyncio.create_task(_quietly(rest))
        self._rest.add(task)
        task.add_done_callback(self._rest.discard)
        await asyncio.shield(task)


async def _quietly(doing: Coroutine[Any, Any, None]) -> None:
    with suppress(UbrError):
        await doing


def _reason(user: User | None, *, right: bool) -> str:
    """Why a login failed, for the log."""
    if user is None:
        return "unknown_email"
    if user.password_hash is None:
        return "no_password"
    return "disabled" if right else "wrong_password"


class PasswordAttempt:
    """One attempt with a password, from its reservation to its outcome.

    It is a context. If that ends with an error, the reservation is returned, unless the caller learned that the
    password was wrong.
    """

    user: User
    """The account as it was before hashing, once the password is verified."""

    def __init__(self, throttle: PasswordThrottle, status: RateLimitStatus | None) -> None:
        self.user_id: UserId | None = None
        """The user of the account; None if no account has the e-mail, or before the check."""
        self.upgraded: PasswordHash | None = None
        """The same password hashed at the current cost; None if its hash is up to date."""
        self.bucket: bytes | None = None
        """Where the attempt counts; None if accounts have no limit."""
        self.client: bytes | None = None
        """The client that a login makes known to the account; None if it is not to be stored."""
        self.client_known = False
        self.reservation: Reservation | None = None
        self.outcome = _Outcome.UNTRIED
        self._throttle = throttle
        self._status = status

    async def user_in(self, tx: Transaction) -> User:
        """The user in the unit that the password admits: locked, with the checked facts unchanged.

        A hash of a lower cost is replaced. Errors: `TransactionConflict` if the hash, the e-mail or the status has
        changed. The call is then repeated on the changed account.
        """
        before = self.user
        user = await tx.users.again(before)
        if (
            user is None
            or user.password_hash != before.password_hash
            or user.email.key != before.email.key
            or user.status is not before.status
        ):
            raise TransactionConflict
        if self.upgraded is not None:
            user.upgrade_hash(self.upgraded)
            await tx.users.save(user)
        return user

    async def passed(self, tx: Transaction, *, logged_in: bool = False) -> None:
        """Return the reservation in that unit. A login also makes its client known to the account."""
        self.outcome = _Outcome.PASSED
        if self.reservation is not None:
            await tx.password_attempts.give_back(self.reservation, passed=True)
        if logged_in and self.client is not None:
            await tx.known_clients.see(self.user.id, self.client, tx.now)

    async def fail(self, tx: Transaction) -> None:
        """Keep the reservation: the password was wrong, or cannot be used. The last of the window locks the account."""
        self.outcome = _Outcome.FAILED
        quota = self._throttle.rate_limiter.quotas.account
        if self.reservation is None or quota is None:
            return
        if await tx.password_attempts.fail(self.reservation) == quota.limit:
            until = self.reservation.began_at + quota.per
            tx.record(LogInLocked(user_id=self.user_id, until=until, known_client=self.client_known))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if error is None:
            await self._throttle.rate_limiter.give_back(self._status)
            return
        match self.outcome:
            case _Outcome.RIGHT:
                returned = True
            case _Outcome.PASSED:  # a commit with an unknown outcome may have returned the reservation
                returned = isinstance(error, TransactionConflict)
            case _Outcome.UNTRIED:
                returned = not isinstance(error, RateLimited)
            case _:
                returned = False
        unrecorded = self.outcome is _Outcome.WRONG and isinstance(error, UbrError)
        if returned or unrecorded:
            await self._throttle.finish(self._settle(returned=returned))

    async def _settle(self, *, returned: bool) -> None:
        """Return the reservation, as if the attempt did not take place, or keep it for a wrong password.

        A kept one is recorded, so that attempts that wait for it give up.
        """
        if returned:
            await self._throttle.rate_limiter.give_back(self._status)
        if self.reservation is not None:
            async with self._throttle.unit_of_work.begin(None) as tx:
                if returned:
                    await tx.password_attempts.give_back(self.reservation, passed=False)
                else:
                    await self.fail(tx)
                await tx.commit()
