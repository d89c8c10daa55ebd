"""Reads everything that is stored about one person, for their export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from ubr.domain.accounts.one_time_link import OneTimeLink
    from ubr.domain.accounts.user import User
    from ubr.domain.ids import SessionId, UserId
    from ubr.domain.mail.queued_mail import QueuedMail
    from ubr.domain.sessions.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerEmail:
    """The key of an e-mail that a user gave up, and the end of its reservation for them."""

    key: str = field(repr=False)
    until: datetime


class PersonalRecords(msgspec.Struct, frozen=True, kw_only=True):
    """The rows about a user beside their account, sessions and log entries, each list oldest first.

    `known_clients` are the times at which clients last logged in: a client itself is an HMAC. `results` counts the
    stored results of calls with an idempotency key, by the user or about the user; they are kept until `results_until`.
    """

    former_emails: Sequence[FormerEmail]
    known_clients: Sequence[datetime]
    links: Sequence[OneTimeLink]
    mails: Sequence[QueuedMail]
    results: int
    results_until: datetime | None


class PersonalData(Protocol):
    """Takes no locks. Rows that have expired count until they are deleted."""

    async def of(self, user: User) -> PersonalRecords:
        """The rows about a user, and the links and mails to their e-mail that belong to no user."""
        ...

    async def sessions(self, user_id: UserId, after: SessionId | None, limit: int) -> list[Session]:
        """At most `limit` sessions of a user, ended ones included, in the order of ids, from the first one after
        `after`.
        """
        ...
