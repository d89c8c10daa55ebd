"""A user: who somebody is, how they prove it, and which roles they were given."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from ubr.domain.accounts.email import Email
from ubr.domain.accounts.events import (
    AccountClaimed,
    AdminTakenOver,
    EmailChanged,
    EmailChangeUndone,
    EmailVerified,
    PasswordChanged,
    PasswordReset,
    UserCreated,
    UserDeleted,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserUpdated,
)
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.event_kinds import Event
from ubr.domain.ids import RoleId, UserId
from ubr.domain.roles.errors import BuiltInRole, TooManyRoles
from ubr.domain.roles.events import RoleAssigned, RoleUnassigned
from ubr.domain.roles.grant import MAX_ROLES, Grant, Grants
from ubr.domain.roles.role import ADMIN_ROLE_ID, USER_ROLE_ID

MAX_FULL_NAME_LENGTH: Final = 200

REAUTHENTICATION: Final = timedelta(minutes=10)
"""How recent a login must be before its user may delete their own account."""


class UserStatus(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(slots=True, kw_only=True)
class User:
    """State of a user.

    `version` rises by one with every change; `security_version` with every change that ends sessions, so that whoever
    read it before hashing a password notices that the world moved on.
    """

    id: UserId
    email: Email
    full_name: str | None
    password_hash: PasswordHash | None
    status: UserStatus
    email_verified: bool
    created_at: datetime
    updated_at: datetime
    grants: Grants = field(default_factory=dict)
    security_version: int = 1
    version: int = 1
    events: list[Event] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def register(
        cls, *, id: UserId, email: Email, full_name: str | None, password_hash: PasswordHash, now: datetime
    ) -> User:
        """Somebody makes an account of their own."""
        user = cls._new(id, email, full_name, password_hash, now)
        user.events.append(UserRegistered(user_id=id))
        return user

    @classmethod
    def create(
        cls, *, id: UserId, email: Email, full_name: str | None, password_hash: PasswordHash | None, now: datetime
    ) -> User:
        """An account is made for somebody. Without a password nobody can log in to it yet."""
        user = cls._new(id, email, full_name, password_hash, now)
        user.events.append(UserCreated(user_id=id))
        return user

    @classmethod
    def register_verified(
        cls, *, id: UserId, email: Email, full_name: str | None, password_hash: PasswordHash, now: datetime
    ) -> User:
        """Somebody makes an account of their own by the link that was sent to their e-mail."""
        user = cls.register(id=id, email=email, full_name=full_name, password_hash=password_hash, now=now)
        user.email_verified = True
        return user

    @classmethod
    def _new(
        cls, id: UserId, email: Email, full_name: str | None, password_hash: PasswordHash | None, now: datetime
    ) -> User:
        return cls(
            id=id,
            email=email,
            full_name=full_name,
            password_hash=password_hash,
            status=UserStatus.ACTIVE,
            email_verified=False,
            created_at=now,
            updated_at=now,
            grants={USER_ROLE_ID: Grant(role_id=USER_ROLE_ID, granted_by=None, granted_at=now)},
        )

    @property
    def active(self) -> bool:
        return self.status is UserStatus.ACTIVE

    def roles_at(self, now: datetime) -> frozenset[RoleId]:
        """The roles whose grants have not ended."""
        return frozenset(grant.role_id for grant in self.grants.values() if grant.holds_at(now))

    @property
    def lasting_admin(self) -> bool:
        """Whether this user counts for "someone stays": active, and admin with no end to it."""
        grant = self.grants.get(ADMIN_ROLE_ID)
        return self.active and grant is not None and grant.expires_at is None

    def update(self, *, email: Email, full_name: str | None, status: UserStatus, now: datetime) -> None:
        """Take the new values. What stays the same leaves no trace. Another e-mail has yet to be verified."""
        changed = []
        if email != self.email:
            changed.append("email")
            if email.key != self.email.key:
                self.email_verified = False
                self.security_version += 1
            self.email = email
        if full_name != self.full_name:
            changed.append("full_name")
            self.full_name = full_name
        if changed:
            self.events.append(UserUpdated(user_id=self.id, changed=tuple(changed)))
        if status is not self.status:
            changed.append("status")
            self.status = status
            self.security_version += 1
            event = UserEnabled if status is UserStatus.ACTIVE else UserDisabled
            self.events.append(event(user_id=self.id))
        if changed:
            self._touch(now)

    def change_password(self, password_hash: PasswordHash, *, now: datetime) -> None:
        self.password_hash = password_hash
        self.events.append(PasswordChanged(user_id=self.id))
        self.security_version += 1
        self._touch(now)

    def reset_password(self, password_hash: PasswordHash, *, now: datetime) -> None:
        """Whoever has the mailbox sets a password. Where the e-mail was never verified, the account is theirs now."""
        if not self.email_verified:
            self._claim()
        self.password_hash = password_hash
        self.email_verified = True
        self.events.append(PasswordReset(user_id=self.id))
        self.security_version += 1
        self._touch(now)

    def verify_email(self, *, now: datetime) -> None:
        """Whoever has the mailbox also knows the password: the account is theirs, and stays what it is."""
        self.email_verified = True
        self.events.append(EmailVerified(user_id=self.id))
        self._touch(now)

    def _claim(self) -> None:
        """Nothing of whoever registered with somebody else's e-mail stays. Without a password nobody had."""
        if self.password_hash is not None:
            self.full_name = None
            self.events.append(AccountClaimed(user_id=self.id))

    def change_email(self, email: Email, *, now: datetime) -> None:
        """Take another e-mail, whose mailbox its holder has shown to have."""
        self.email = email
        self.email_verified = True
        self.events.append(EmailChanged(user_id=self.id))
        self.security_version += 1
        self._touch(now)

    def undo_email_change(self, email: Email, *, now: datetime) -> None:
        """Take the e-mail of before back. Whoever changed it knew the password, so that is good no longer."""
        self.email = email
        self.email_verified = True
        self.password_hash = None
        self.events.append(EmailChangeUndone(user_id=self.id))
        self.security_version += 1
        self._touch(now)

    def upgrade_hash(self, password_hash: PasswordHash) -> None:
        """The same password hashed at today's cost. Nobody needs to know: no event, no new version."""
        self.password_hash = password_hash

    def grant(self, role_id: RoleId, *, by: UserId | None, now: datetime, expires_at: datetime | None = None) -> None:
        """Give a role, or move the end of one that is held. Giving it again as it is changes nothing.

        Errors: `TooManyRoles` beyond `MAX_ROLES` in force.
        """
        held = self.grants.get(role_id)
        if held is not None and held.expires_at == expires_at:
            return
        in_force = self.roles_at(now)
        if role_id not in in_force and len(in_force) >= MAX_ROLES:
            raise TooManyRoles
        self.grants[role_id] = Grant(role_id=role_id, granted_by=by, granted_at=now, expires_at=expires_at)
        self.events.append(RoleAssigned(user_id=self.id, role_id=role_id, expires_at=expires_at))
        self._touch(now)

    def ungrant(self, role_id: RoleId, *, now: datetime) -> None:
        """Take a role away. One that is not held changes nothing.

        Errors: `BuiltInRole` for `user`, which everyone has.
        """
        if role_id == USER_ROLE_ID:
            raise BuiltInRole("Every user has the role user")
        if self.grants.pop(role_id, None) is None:
            return
        self.events.append(RoleUnassigned(user_id=self.id, role_id=role_id))
        self._touch(now)

    def take_over(self, password_hash: PasswordHash, *, now: datetime) -> None:
        """An operator makes this account an administrator's: new password, active, admin for good."""
        self.events.append(AdminTakenOver(user_id=self.id))
        self.update(email=self.email, full_name=self.full_name, status=UserStatus.ACTIVE, now=now)
        self.change_password(password_hash, now=now)
        self.grant(ADMIN_ROLE_ID, by=None, now=now)

    def end_sessions(self) -> None:
        """Something happened that ends sessions of this user: a login that is under way must notice."""
        self.security_version += 1

    def delete(self) -> None:
        self.events.append(UserDeleted(user_id=self.id))

    def _touch(self, now: datetime) -> None:
        self.version += 1
        self.updated_at = now
