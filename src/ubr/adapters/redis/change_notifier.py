"""The fast path for change records: published to all workers, acknowledged to the worker that wrote them.

Security: only workers of this installation can make messages that verify. Others can only relay and repeat these.
Change records only make a session cache drop older data, so a repeated or late one costs a read from the store. An
acknowledgement says that a worker, or a verifier connected to one, acts on the change records of one commit of one
epoch, which stays true from then on. Messages that do not verify are ignored.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar
from uuid import uuid4

import msgspec
from redis.asyncio.connection import AbstractConnection

from ubr.adapters.redis.client import RedisClient
from ubr.adapters.redis.envelope import Envelope
from ubr.application.ports.revocation import Listener, WorkerId
from ubr.domain.errors import StoreUnavailable
from ubr.domain.revocation.changes import ChangeRecord

ROWS: Final = "feed rows"
ACKNOWLEDGEMENT: Final = "feed acknowledgement"

_AGAIN: Final = 0.2
"""Seconds after which change records are sent again to workers without an acknowledgement: they may have been away."""

_QUIET: Final = 1.0
"""Seconds of silence after which the server is pinged, and then given up."""

_FIRST_PAUSE: Final = 0.1
_MAX_PAUSE: Final = 1.0
_COMPLAIN_EVERY: Final = 60.0

_VERIFIERS: Final = 10_000
"""Maximum number of verifiers whose last acknowledgement is remembered."""

_ASKED: Final = 1_000
"""Maximum number of deliveries that wait for one verifier."""

_log = logging.getLogger("ubr.redis")

T = TypeVar("T")


class _Notification(msgspec.Struct, frozen=True, array_like=True):
    """The authenticated content of a message to all workers."""

    back: str
    """The channel for acknowledgements."""
    to: frozenset[WorkerId]
    """The workers that must acknowledge. The others apply the change records as well."""
    rows: tuple[ChangeRecord, ...]


class _Acknowledgement(msgspec.Struct, frozen=True, array_like=True):
    epoch: str
    number: int
    """The last applied number; the change records of one commit are numbered without a gap."""
    worker: WorkerId
    sealed: bytes = b""


_Place = tuple[str, int, WorkerId]

_messages: Final = msgspec.msgpack.Decoder(tuple[str, bytes])
_notifications: Final = msgspec.msgpack.Decoder(_Notification)
_acknowledgements: Final = msgspec.msgpack.Decoder(_Acknowledgement)


class _Delivery(msgspec.Struct, eq=False):
    """Change records being delivered, and the workers without an acknowledgement."""

    missing: set[_Place]
    done: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    def acknowledged(self, place: _Place) -> None:
        self.missing.discard(place)
        if not self.missing:
            self.done.set()


class _Verifier(msgspec.Struct, eq=False):
    """A verifier that is connected to this worker, and acknowledges through it."""

    epoch: str = ""
    number: int = 0
    asked: deque[tuple[str, int, str]] = msgspec.field(default_factory=lambda: deque(maxlen=_ASKED))
    """Requests for acknowledgements that were not possible yet: epoch, number, channel."""

    def acts_on(self, epoch: str, number: int) -> bool:
        return self.epoch == epoch and self.number >= number


class RedisChangeNotifier:
    """Uses the channels of one Redis, which may be down at the start and at any time after it.

    Commands go through the client, within its deadline. Listening has a separate connection.
    """

    def __init__(self, link: RedisClient, envelope: Envelope, *, dice: Callable[[], float] = random.random) -> None:
        self._link = link
        self._envelope = envelope
        self._dice = dice
        self._everybody = link.channel("feed", "rows")
        self._back = link.channel("feed", "taken", uuid4().hex)
        self._deliveries: set[_Delivery] = set()
        self._verifiers: OrderedDict[WorkerId, _Verifier] = OrderedDict()
        self._last_complaint = float("-inf")

    async def deliver(self, epoch: str, rows: Sequence[ChangeRecord], to: frozenset[WorkerId]) -> bool:
        if not to or not rows:
            return not to
        number = max(row.number for row in rows)
        delivery = _Delivery({(epoch, number, worker) for worker in to})
        self._deliveries.add(delivery)
        try:
            while not delivery.done.is_set():
                missing = frozenset(worker for _, _, worker in delivery.missing)
                await self._link.call("PUBLISH", self._everybody, self._message(epoch, rows, missing))
                with suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN):
                        await delivery.done.wait()
        except StoreUnavailable:
            return False
        finally:
            self._deliveries.discard(delivery)
        return True

    @asynccontextmanager
    async def listen(self, worker: WorkerId, listener: Listener) -> AsyncIterator[None]:
        listening = asyncio.create_task(self._listen(worker, listener))
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def acknowledge(self, worker: WorkerId, epoch: str, number: int) -> None:
        verifier = self._verifiers.setdefault(worker, _Verifier())
        self._verifiers.move_to_end(worker)
        while len(self._verifiers) > _VERIFIERS:
            self._verifiers.popitem(last=False)
        verifier.epoch, verifier.number = epoch, number
        asked = [place for place in verifier.asked if verifier.acts_on(*place[:2])]
        for place in asked:
            verifier.asked.remove(place)
        with suppress(StoreUnavailable):  # the acknowledgement is requested again then
            for of, up_to, back in asked:
                await self._link.call("PUBLISH", back, self._acknowledgement(back, of, up_to, worker))

    # --- the connection ----------------------------------------------------------------------------------------------

    async def _listen(self, worker: WorkerId, listener: Listener) -> None:
        """Listen without end: after an interruption, start again with a pause."""
        pause, lost = _FIRST_PAUSE, False
        while True:
            try:
                async with self._link.kept_connection() as connection:
                    await self._subscribe(connection)
                    if lost:
                        _log.info("The fast path is back: revocations propagate at once")
                    pause, lost = _FIRST_PAUSE, False
                    await self._take_what_comes(connection, worker, listener)
            except Exception as error:  # noqa: BLE001 - data of a broken server can raise any error
                if not lost:
                    _log.warning("The fast path is lost (%s): a revocation takes up to the bound", type(error).__name__)
                lost = True
            await asyncio.sleep(pause * (1 - self._dice() / 2))
            pause = min(2 * pause, _MAX_PAUSE)

    async def _subscribe(self, connection: AbstractConnection) -> None:
        channels = self._everybody, self._back
        await self._send(connection, "SUBSCRIBE", *channels)
        for _ in channels:  # each is confirmed, before any other message
            said = await self._receive(connection)
            if not isinstance(said, list) or said[:1] != [b"subscribe"]:
                raise ConnectionError

    async def _take_what_comes(self, connection: AbstractConnection, worker: WorkerId, listener: Listener) -> None:
        while True:
            match await self._receive(connection):
                case [b"message", channel, bytes(message)] if channel == self._everybody.encode():
                    await self._take(connection, message, worker, listener)
                case [b"message", _, bytes(message)]:
                    self._note(message)
                case _:
                    pass  # the answer to a PING, or the number of receivers of an acknowledgement
            # Messages that have arrived are read without waiting: let other tasks run, however many there are.
            await asyncio.sleep(0)

    async def _send(self, connection: AbstractConnection, *words: bytes | str) -> None:
        async with asyncio.timeout(_QUIET):
            await connection.send_command(*words)

    async def _receive(self, connection: AbstractConnection) -> object:
        """The next message of the server. Errors: `TimeoutError` if it does not answer a PING."""
        for _ in range(2):
            said: object = await connection.read_response(
                timeout=_QUIET, disconnect_on_error=False, push_request=True
            )  # The library returns None for a timeout; the server sends no None here.
            if said is not None:
                return said
            await self._send(connection, "PING")
        raise TimeoutError

    # --- messages -----------------------------------------------------------------------------------------------------

    def _message(self, epoch: str, rows: Sequence[ChangeRecord], to: frozenset[WorkerId]) -> bytes:
        payload = msgspec.msgpack.encode(_Notification(self._back, to, tuple(rows)))
        return msgspec.msgpack.encode((epoch, self._envelope.seal(ROWS, self._everybody, epoch, payload)))

    async def _take(self, connection: AbstractConnection, message: bytes, worker: WorkerId, listener: Listener) -> None:
        """Apply change records, then acknowledge on the connection that they arrived on, which keeps the order without
        waiting.
        """
        epoch, sealed = _decoded(_messages, message) or ("", b"")
        payload = self._envelope.open(ROWS, self._everybody, epoch, sealed)
        notification = None if payload is None else _decoded(_notifications, payload)
        if notification is None or not notification.rows:
            self._complain()
            return
        listener(epoch, notification.rows)
        number = max(row.number for row in notification.rows)
        for who in notification.to:
            if who == worker or self._verified(who, (epoch, number, notification.back)):
                said = self._acknowledgement(notification.back, epoch, number, who)
                await self._send(connection, "PUBLISH", notification.back, said)

    def _verified(self, who: WorkerId, asked: tuple[str, int, str]) -> bool:
        """True if a verifier has confirmed these change records to this worker; otherwise the request is remembered."""
        verifier = self._verifiers.get(who)
        if verifier is None:
            return False
        if verifier.acts_on(*asked[:2]):
            return True
        if asked not in verifier.asked:
            verifier.asked.append(asked)
        return False

    def _acknowledgement(self, back: str, epoch: str, number: int, worker: WorkerId) -> bytes:
        tag = self._envelope.seal(ACKNOWLEDGEMENT, back, epoch, b"", f"{number}", f"{worker}")
        return msgspec.msgpack.encode(_Acknowledgement(epoch, number, worker, tag))

    def _note(self, message: bytes) -> None:
        """Process an acknowledgement."""
        said = _decoded(_acknowledgements, message)
        if said is None or not self._is_true(said):
            self._complain()
            return
        for delivery in self._deliveries:
            delivery.acknowledged((said.epoch, said.number, said.worker))

    def _is_true(self, said: _Acknowledgement) -> bool:
        place = f"{said.number}", f"{said.worker}"
        return self._envelope.open(ACKNOWLEDGEMENT, self._back, said.epoch, said.sealed, *place) is not None

    def _complain(self) -> None:
        now = time.monotonic()
        if now - self._last_complaint >= _COMPLAIN_EVERY:
            self._last_complaint = now
            _log.warning("A message on the fast path is not ours; it is ignored")


def _decoded(decoder: msgspec.msgpack.Decoder[T], message: bytes) -> T | None:
    """The content of a message; None if it cannot be read."""
    try:
        return decoder.decode(message)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
