"""Follows what ends in ubr, and judges tokens by it."""

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
from ubr.verifier.source import Access, Credentials, Denied, Source, Unreachable, plain
from ubr.verifier.tokens import Claims, TokenReader, VerifiedToken, check_times

_HISTORY: Final = 5_000
"""How many rows back a view begins, so that tokens of before its start are known to be good."""

_KEYS_PAUSE: Final = 1.0
"""Seconds between two readings of the keys for tokens whose key is not known: anybody can make those up."""

_KEYS_RENEWED: Final = 300.0
"""The age in seconds at which keys are read again: one may have retired."""

_KEYS_LAST: Final = 600.0
"""The age at which they are no longer relied on."""

_DEADLINE: Final = 1.5
_PACE: Final = 0.01
_NOT_RUNNING: Final = "The verifier does not run: a token is verified within `async with`, in the event loop of that"
_FIRST_PAUSE: Final = 0.05
_MAX_PAUSE: Final = 1.0
_MAX_PAUSE_DENIED: Final = 10.0

_log = logging.getLogger("ubr.verifier")


class Verifier:
    """One for each process; all its requests share what it knows.

    `url` is where ubr is, `access` what to log in with there or a function that gives an access token, `issuer` and
    `audience` are ubr's `UBR_ISSUER` and `UBR_AUDIENCE`. `patience` is how long, in seconds, a request waits for a
    view that is not fresh, `wait` how long ubr holds a question at most. `plain_http` allows an address that begins
    with `http:` and is not on this machine: whoever stands in between reads tokens there and answers for ubr.

    What `verify` accepts was good at the moment of the call: once ubr has answered that something ended, no call that
    comes after is told otherwise.
    """

    def __init__(
        self,
        url: str,
        access: Access | Credentials,
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
            raise ValueError(f"{url} is not https: answers could be forged. plain_http=True says that this is meant")
        self._url = url
        self._access = access
        self._patience = patience
        self._wait = wait
        self._transport = transport
        self._elapsed = elapsed
        self._clock = clock
        self._reader = TokenReader(issuer, audience)
        self._view = RevocationCache()
        self._polled = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one it runs in; None while it does not run."""
        self._keys_read: float | None = None
        """When the reading of the known keys began; None where there are none to rely on."""
        self._keys_due = True
        self._keys_dropped = 0
        self._reading: asyncio.Task[bool] | None = None
        self._readings: set[asyncio.Task[bool]] = set()

    async def __aenter__(self) -> Self:
        """Begin to follow. Where ubr is out of reach this goes on all the same, and `verify` says `NotFresh`.

        Errors: `RuntimeError` where it runs already.
        """
        if self._loop is not None:
            raise RuntimeError("The verifier runs already: have one for each process, entered once")
        self._loop = asyncio.get_running_loop()
        # Not sooner: two processes that were forked from one must not speak as one.
        self._id = uuid4()
        self._source = Source(self._url, self._access, self._elapsed, self._transport)
        self._following = asyncio.create_task(self._follow())
        try:
            async with asyncio.timeout(self._patience):
                await self._until(self._ready)
        except TimeoutError:
            _log.warning("ubr is out of reach; no token is accepted until it is not")
        except BaseException:
            await self.__aexit__(None, None, None)  # which nobody else will
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop = None
        self._tell()  # whoever waits need not wait any longer
        tasks = [self._following, *self._readings]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._view.begin_anew(None)
        await self._source.close(self._id)

    async def verify(self, access_token: str) -> VerifiedToken:
        """Whose token it is, and that it is good now.

        Errors: `Refused` where it is not; `NotFresh` where that cannot be known in time, and where the verifier does
        not run, in this event loop. No others.
        """
        if self._loop is not asyncio.get_running_loop():
            raise NotFresh(_NOT_RUNNING)
        called = self._elapsed()
        try:
            async with asyncio.timeout(self._patience):
                claims = await self._read(access_token, called)
                check_times(claims.token, self._clock())
                await self._until(self._ready)
                if claims.epoch != self._view.epoch and not self._view.has_left(claims.epoch):
                    # It may be of an epoch that has just begun.
                    await self._until(lambda: self._view.fresh(self._elapsed()) and self._view.asked_since(called))
        except TimeoutError:
            raise NotFresh("What ubr knows could not be learned in time") from None
        # From here on nothing is waited for: what is fresh now is what is judged by, and the keys may be others by now.
        claims = self._reader.read(access_token)
        check_times(claims.token, self._clock())
        if (objection := self._view.objection(claims)) is not None:
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
        """Whether what is known can be relied on."""
        now = self._elapsed()
        return self._view.fresh(now) and self._keys_read is not None and now - self._keys_read <= _KEYS_LAST

    async def _until(self, satisfied: Callable[[], bool]) -> None:
        """Wait for the one poll that all share, and for the next, until it is so. Errors: `NotFresh` at the end."""
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
            except Exception as error:  # noqa: BLE001 - a function of the service's own may raise anything
                if not complained:
                    _log.warning("ubr cannot be followed: %s", error if isinstance(error, Unreachable) else repr(error))
                complained = True
                # Shortened at random, so that the processes of a service do not all knock at once.
                await asyncio.sleep(pause * (1 - random.random() / 2))  # noqa: S311 - no secret
                pause = min(2 * pause, _MAX_PAUSE_DENIED if isinstance(error, Denied) else _MAX_PAUSE)
            else:
                pause, complained = _FIRST_PAUSE, False
                await asyncio.sleep(_PACE if self._elapsed() - began < _PACE else 0)

    def _tell(self) -> None:
        """Wake who waits."""
        told, self._polled = self._polled, asyncio.Event()
        told.set()

    async def _poll(self) -> None:
        """One question and what is learned from it. Errors: `Unreachable`."""
        # Apart from the question: that has to be answered at once, and a login may have to wait.
        await self._source.ready()
        view = self._view
        since, wait = view.number, self._wait
        if view.epoch is None:
            position = await self._source.revocations(self._id)
            view.begin_anew(position.epoch)
            since, wait = max(0, position.number - _HISTORY), 0.0
        sent = self._elapsed()
        try:
            async with asyncio.timeout(self._wait + _DEADLINE):
                told = await self._source.revocations(self._id, since=since, epoch=view.epoch, wait=wait)
        except TimeoutError:
            raise Unreachable("TimeoutError") from None
        if told.epoch != view.epoch:
            # A restore, or another server: what was known is of another history, and so are the tokens of then.
            _log.warning("The feed of ubr has a new epoch; tokens from before it are refused")
            view.begin_anew(None)
        elif told.number < since:
            _log.warning("The feed of ubr went back; tokens from before are refused")
            view.begin_anew(None, self._clock())
        else:
            if not view.apply(sent, told):
                self._drop_keys()
            for row in told.rows:
                if row.change.kind == "key":
                    self._reader.revoke(row.change.id)
                    self._keys_due = True
            self._tell()
        if self._keys_due or self._keys_read is None or self._elapsed() - self._keys_read > _KEYS_RENEWED:
            _ = self._begin_to_read_keys()

    def _drop_keys(self) -> None:
        """Rows may have been missed, and by one of them a key revoked: none counts until they were read anew."""
        self._reader.install([])
        self._keys_read = None
        self._keys_dropped += 1
        self._reading = None  # what it brings may be from before

    async def _keys_newer_than(self, moment: float) -> bool:
        """Whether the keys were read at this moment or later, or could be now. One reading at a time."""
        if self._keys_read is not None and self._keys_read >= moment:
            return True
        reading = self._begin_to_read_keys()
        await asyncio.wait([reading])  # unlike the task itself this does not cancel who waits, where that is cancelled
        return not reading.cancelled() and reading.result()

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
