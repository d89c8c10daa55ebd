from __future__ import annotations

from typing import Annotated, Final

import msgspec

from ubr.application.accounts.field_index import declare, index
from ubr.application.kernel.command import Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import example
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Forbidden
from ubr.domain.ids import UserId

BATCH: Final = 500
"""The users whose fields one unit indexes."""


class IndexedFieldsResult(Result, frozen=True, kw_only=True):
    """`users` is the number of persons whose fields were indexed."""

    users: Annotated[int, example(1200)]


class IndexUserFields(msgspec.Struct, frozen=True):
    """Let users be found by the fields that are searchable now.

    - Only the service itself may do this: after a change of the declaration, in every process.
    - A user who is written is indexed by that. This adds those who were written before, and the defaults of new fields.
    - A background job does this for the users who need it. This does it at once, and for every user.
    - A call that was interrupted is completed by another one.
    """

    unit_of_work: UnitOfWork
    denials: DenialLog
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    async def __call__(self, *, actor: Actor | System) -> IndexedFieldsResult:
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may index fields")
        await declare(self.unit_of_work, self.user_fields)
        users, last = 0, await self._batch(None)
        while last is not None:
            count, user_id = last
            users += count
            last = await self._batch(user_id)
        return IndexedFieldsResult(users=users)

    @retry_on_conflict
    async def _batch(self, after: UserId | None) -> tuple[int, UserId] | None:
        """The number of the next users, and the last of them; None if there are no more."""
        async with self.unit_of_work.begin(None) as tx:
            found = await tx.users.field_values(after, BATCH)
            if not found:
                return None
            await index(tx, self.user_fields, found)
            await tx.commit()
        return len(found), found[-1][0]
