from __future__ import annotations

from typing import Annotated

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.access.field_access import reading
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import example
from ubr.application.kernel.representations import UserResult, user_result
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.system import Clock
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor


class MeResult(UserResult, frozen=True, kw_only=True):
    """The user, with `permissions`: everything that the user may do now, `*` alone if that is everything."""

    permissions: Annotated[list[str], example(["notes:edit"])]


class GetMe(msgspec.Struct, frozen=True):
    """Read one's own user, with one's current permissions.

    - `permissions` has the built-in ones and those of `UBR_PERMISSIONS`. `*` stands for all of them.
    - It changes as soon as a role is assigned, changed, or ends.
    """

    authorize: Authorize
    clock: Clock
    denials: DenialLog
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    async def __call__(self, *, actor: Actor) -> MeResult:
        who = await self.authorize(actor)
        me = who.require_user()
        view = self.user_fields.seen_by(reading(who))
        shown = who.permissions.names_to_show()
        return user_result(MeResult, me.user, me.roles, self.clock(), view, permissions=shown)
