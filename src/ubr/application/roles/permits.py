from __future__ import annotations

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.domain.actor import Actor, System


class Permits(msgspec.Struct, frozen=True):
    """Ask whether an actor holds a permission now.

    - The permission is a built-in one, or one of `UBR_PERMISSIONS`. A holder of `*` holds every one.
    - The answer is up to date, normally without a query. A negative answer makes no audit log entry: the calling
      program decides what it denies.

    Errors: `Invalid` for a permission that this installation does not have; `InvalidToken` if the session has ended or
    the user is not active.
    """

    authorize: Authorize
    policy: OperatorPolicy

    async def __call__(self, who: Actor | System, permission: str, /) -> bool:
        wanted = self.policy.permission(permission, "/permission")
        return (await self.authorize(who)).permissions.allow(wanted)
