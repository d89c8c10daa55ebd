"""One-time links, as they are kept: by the digests of their tokens. Inside a unit of work."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from ubr.domain.link import Link, LinkKind
from ubr.domain.values import Email, TokenDigest, UserId


class Links(Protocol):
    async def add(self, link: Link) -> None:
        """Store a link. Older ones of its kind for the same account, or e-mail where there is none, are deleted.

        But for those that undo a change of e-mail: each goes back to another one. Errors: `UserNotFound`.
        """
        ...

    async def get(self, digest: TokenDigest) -> Link | None:
        """The link, expired or not, never locked; None where there is none, or it was redeemed."""
        ...

    async def redeem(self, digest: TokenDigest, now: datetime) -> Link | None:
        """Take a link that is good out of the store, in one step; None where there is none.

        However many try at once, one gets it. Where its unit is rolled back it is as good as before.
        """
        ...

    async def pending(self, kind: LinkKind, email: Email, now: datetime) -> Link | None:
        """A link of this kind to an e-mail, for no account yet, that is good; never locked."""
        ...

    async def forget_of(self, user_id: UserId, *, changed_since: datetime | None) -> None:
        """Delete the links of a user; of those that undo a change of e-mail those of changes since then, or none."""
        ...

    async def forget_all(self, limit: int) -> int:
        """Delete at most `limit` links, whosever they are. The number deleted."""
        ...

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Delete at most `limit` links that expired before this. The number deleted."""
        ...
