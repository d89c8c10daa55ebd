"""Password hashing with Argon2id in a separate thread pool."""

from __future__ import annotations

import asyncio
import hmac
import math
import os
import re
import sys
import threading
import time
from base64 import b64decode, b64encode
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final

import msgspec
from argon2.exceptions import HashingError
from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw

from ubr.adapters.security.fair_queue import FairQueue, Job, Waiting
from ubr.application.kernel.origin import current_origin
from ubr.application.ports.metrics import NO_METRICS, Load, Metrics
from ubr.application.ports.system import RandomBytes
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.concealed import Concealed
from ubr.domain.errors import Busy, Unavailable

SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
"""RFC 9106, 3.1 and 4: a salt of 16 bytes, a tag of 32."""

# Bounds for stored hashes and for the configuration, which has the same ones. At these bounds, one hash takes some
# seconds.
MAX_MEMORY_KIB: Final = 256 * 1024
MAX_TIME_COST: Final = 16
MAX_PARALLELISM: Final = 16
MAX_SALT_BYTES: Final = 64
MAX_HASH_BYTES: Final = 64
MIN_SALT_BYTES: Final = 8
MIN_HASH_BYTES: Final = 16

WAITING_PER_WORKER: Final = 64
"""About two seconds of work at the default cost. Callers beyond that should rather come back."""

NICENESS: Final = 10
"""Added to the nice value of the threads, so that hashing takes only the time that requests leave."""

_PHC: Final = re.compile(
    r"\$argon2id\$v=([0-9]{1,3})\$m=([1-9][0-9]{0,6}),t=([1-9][0-9]{0,2}),p=([1-9][0-9]{0,2})"
    r"\$([A-Za-z0-9+/]{1,86})\$([A-Za-z0-9+/]{1,86})"
)
_SMOOTHING: Final = 0.2
_MAX_WAIT: Final = 60


class _Cost(msgspec.Struct, frozen=True):
    memory_kib: int
    time: int
    parallelism: int

    def within_bounds(self) -> bool:
        return (
            1 <= self.parallelism <= MAX_PARALLELISM
            and 8 * self.parallelism <= self.memory_kib <= MAX_MEMORY_KIB  # RFC 9106, 3.1
            and 1 <= self.time <= MAX_TIME_COST
        )

    def below(self, other: _Cost) -> bool:
        """True if it is cheaper to guess against: less memory, or less total work. Lanes do not matter."""
        return self.memory_kib < other.memory_kib or self.memory_kib * self.time < other.memory_kib * other.time


class _Hash(Concealed, frozen=True):
    """A parsed hash."""

    cost: _Cost
    salt: bytes
    digest: bytes

    @classmethod
    def read(cls, encoded: str) -> _Hash | None:
        """Parse a PHC string; None if it is not Argon2id, or exceeds the bounds."""
        match = _PHC.fullmatch(encoded)
        if match is None or int(match[1]) != ARGON2_VERSION:
            return None
        salt, digest = _from_base64(match[5]), _from_base64(match[6])
        cost = _Cost(int(match[2]), int(match[3]), int(match[4]))
        if (
            cost.within_bounds()
            and MIN_SALT_BYTES <= len(salt) <= MAX_SALT_BYTES
            and MIN_HASH_BYTES <= len(digest) <= MAX_HASH_BYTES
        ):
            return cls(cost, salt, digest)
        return None

    def encoded(self) -> str:
        cost = f"m={self.cost.memory_kib},t={self.cost.time},p={self.cost.parallelism}"
        return f"$argon2id$v={ARGON2_VERSION}${cost}${_to_base64(self.salt)}${_to_base64(self.digest)}"


class Argon2PasswordHasher:
    """Argon2id (RFC 9106) in dedicated threads, one per core, at low priority.

    At most `workers` passwords are hashed while `queue` more wait; further calls are rejected immediately, so a storm
    of logins uses no memory or time of other requests. A call cancelled while waiting frees its place; a call cancelled
    while its password is hashed keeps its place until the thread is done.

    Waiting calls are served one per client in turn, and within a client one per account. If the queue is full, a call
    displaces the newest one of a larger share, so that one client cannot keep the others out.

    The first password starts the threads.
    """

    def __init__(
        self,
        memory_kib: int,
        time_cost: int,
        parallelism: int,
        *,
        workers: int | None = None,
        queue: int | None = None,
        random_bytes: RandomBytes = os.urandom,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """Errors: `ValueError` for a cost that Argon2 does not support or that exceeds the bounds of this module."""
        self._cost = _Cost(memory_kib, time_cost, parallelism)
        if not self._cost.within_bounds():
            raise ValueError(
                f"Argon2 needs memory between 8 KiB for each lane and {MAX_MEMORY_KIB} KiB, a time cost between 1 and "
                f"{MAX_TIME_COST}, and parallelism between 1 and {MAX_PARALLELISM}"
            )
        self._workers = cores() if workers is None else workers
        self._places = self._workers + (WAITING_PER_WORKER * self._workers if queue is None else queue)
        if self._workers < 1 or self._places < self._workers:
            raise ValueError("There must be at least one worker, and a queue size of at least 0")
        self._random_bytes = random_bytes
        self._metrics = metrics
        # Random bytes instead of a digest: no password matches it, and finding that out takes the full work.
        self._dummy = _Hash(self._cost, random_bytes(SALT_BYTES), random_bytes(HASH_BYTES))
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._pid = 0
        self._taken = 0
        self._queue = FairQueue()
        self._seconds = 0.0
        self._closed = False

    @property
    def taken(self) -> int:
        """Number of occupied places: passwords being hashed, and passwords waiting."""
        return self._taken

    @property
    def load(self) -> Load:
        """The passwords being hashed, and those waiting."""
        with self._lock:
            waiting = len(self._queue)
            return Load(self._taken - waiting, waiting)

    async def hash(self, password: str, *, account: str = "") -> PasswordHash:
        salt = self._random_bytes(SALT_BYTES)
        digest = await self._run(password, account, self._cost, salt, HASH_BYTES)
        return PasswordHash(_Hash(self._cost, salt, digest).encoded())

    async def verify(self, password: str, against: PasswordHash | None, *, account: str = "") -> bool:
        stored = (_Hash.read(against.encoded) if against is not None else None) or self._dummy
        digest = await self._run(password, account, stored.cost, stored.salt, len(stored.digest))
        return hmac.compare_digest(digest, stored.digest)

    def outdated(self, hashed: PasswordHash) -> bool:
        """True also for a hash that cannot be read."""
        stored = _Hash.read(hashed.encoded)
        return (
            stored is None
            or stored.cost.below(self._cost)
            or len(stored.salt) < SALT_BYTES
            or len(stored.digest) < HASH_BYTES
        )

    @staticmethod
    def reads(hashed: PasswordHash) -> bool:
        """True if the hash is one of Argon2id within the bounds."""
        return _Hash.read(hashed.encoded) is not None

    def close(self) -> None:
        """Accept no more passwords. Accepted ones are finished, then the threads end."""
        with self._lock:
            self._closed = True
            pool = self._pool if self._pid == os.getpid() else None
        if pool is not None:
            pool.shutdown(wait=False)

    async def _run(self, password: str, account: str, cost: _Cost, salt: bytes, length: int) -> bytes:
        """Errors: `Busy`; `Unavailable` if there is not enough memory, or after `close`."""
        # A lone surrogate is not text. It is hashed anyway, because an immediate rejection would be faster.
        secret = password.encode("utf-8", "surrogatepass")
        try:
            future = self._submit(lambda: self._measured(secret, cost, salt, length), account)
            return await asyncio.wrap_future(future)
        except HashingError:
            raise Unavailable("Not enough memory to hash a password") from None

    def _submit(self, job: Job, account: str) -> Future[bytes]:
        call = Waiting(current_origin().network or "", account, job)
        pool, displaced = self._take_place(call)
        # Called exactly once: when the job ends, or immediately if the call is cancelled or displaced before it began.
        call.future.add_done_callback(lambda _: self._give_back(pool, call))
        if displaced is not None:
            displaced.future.set_exception(self._busy())
        try:
            pool.submit(self._serve, pool)
        except RuntimeError:  # closed a moment ago, or no thread can be started
            call.future.cancel()
            raise Unavailable("Passwords cannot be hashed at the moment") from None
        return call.future

    def _take_place(self, call: Waiting) -> tuple[ThreadPoolExecutor, Waiting | None]:
        """Let a call wait. Returns the threads, and the call that loses its place to this one."""
        with self._lock:
            if self._closed:
                raise Unavailable("The service is shutting down")
            if self._pool is None or self._pid != os.getpid():
                # A fork copies the pool, but not its threads.
                self._pool = ThreadPoolExecutor(self._workers, "ubr-argon2", _lower_priority)
                self._pid = os.getpid()
                self._taken = 0
                self._queue = FairQueue()
            displaced = None
            if self._taken >= self._places:
                displaced = self._queue.displace(call.client, call.account)
                # A call that is being cancelled returns its place by itself.
                if displaced is None or not displaced.future.set_running_or_notify_cancel():
                    raise self._busy()
            self._taken += 1
            self._queue.add(call)
            return self._pool, displaced

    def _busy(self) -> Busy:
        return Busy(
            "Too many passwords are waiting to be hashed",
            retry_after=min(_MAX_WAIT, math.ceil(self._taken * self._seconds / self._workers)),
        )

    def _serve(self, pool: ThreadPoolExecutor) -> None:
        """Do the job of the call whose turn it is. Without a call, its caller has left."""
        with self._lock:
            call = self._queue.next() if pool is self._pool else None
        if call is None or not call.future.set_running_or_notify_cancel():
            return
        try:
            call.future.set_result(call.job())
        except BaseException as error:  # noqa: BLE001 - the caller gets every error
            call.future.set_exception(error)

    def _give_back(self, pool: ThreadPoolExecutor, call: Waiting) -> None:
        with self._lock:
            if pool is self._pool:
                self._taken -= 1
                self._queue.remove(call)

    def _measured(self, secret: bytes, cost: _Cost, salt: bytes, length: int) -> bytes:
        began = time.perf_counter()
        digest = hash_secret_raw(
            secret=secret,
            salt=salt,
            time_cost=cost.time,
            memory_cost=cost.memory_kib,
            parallelism=cost.parallelism,
            hash_len=length,
            type=Type.ID,
        )
        took = time.perf_counter() - began
        with self._lock:
            self._seconds += (took - self._seconds) * (_SMOOTHING if self._seconds else 1)
            self._metrics.password_hashed(took)
        return digest


def cores() -> int:
    """Number of cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:  # noqa: RET505 - type checkers narrow a platform only through branches
        return os.cpu_count() or 1


def _lower_priority() -> None:
    """On Linux each thread has its own nice value. If it cannot be changed, work continues without it."""
    if sys.platform == "linux":
        with suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)


def _to_base64(raw: bytes) -> str:
    return b64encode(raw).rstrip(b"=").decode()


def _from_base64(text: str) -> bytes:
    """The bytes, or empty bytes if the text is not canonical."""
    with suppress(ValueError):
        raw = b64decode(text + "=" * (-len(text) % 4))
        if _to_base64(raw) == text:
            return raw
    return b""
