"""Who an actor is for the fields of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ubr.domain.accounts.user_field import Access
from ubr.domain.actor import Actor, System
from ubr.domain.roles.permissions import USERS_READ, USERS_WRITE, Permission

if TYPE_CHECKING:
    from ubr.application.access.authorization import Authority


def reading(who: Authority) -> Access:
    """The level at which an actor reads fields."""
    return _level(who, USERS_READ)


def writing(who: Authority) -> Access:
    """The level at which an actor writes fields."""
    return _level(who, USERS_WRITE)


def administrating(actor: Actor | System | None) -> Access:
    """The level of an actor in an act that requires a permission of administrators anyway."""
    return Access.HOST if isinstance(actor, System) else Access.ADMINS


def _level(who: Authority, permission: Permission) -> Access:
    if who.principal is None:
        return Access.HOST
    return Access.ADMINS if who.permissions.allow(permission) else Access.USER
