from __future__ import annotations

from typing import Annotated

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.access.field_access import administrating
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import EXAMPLE_EMAIL, EmailStr, example
from ubr.application.kernel.representations import UserResult, present_user
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.errors import UserNotFound
from ubr.domain.roles.permissions import USERS_READ


class GetUserByEmailCommand(Command, frozen=True, kw_only=True):
    email: Annotated[EmailStr, example(EXAMPLE_EMAIL)]


class GetUserByEmail(msgspec.Struct, frozen=True):
    """Read the user who has an e-mail.

    - Requires `users:read`.
    - Another spelling of the same e-mail finds the user too, as it does at login.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    denials: DenialLog
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: GetUserByEmailCommand, /, *, actor: Actor | System) -> UserResult:
        email = Email.parse(command.email)
        (await self.authorize(actor)).require(USERS_READ)
        async with self.unit_of_work.read() as tx:
            user = await tx.users.by_email(email)
            if user is None:
                raise UserNotFound
            return await present_user(tx, user, self.user_fields.seen_by(administrating(actor)))
