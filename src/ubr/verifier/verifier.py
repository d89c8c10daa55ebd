"""Follows the revocations of ubr, and verifies tokens against them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

import httpx

from ubr.verifier.clocks import elapsed as machine_elapsed
from ubr.verifier.clocks import utc_now
from ubr.verifier.errors import NotFresh, Refused, UnknownKey
from ubr.verifier.revocation_cache import RevocationCache
from ubr.verifier.source import Access, Credentials, Denied, ServiceKey, Source, Unreachable, plain
from ubr.verifier.tokens import Claims, TokenReader, VerifiedToken, check_times

_HISTORY: Final = 5_000
"""Number of past change records with which a cache starts, so that tokens from before its start can be verified."""

_KEYS_PAUSE: Final = 1.0
"""Seconds between two reads of the keys for tokens with an unknown key, because anyone can send those."""

_KEYS_RENEWED: Final = 300.0
"""The age in seconds at which keys are read again: one may have retired."""

_KEYS_LAST: Final = 600.0
"""The age in seconds at which keys are no longer relied on."""

_DEADLINE: Final = 1.5
_PACE: Final = 0.01
_NOT_RUNNING: Final = "The verifier does not run: a token is verified within `async with`, in the event loop of that"
_FIRST_PAUSE: Final = 0.05
_MAX_PAUSE: Final = 1.0
_MAX_PAUSE_DENIED: Final = 10.0

_log = logging.getLogger("ubr.verifier")


class Verifier:
    """A verifier of access tokens; one for each process, shared by all its requests.

    `url` is the address of ubr. `access` is the key or the credentials to log in with, or a function that returns an
    access token. `issuer` and `audience` are ubr's `UBR_ISSUER` and `UBR_AUDIENCE`. `patience` is the maximum number of
    seconds that a request waits for a fresh cache, `wait` the maximum that ubr holds a request. `plain_http` allows an
    `http:` address of another machine: anyone on the way can then read the tokens, and answer in place of ubr.

    A token that `verify` accepts was valid at the moment of the call: once ubr has confirmed a revocation, every later
    call takes it into account.
    """

    def __init__(
        self,
        url: str,
        access: Access | ServiceKey | Credentials,
        *,
        issuer: str,
        audience: str = "ubr",
        patience: float = 1.0,
        wait: float = 0.3,
        plain_http: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        elapsed: Callable[[], float] = machine_elapsed,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Errors: `ValueError` for an address of plain http that is not on this machine."""
        if not plain_http and plain(url):
            raise ValueError(f"{url} is not https: answers could be forged. plain_http=True allows it")
        self._url = url
        self._access = access
        self._patience = patience
        self._wait = wait
        self._transport = transport
        self._elapsed = elapsed
        self._clock = clock
        self._reader = TokenReader(issuer, audience)
        self._cache = RevocationCache()
        self._polled = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        """The event loop of the running verifier; None while it is not running."""
        self._keys_read: float | None = None
        """The time at which the read of the known keys began; None if there are none to rely on."""
        self._keys_due = True
        self._keys_dropped = 0
        self._reading: asyncio.Task[bool] | None = None
        self._readings: set[asyncio.Task[bool]] = set()

    async def __aenter__(self) -> Self:
        """Start following. This succeeds even if ubr is unavailable; `verify` then raises `NotFresh`.

        Errors: `RuntimeError` if it is already running.
        """
        if self._loop is not None:
            raise RuntimeError("The verifier is already running: use one per process, and enter it once")
        self._loop = asyncio.get_running_loop()
        # Not earlier: two processes forked from one must not share an id.
        self._id = uuid4()
        self._source = Source(self._url, self._access, self._elapsed, self._transport)
        self._following = asyncio.create_task(self._follow())
        try:
            async with asyncio.timeout(self._patience):
                await self._until(self._ready)
        except TimeoutError:
            _log.warning("ubr is unreachable; no token is accepted until it answers again")
        except BaseException:
            await self.__aexit__(None, None, None)  # Python does not call it after a failed `__aenter__`
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop = None
        self._tell()  # callers stop waiting now
        tasks = [self._following, *self._readings]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._cache.begin_anew(None)
        await self._source.close(self._id)

    async def verify(self, access_token: str) -> VerifiedToken:
        """The user and session of a token that is valid now.

        Errors: `Refused` if it is not valid; `NotFresh` if that cannot be determined in time, and if the verifier
        is not running in this event loop. No others.
        """
        if self._loop is not asyncio.get_running_loop():
            raise NotFresh(_NOT_RUNNING)
        called = self._elapsed()
        try:
            async with asyncio.timeout(self._patience):
                claims = await self._read(access_token, called)
                check_times(claims.token, self._clock())
                await self._until(self._ready)
                if claims.epoch != self._cache.epoch and not self._cache.has_left(claims.epoch):
                    # It may belong to an epoch that has just begun.
                    await self._until(lambda: self._cache.fresh(self._elapsed()) and self._cache.asked_since(called))
        except TimeoutError:
            raise NotFresh("The state of ubr could not be read in time") from None
        # There is no await from here on: the decision uses the cache that is fresh now, and the keys may have changed.
        claims = self._reader.read(access_token)
        check_times(claims.token, self._clock())
        if (objection := self._cache.objection(claims)) is not None:
            raise Refused(objection)
        return claims.token

    async def _read(self, token: str, called: float) -> Claims:
        try:
            return self._reader.read(token)
        except UnknownKey:
            if not await self._keys_newer_than(called - _KEYS_PAUSE):
                raise NotFresh("The keys of ubr could not be read") from None
            return self._reader.read(token)

    def _ready(self) -> bool:
        """True if the known state can be relied on."""
        now = self._elapsed()
        return self._cache.fresh(now) and self._keys_read is not None and now - self._keys_read <= _KEYS_LAST

    async def _until(self, satisfied: Callable[[], bool]) -> None:
        """Wait for the shared poll, and the next ones, until the condition holds. Errors: `NotFresh` when closed."""
        while not satisfied():
            await self._polled.wait()
            if self._loop is None:
                raise NotFresh(_NOT_RUNNING)

    # --- following ---------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        pause, complained = _FIRST_PAUSE, False
        while True:
            began = self._elapsed()
            try:
                await self._poll()
            except Exception as error:  # noqa: BLE001 - a function given as `access` may raise any error
                if not complained:
                    _log.warning("ubr cannot be followed: %s", error if isinstance(error, Unreachable) else repr(error))
                complained = True
                # Shortened at random, so that the processes of a service do not all retry at the same moment.
                await asyncio.sleep(pause * (1 - random.random() / 2))  # noqa: S311 - no secret
                pause = min(2 * pause, _MAX_PAUSE_DENIED if isinstance(error, Denied) else _MAX_PAUSE)
            else:
                pause, complained = _FIRST_PAUSE, False
                await asyncio.sleep(_PACE if self._elapsed() - began < _PACE else 0)

    def _tell(self) -> None:
        """Wake the waiters."""
        told, self._polled = self._polled, asyncio.Event()
        told.set()

    async def _poll(self) -> None:
        """One request, and the processing of its response. Errors: `Unreachable`."""
        # Separate from the poll, because a login may be queued.
        await self._source.ready()
        cache = self._cache
        since, wait = cache.number, self._wait
        if cache.epoch is None:
            position = await self._source.revocations(self._id)
            cache.begin_anew(position.epoch)
            since, wait = max(0, position.number - _HISTORY), 0.0
        sent = self._elapsed()
        try:
            async with asyncio.timeout(self._wait + _DEADLINE):
                told = await self._source.revocations(self._id, since=since, epoch=cache.epoch, wait=wait)
        except TimeoutError:
            raise Unreachable("TimeoutError") from None
        if told.epoch != cache.epoch:
            # A restore, or another server: the known state and older tokens belong to another history.
            _log.warning("The feed of ubr has a new epoch; tokens from before it are refused")
            cache.begin_anew(None)
        elif told.number < since:
            _log.warning("The feed of ubr went back; tokens from before are refused")
            cache.begin_anew(None, self._clock())
        else:
            if not cache.apply(sent, told):
                self._drop_keys()
            for row in told.rows:
                if row.change.kind == "key":
                    self._reader.revoke(row.change.id)
                    self._keys_due = True
            self._tell()
        if self._keys_due or self._keys_read is None or self._elapsed() - self._keys_read > _KEYS_RENEWED:
            _ = self._begin_to_read_keys()

    def _drop_keys(self) -> None:
        """Trust no key until the next read: a missed change record may be the revocation of a key."""
        self._reader.install([])
        self._keys_read = None
        self._keys_dropped += 1
        self._reading = None  # its result may be from before

    async def _keys_newer_than(self, moment: float) -> bool:
        """True if the keys were read at this moment or later, or can be read now. One read runs at a time."""
        while self._keys_read is None or self._keys_read < moment:
            dropped = self._keys_dropped
            reading = self._begin_to_read_keys()
            await asyncio.wait([reading])  # awaiting the task itself would cancel the caller if the task is cancelled
            # A read that was overtaken by a gap in the feed says nothing about ubr: read again.
            if dropped == self._keys_dropped and (reading.cancelled() or not reading.result()):
                return False
        return True

    def _begin_to_read_keys(self) -> asyncio.Task[bool]:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_keys())
            self._readings.add(self._reading)
            self._reading.add_done_callback(self._readings.discard)
        return self._reading

    async def _read_keys(self) -> bool:
        began, dropped = self._elapsed(), self._keys_dropped
        self._keys_due = False
        try:
            keys = await self._source.keys()
        except Unreachable:
            self._keys_due = True
            return False
        if dropped != self._keys_dropped:
            return False
        self._reader.install(keys)
        self._keys_read = began
        self._tell()
        return True
