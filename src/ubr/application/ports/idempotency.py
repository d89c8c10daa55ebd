"""The stored results of calls with an idempotency key. These run inside a unit of work."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from ubr.domain.concealed import Concealed

if TYPE_CHECKING:
    from ubr.domain.ids import UserId


class IdempotencyRecord(Concealed, frozen=True, kw_only=True):
    """A result, with hashes that identify the call: nothing that the caller sent is stored in clear.

    `digest` identifies the key and its owner, `fingerprint` the request. `user_id` is the user that the call created.
    The record is deleted with that user, and with the actor. `mismatches` is the number of other requests with the key.
    """

    digest: bytes
    fingerprint: bytes
    actor_id: UserId | None
    user_id: UserId | None
    result: bytes
    expires_at: datetime
    mismatches: int = 0


class IdempotencyStore(Protocol):
    async def find(self, digest: bytes, now: datetime) -> IdempotencyRecord | None:
        """The stored result; None if there is none, or it has expired. In a writing unit it is locked until the end."""
        ...

    async def claim(self, digest: bytes, now: datetime) -> IdempotencyRecord | None:
        """Claim the digest for this unit. If another unit has stored a result, return that and claim nothing.

        A unit that holds the claim is waited for; if it is rolled back, this unit gets the claim. An expired record is
        replaced. A claim without `keep` leaves no visible trace.
        """
        ...

    async def keep(self, replay: IdempotencyRecord) -> None:
        """Store the result of a call whose digest this unit has claimed.

        Errors: `TransactionConflict` if the actor or the user has been deleted in the meantime.
        """
        ...

    async def mismatched(self, digest: bytes, limit: int) -> int:
        """Count a request that differs from the one with a result, and that this unit has locked.

        Returns the number of these requests so far. The one that reaches `limit` erases the fingerprint and the result:
        no request is the same then, and the digest stays claimed until it expires. Further ones are not counted, and
        return 0.
        """
        ...

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Delete at most `limit` records that expired before this. Returns the number deleted."""
        ...
