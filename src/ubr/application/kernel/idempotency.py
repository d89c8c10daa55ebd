"""Idempotent calls: a repeated call with the same key gets the stored result, and has no second effect."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from ubr.application.kernel.command import Command
from ubr.application.kernel.representations import Revised
from ubr.application.ports.idempotency import IdempotencyRecord
from ubr.application.ports.secrets import Signer
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.concealed import Concealed
from ubr.domain.errors import IdempotencyKeyReused, Invalid
from ubr.domain.events import IdempotencyKeyMismatched
from ubr.domain.ids import UserId

A = TypeVar("A", bound=Revised | None)

MAX_MISMATCHES: Final = 5
"""Number of other requests with a key after which its result is forgotten.

The answer tells whether a request, with its password, is the same as the first: more would be guesses.
"""

KEPT: Final = timedelta(hours=24)
"""How long the result of a key is kept."""

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_PURPOSE: Final = "idempotency"
_encode: Final = msgspec.json.Encoder().encode


class IdempotencyKey(Concealed, frozen=True):
    """The key of a call, chosen by the caller for that call alone, and sent with each attempt.

    Errors: `Invalid` for a key that is not 1 to 255 visible ASCII characters.
    """

    key: str

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise Invalid("An idempotency key must have 1 to 255 visible ASCII characters")


class Answered(msgspec.Struct, Generic[A], frozen=True):
    """The stored result of an earlier attempt. The result may be None."""

    result: A


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A result in stored form. The revision is separate, because it is not a field of the result."""

    revision: str
    result: msgspec.Raw


class IdempotentCall(Concealed, Generic[A], frozen=True):
    """One attempt at a call. Without a key, no result is looked up or stored."""

    unit_of_work: UnitOfWork
    signer: Signer
    actor: Actor | System | None
    answer: type[A]
    digest: bytes | None = None
    asked: bytes = b""

    async def answered(self) -> Answered[A] | None:
        """The stored result; None if there is none yet. Cheap: call it before expensive work.

        Authorization comes first, as everywhere. Errors: `IdempotencyKeyReused`.
        """
        if self.digest is None:
            return None
        async with self.unit_of_work.read() as tx:
            if await tx.idempotency.find(self.digest, tx.now) is None:
                return None
        # Requests are compared one after the other: many at once are not more guesses.
        async with self.unit_of_work.begin(self.actor) as tx:
            return await self._compared(tx, await tx.idempotency.find(self.digest, tx.now))

    async def claim(self, tx: Transaction) -> Answered[A] | None:
        """Claim the call for this unit. Returns the stored result if another unit has done the call; nothing is left to
        do then.

        Waits for a concurrent unit that holds the claim. Call it before the unit writes anything: for a request that
        differs from the first, it commits the unit with its count and an audit log entry.
        Errors: `IdempotencyKeyReused`.
        """
        if self.digest is None:
            return None
        return await self._compared(tx, await tx.idempotency.claim(self.digest, tx.now))

    async def _compared(self, tx: Transaction, replay: IdempotencyRecord | None) -> Answered[A] | None:
        """The stored result, if it belongs to the same request. The record is locked."""
        if replay is None:
            return None
        if not self.signer.verify(_PURPOSE, self.asked, replay.fingerprint):
            if count := await tx.idempotency.mismatched(replay.digest, MAX_MISMATCHES):
                tx.record(IdempotencyKeyMismatched(user_id=replay.user_id, mismatches=count))
                await tx.commit()
            raise IdempotencyKeyReused
        return Answered(self._read(replay.result))

    async def keep(self, tx: Transaction, result: A, *, made: UserId | None = None) -> None:
        """Store the result with the effect. It is deleted with the actor, and with the user who was `made`."""
        if self.digest is None:
            return
        await tx.idempotency.keep(
            IdempotencyRecord(
                digest=self.digest,
                fingerprint=self.signer.sign(_PURPOSE, self.asked),
                actor_id=_id_of(self.actor),
                user_id=made,
                result=_stored(result),
                expires_at=tx.now + KEPT,
            )
        )

    def _read(self, stored: bytes) -> A:
        kept = msgspec.json.decode(stored, type=_Kept | None)
        if kept is None:
            return cast("A", None)
        result: A = msgspec.json.decode(kept.result, type=self.answer)
        result.__dict__["revision"] = kept.revision
        return result


class Idempotency(msgspec.Struct, frozen=True):
    """Recognises repeated calls by their keys.

    - A key belongs to its actor and to one use case. Anonymous callers have no identity: their keys are shared by all
      who know them.
    - The request is the whole command, passwords included. Only its HMAC is stored. The HMAC covers the key, so that
      even with the database and the secret, passwords cannot be guessed against it without the key.
    - A request with the key of another one is refused, counted, and an audit log entry. After a few of these the result
      is forgotten and every request with the key is refused, so that the password of the first cannot be guessed.
    - The key is stored as a digest, and is therefore still found after the secret was replaced.
    """

    unit_of_work: UnitOfWork
    signer: Signer

    def of(
        self, idempotency_key: IdempotencyKey | None, command: Command, *, actor: Actor | System | None, answer: type[A]
    ) -> IdempotentCall[A]:
        """An attempt at a call that returns this type, or None."""
        if idempotency_key is None:
            return IdempotentCall(self.unit_of_work, self.signer, actor, answer)
        whose = str(actor.user_id) if isinstance(actor, Actor) else repr(actor)
        name = [type(command).__name__, whose, idempotency_key.key]
        digest = hashlib.sha256(_encode(name)).digest()
        return IdempotentCall(self.unit_of_work, self.signer, actor, answer, digest, _encode([*name, _given(command)]))


def _id_of(actor: Actor | System | None) -> UserId | None:
    return actor.user_id if isinstance(actor, Actor) else None


def _given(command: Command) -> dict[str, Any]:
    """The fields of a command that differ from their defaults, so that a field added in a later version does not change
    the request. The order of the members of an object has no meaning (RFC 8259, 4).
    """
    return {
        each.name: dict(sorted(value.items())) if isinstance(value, dict) else value
        for each in msgspec.structs.fields(command)
        if (value := getattr(command, each.name)) != _default(each)
    }


def _default(each: msgspec.structs.FieldInfo) -> Any:
    return each.default if each.default_factory is msgspec.NODEFAULT else each.default_factory()


def _stored(result: Revised | None) -> bytes:
    if result is None:
        return _encode(None)
    return _encode(_Kept(revision=result.revision, result=msgspec.Raw(_encode(result))))
