"""Authority by name: other services may trust the name of a role in a token.

Deciding which users have a name requires `roles:assign`, as giving them a role does.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from ubr.application.access.authorization import Authority
from ubr.application.ports.unit_of_work import Transaction
from ubr.domain.errors import Forbidden
from ubr.domain.roles.permissions import ROLES_ASSIGN, Permissions
from ubr.domain.roles.role import Role

NAME_REMEMBERED: Final = timedelta(days=1)
"""How long the former name of a role is remembered: longer than any access token that holds it, and long enough for
the operators of other services to notice.
"""


_ASSIGNING: Final = Permissions.of([ROLES_ASSIGN])


async def give_up_name(tx: Transaction, who: Authority, role: Role, *, renamed: bool) -> None:
    """Remember the name of a role that is about to be renamed or deleted.

    Errors, if users hold the role: `Forbidden` if the actor may not assign roles; `GrantExceedsOwn` if the role is
    renamed and the actor loses that permission, because its users would have the new name for good.
    """
    if await tx.roles.held(role.id, tx.now):
        if not who.permissions.allow(ROLES_ASSIGN):
            raise Forbidden("Users hold this role: another name, or its deletion, also requires roles:assign")
        if renamed:
            who.forbid_outliving(_ASSIGNING, None, tx.now)
    await tx.roles.give_up_name(role, tx.now + NAME_REMEMBERED)


async def take_name(tx: Transaction, who: Authority, role: Role) -> None:
    """Check the new name of a role that was just stored.

    Errors: `Forbidden` if another role had the name within a day, and the actor may not assign roles;
    `GrantExceedsOwn` if the actor loses that permission, because the name is for good.
    """
    if not await tx.roles.name_given_up(role, tx.now):
        return
    if not who.permissions.allow(ROLES_ASSIGN):
        raise Forbidden("Another role had this name within a day: taking it also requires roles:assign")
    who.forbid_outliving(_ASSIGNING, None, tx.now)
