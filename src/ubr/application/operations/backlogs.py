"""The work that waits in the store, for operators."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.keys.signing_key import signer


class Backlogs(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers and ages at one moment. An age is 0 if nothing waits; `key_age` is None without a signing key."""

    audit_entries: int
    """Audit log entries that are not in the tree yet."""
    audit_age: timedelta
    mails_due: int
    mails_dead: int
    mail_age: timedelta
    """The time since the mail that has been due for the longest became due."""
    key_age: timedelta | None


class ReadBacklogs(msgspec.Struct, frozen=True):
    """Reads them in one unit, because ages count by the clock of the store."""

    unit_of_work: UnitOfWork

    async def __call__(self) -> Backlogs:
        """Errors: `LogDamaged` if the queued entries cannot be read; `StoreUnavailable`."""
        async with self.unit_of_work.read() as tx:
            now = tx.now
            entries = await tx.log_tree.backlog()
            mails = await tx.outbox.backlog(now)
            key = signer(await tx.signing_keys.all(), now)
        return Backlogs(
            audit_entries=entries.entries,
            audit_age=entries.age(now),
            mails_due=mails.due,
            mails_dead=mails.dead,
            mail_age=mails.age(now),
            key_age=None if key is None else max(timedelta(0), now - key.created_at),
        )
