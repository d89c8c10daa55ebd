"""Current permissions of an actor. Every use case looks them up and trusts nothing that an actor carries."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from ubr.domain.accounts.user import REAUTHENTICATION, User
from ubr.domain.actor import Actor, System
from ubr.domain.errors import (
    Forbidden,
    GrantExceedsOwn,
    InvalidToken,
    LastAdmin,
    ReauthenticationRequired,
    Unauthenticated,
)
from ubr.domain.roles.permissions import EVERYTHING, Permission, Permissions, union

if TYPE_CHECKING:
    from ubr.application.access.session_cache import SessionCache
    from ubr.application.ports.sessions import Principal
    from ubr.application.ports.system import Clock
    from ubr.application.ports.unit_of_work import Transaction
    from ubr.domain.ids import UserId


class Authority(msgspec.Struct, frozen=True):
    """An actor's permissions, based on the rows of one unit of work. `principal` is None for the service itself."""

    permissions: Permissions
    principal: Principal | None = None

    def require(self, *needed: Permission) -> None:
        """Errors: `Forbidden` if any of the permissions is missing."""
        for permission in needed:
            if not self.permissions.allow(permission):
                raise Forbidden(f"This requires the permission {permission}")

    def require_recent_login(self, now: datetime) -> None:
        """Require of a user that they logged in within the last 10 minutes. Errors: `ReauthenticationRequired`."""
        if self.principal is not None and now - self.principal.session.created_at > REAUTHENTICATION:
            raise ReauthenticationRequired

    @property
    def user_id(self) -> UserId | None:
        """The acting user; None for the service itself."""
        return None if self.principal is None else self.principal.user.id

    @property
    def user(self) -> User:
        """The acting user. Errors: those of `require_user`."""
        return self.require_user().user

    def require_user(self) -> Principal:
        """The acting user with their session and roles. Errors: `Forbidden` for the service itself."""
        if self.principal is None:
            raise Forbidden("Only users may do this")
        return self.principal

    def forbid_outliving(self, given: Permissions, until: datetime | None, now: datetime) -> None:
        """No permission outlives that of its grantor: otherwise a grant with an end could create one without.

        `until` None means without an end. Errors: `GrantExceedsOwn` if the actor loses one of the permissions earlier.
        """
        own = None if self.principal is None else self.principal.holds_until(given, now)
        if own is not None and (until is None or until > own):
            raise GrantExceedsOwn("Your own permission ends before this one would")

    def is_user(self, user_id: UserId) -> bool:
        return self.user_id == user_id

    def require_self_or(self, user_id: UserId, permission: Permission) -> None:
        """Errors: `Forbidden` unless the actor is this user or holds the permission."""
        if not self.is_user(user_id):
            self.require(permission)


async def authority(tx: Transaction, actor: Actor | System | None) -> Authority:
    """The actor's current permissions, from the rows of a writing unit. Call it before any other read.

    Errors: `Unauthenticated` without an actor; `InvalidToken` if the session has ended or the user is not active.
    """
    if not isinstance(actor, Actor):
        return _without_session(actor)
    principal = _checked(actor, await tx.principals.get(actor.session_id), tx.now)
    return Authority(principal.permissions_at(tx.now), principal)


class Authorize(msgspec.Struct, frozen=True):
    """The actor's permissions at the start of a use case, from the session cache: normally without a query.

    Errors: those of `authority`; `StoreUnavailable` if they cannot be determined in time.
    """

    session_cache: SessionCache
    clock: Clock

    async def __call__(self, actor: Actor | System | None) -> Authority:
        if not isinstance(actor, Actor):
            return _without_session(actor)
        principal, now = await self._live(actor)
        return Authority(principal.permissions_at(now), principal)

    async def check(self, actor: Actor) -> None:
        """Only the errors: for callers that need no permissions."""
        await self._live(actor)

    async def _live(self, actor: Actor) -> tuple[Principal, datetime]:
        principal = await self.session_cache.principal(actor.session_id)
        now = self.clock()
        if principal is not None and principal.lapsed_at(now):
            principal = await self.session_cache.look_up(actor.session_id)
        return _checked(actor, principal, now), now


def _checked(actor: Actor, principal: Principal | None, now: datetime) -> Principal:
    if principal is None or principal.user.id != actor.user_id or not principal.live_at(now):
        raise InvalidToken("The session has ended")
    return principal


def _without_session(actor: System | None) -> Authority:
    if actor is None:
        raise Unauthenticated
    return Authority(Permissions.of([EVERYTHING]))


async def permissions_of(tx: Transaction, user: User) -> Permissions:
    """A user's current permissions, for the check against escalation."""
    return union(role.permissions for role in await tx.roles.many(user.roles_at(tx.now)))


async def forbid_outliving_of(tx: Transaction, who: Authority, user: User) -> None:
    """No right of a user outlives the right of an actor who may get that user's account. Errors: `GrantExceedsOwn`."""
    for role in await tx.roles.many(user.roles_at(tx.now)):
        who.forbid_outliving(role.permissions, user.grants[role.id].expires_at, tx.now)


async def keep_an_admin(tx: Transaction, user: User, *, was_lasting: bool) -> None:
    """Keep the last administrator. Call it after the change and before the commit.

    Errors: `LastAdmin` if the user was a lasting administrator, no longer is, and is the last one.
    """
    if was_lasting and not user.lasting_admin and not await tx.users.another_admin_stays(user.id):
        raise LastAdmin
