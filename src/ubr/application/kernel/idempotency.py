"""Calls that are tried again: what was done under a key is answered again, and not done twice."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from ubr.application.kernel.command import Command
from ubr.application.kernel.representations import Revised
from ubr.application.ports.idempotency import IdempotencyRecord
from ubr.application.ports.secrets import Signer
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import IdempotencyKeyReused, Invalid
from ubr.domain.ids import UserId

A = TypeVar("A", bound=Revised | None)

KEPT: Final = timedelta(hours=24)
"""How long a call is known by its key."""

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_PURPOSE: Final = "idempotency"
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """One of several tries at a call. The caller made up a key for that call alone, and says it with each of them.

    Errors: `Invalid` for a key that is not 1 to 255 visible ASCII characters.
    """

    key: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise Invalid("An idempotency key must have 1 to 255 visible ASCII characters")


@dataclass(frozen=True, slots=True)
class Answered(Generic[A]):
    """What a call was answered before. The result may be None."""

    result: A


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A result as it is stored. Its revision is no field of it."""

    revision: str
    result: msgspec.Raw


@dataclass(frozen=True, slots=True)
class IdempotentCall(Generic[A]):
    """One try at a call. Where it has no key, nothing is known of it and nothing is kept."""

    unit_of_work: UnitOfWork
    signer: Signer
    actor_id: UserId | None
    answer: type[A]
    digest: bytes | None = None
    asked: bytes = field(default=b"", repr=False)

    async def answered(self) -> Answered[A] | None:
        """What it was answered before; None where it was not yet. Cheap, and to be asked before work that is not.

        Authorization comes first, as everywhere. Errors: `IdempotencyKeyReused`.
        """
        if self.digest is None:
            return None
        async with self.unit_of_work.read() as tx:
            return self._same(await tx.idempotency.find(self.digest, tx.now))

    async def claim(self, tx: Transaction) -> Answered[A] | None:
        """Make this unit the one that does it; what was answered where another has done it, and then nothing is left
        to do. One that is at it is waited for. Errors: `IdempotencyKeyReused`.
        """
        if self.digest is None:
            return None
        return self._same(await tx.idempotency.claim(self.digest, tx.now))

    async def keep(self, tx: Transaction, result: A, *, made: UserId | None = None) -> None:
        """Store the answer with the effect. It goes with the actor, and with the user who was `made`."""
        if self.digest is None:
            return
        await tx.idempotency.keep(
            IdempotencyRecord(
                digest=self.digest,
                fingerprint=self.signer.sign(_PURPOSE, self.asked),
                actor_id=self.actor_id,
                user_id=made,
                result=_stored(result),
                expires_at=tx.now + KEPT,
            )
        )

    def _same(self, replay: IdempotencyRecord | None) -> Answered[A] | None:
        """The answer, where it was given to the same request."""
        if replay is None:
            return None
        if not self.signer.verify(_PURPOSE, self.asked, replay.fingerprint):
            raise IdempotencyKeyReused
        return Answered(self._read(replay.result))

    def _read(self, stored: bytes) -> A:
        kept = msgspec.json.decode(stored, type=_Kept | None)
        if kept is None:
            return cast("A", None)
        result: A = msgspec.json.decode(kept.result, type=self.answer)
        result.__dict__["revision"] = kept.revision
        return result


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Knows calls again by their keys.

    - A key belongs to its actor and to one use case. Strangers have no names: theirs belong to whoever knows them.
    - What is asked is the whole command, passwords included, and is kept as an HMAC alone. The key is part of it, so
      that without it nobody can try passwords on what is stored, whoever has the database and the secret.
    - The key itself is kept as a digest: it is still found when the secret has been replaced.
    """

    unit_of_work: UnitOfWork
    signer: Signer

    def of(
        self, idempotency_key: IdempotencyKey | None, command: Command, *, actor: Actor | System | None, answer: type[A]
    ) -> IdempotentCall[A]:
        """This try at a call, which answers with a result of this type, or with None."""
        actor_id = actor.user_id if isinstance(actor, Actor) else None
        if idempotency_key is None:
            return IdempotentCall(self.unit_of_work, self.signer, actor_id, answer)
        whose = str(actor_id) if isinstance(actor, Actor) else repr(actor)
        name = [type(command).__name__, whose, idempotency_key.key]
        digest = hashlib.sha256(_encode(name)).digest()
        return IdempotentCall(
            self.unit_of_work, self.signer, actor_id, answer, digest, _encode([*name, _given(command)])
        )


def _given(command: Command) -> dict[str, Any]:
    """What a command says beside its defaults: one field more in a later version makes no other call of it."""
    return {
        each.name: value
        for each in msgspec.structs.fields(command)
        if (value := getattr(command, each.name)) != _default(each)
    }


def _default(each: msgspec.structs.FieldInfo) -> Any:
    return each.default if each.default_factory is msgspec.NODEFAULT else each.default_factory()


def _stored(result: Revised | None) -> bytes:
    if result is None:
        return _encode(None)
    return _encode(_Kept(revision=result.revision, result=msgspec.Raw(_encode(result))))
