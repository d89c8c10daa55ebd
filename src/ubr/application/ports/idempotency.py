"""What was answered to calls that came with a key. Inside a unit of work."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ubr.domain.ids import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRecord:
    """An answer, and how the call is known again: nothing that its caller sent stands here in clear.

    `digest` stands for the key and whose it is, `fingerprint` for what was asked. `user_id` is the user that was made:
    with that user, and with the actor, the answer goes.
    """

    digest: bytes
    fingerprint: bytes
    actor_id: UserId | None
    user_id: UserId | None
    result: bytes = field(repr=False)
    expires_at: datetime


class IdempotencyStore(Protocol):
    async def find(self, digest: bytes, now: datetime) -> IdempotencyRecord | None:
        """What was answered; None where nothing was, or it has expired. Never locked."""
        ...

    async def claim(self, digest: bytes, now: datetime) -> IdempotencyRecord | None:
        """Take the digest for this unit; what was answered where another has done so before, and then nothing is taken.

        One that has it at this moment is waited for: where it is rolled back, this unit takes it. So is what has
        expired. Without `keep` a claim leaves nothing behind that anybody would find.
        """
        ...

    async def keep(self, replay: IdempotencyRecord) -> None:
        """Store the answer of a call whose digest this unit has taken.

        Errors: `TransactionConflict` where the actor or the user is gone by then.
        """
        ...

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Delete at most `limit` that expired before this. The number deleted."""
        ...
