"""A user: identity, password and roles."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from ubr.domain.accounts.email import Email
from ubr.domain.accounts.errors import MachineAccount
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
from ubr.domain.accounts.user_field import NO_VALUES, FieldValues, Terms
from ubr.domain.accounts.user_fields import NO_STATE, FieldState, changed_names
from ubr.domain.event_kinds import Event
from ubr.domain.ids import RoleId, UserId
from ubr.domain.roles.errors import BuiltInRole, TooManyRoles
from ubr.domain.roles.events import RoleAssigned, RoleUnassigned
from ubr.domain.roles.grant import MAX_ROLES, Grant, Grants
from ubr.domain.roles.role import ADMIN_ROLE_ID, USER_ROLE_ID

MAX_FULL_NAME_LENGTH: Final = 200

MACHINES_DOMAIN: Final = "machines.invalid"

REAUTHENTICATION: Final = timedelta(minutes=10)
"""Maximum age of a login with which users may delete their own account."""


class UserStatus(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"


class UserKind(StrEnum):
    """A person logs in with a password. A machine logs in with keys, and has neither a password nor a mailbox."""

    PERSON = "person"
    MACHINE = "machine"


_SELF_REGISTERED: Final = 1
_NOT_SELF_REGISTERED: Final = 2
"""The first security versions, by which an account that was never touched since its registration is recognised."""


class UserSummary(NamedTuple):
    """A user as others see it. `roles` holds the names of the roles in force, sorted."""

    # The SQL adapter makes it by position (`adapters/sql/rows.py`): a change of the order is one there too.

    id: UserId
    email: Email
    full_name: str | None
    status: UserStatus
    email_verified: bool
    created_at: datetime
    updated_at: datetime
    roles: list[str]
    kind: UserKind = UserKind.PERSON
    fields: FieldValues = NO_VALUES


@dataclass(slots=True, kw_only=True)
class User:
    """State of a user.

    `version` rises by one with every change. `security_version` rises with every change that ends sessions: a caller
    that read it before hashing a password detects a concurrent change. `fields` has the stored values of the host's
    fields, and `terms` what finds the user by them: None for a user who was read, whose terms stay as they are.
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
    security_version: int = _SELF_REGISTERED
    version: int = 1
    kind: UserKind = UserKind.PERSON
    fields: FieldValues = field(default_factory=dict)
    terms: Terms | None = field(default=None, compare=False)
    events: list[Event] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def register(
        cls,
        *,
        id: UserId,
        email: Email,
        full_name: str | None,
        password_hash: PasswordHash,
        now: datetime,
        fields: FieldState = NO_STATE,
    ) -> User:
        """A person registers an account."""
        user = cls._new(id, email, full_name, password_hash, now=now, fields=fields)
        user.events.append(UserRegistered(user_id=id))
        return user

    @classmethod
    def create(
        cls,
        *,
        id: UserId,
        email: Email,
        full_name: str | None,
        password_hash: PasswordHash | None,
        now: datetime,
        fields: FieldState = NO_STATE,
    ) -> User:
        """An account is made for another person. Without a password, login is not possible yet."""
        user = cls._new(id, email, full_name, password_hash, now=now, fields=fields)
        user.security_version = _NOT_SELF_REGISTERED
        user.events.append(UserCreated(user_id=id))
        return user

    @classmethod
    def for_machine(cls, *, id: UserId, name: str, now: datetime) -> User:
        """The account of a new machine. Its e-mail exists nowhere (RFC 2606, 2), so its mailbox cannot be proved."""
        user = cls._new(id, Email.parse(f"{id}@{MACHINES_DOMAIN}"), str(name), None, now=now, fields=NO_STATE)
        user.kind = UserKind.MACHINE
        user.security_version = _NOT_SELF_REGISTERED
        return user

    @classmethod
    def register_verified(
        cls,
        *,
        id: UserId,
        email: Email,
        full_name: str | None,
        password_hash: PasswordHash,
        now: datetime,
        fields: FieldState = NO_STATE,
    ) -> User:
        """A person registers an account with the link that was mailed to them."""
        user = cls.register(
            id=id, email=email, full_name=full_name, password_hash=password_hash, now=now, fields=fields
        )
        user.email_verified = True
        return user

    @classmethod
    def _new(
        cls,
        id: UserId,
        email: Email,
        full_name: str | None,
        password_hash: PasswordHash | None,
        *,
        now: datetime,
        fields: FieldState,
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
            fields=fields.values,
            terms=fields.terms,
        )

    def summary(self, roles: list[str]) -> UserSummary:
        return UserSummary(
            self.id,
            self.email,
            self.full_name,
            self.status,
            self.email_verified,
            self.created_at,
            self.updated_at,
            roles,
            self.kind,
            self.fields,
        )

    @property
    def is_machine(self) -> bool:
        return self.kind is UserKind.MACHINE

    def require_person(self) -> None:
        """Errors: `MachineAccount` for a machine."""
        if self.is_machine:
            raise MachineAccount

    @property
    def active(self) -> bool:
        return self.status is UserStatus.ACTIVE

    def roles_at(self, now: datetime) -> frozenset[RoleId]:
        """The roles whose grants have not ended."""
        return frozenset(grant.role_id for grant in self.grants.values() if grant.holds_at(now))

    @property
    def lasting_admin(self) -> bool:
        """True if this user counts for "someone stays": an active person with an unlimited grant of the admin role.

        A machine does not count: if its key is lost, no administrator is left to make another.
        """
        grant = self.grants.get(ADMIN_ROLE_ID)
        return self.active and not self.is_machine and grant is not None and grant.expires_at is None

    @property
    def gives_way(self) -> bool:
        """True if this account is removed for another user who proves its mailbox, and wants it as their e-mail.

        Its registrant never proved a mailbox, and the owner of this one could take over the account in any case. An
        account that an operator made, changed, gave a role or disabled stays, and so does one whose e-mail or password
        changed.
        """
        untouched = self.active and self.grants.keys() == {USER_ROLE_ID} and self.security_version == _SELF_REGISTERED
        return not self.email_verified and untouched

    def update(
        self,
        *,
        email: Email,
        full_name: str | None,
        status: UserStatus,
        now: datetime,
        fields: FieldState | None = None,
    ) -> None:
        """Take the new values; None keeps the fields. Unchanged values leave no trace. A new e-mail is unverified."""
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
        if fields is not None:
            changed += [f"fields.{name}" for name in changed_names(self.fields, fields.values)]
            self.fields, self.terms = fields.values, fields.terms
        if changed:
            self.events.append(UserUpdated(user_id=self.id, changed=tuple(changed)))
        if status is not self.status:
            changed.append("status")
            self.status = status
            self.security_version += 1
            event = UserEnabled if status is UserStatus.ACTIVE else UserDisabled
            self.events.append(event(user_id=self.id))
        if changed:
            self.touch(now)

    def change_password(self, password_hash: PasswordHash, *, now: datetime) -> None:
        """Errors: `MachineAccount`."""
        self.require_person()
        self.password_hash = password_hash
        self.events.append(PasswordChanged(user_id=self.id))
        self.security_version += 1
        self.touch(now)

    def reset_password(
        self, password_hash: PasswordHash, *, now: datetime, claimed_fields: FieldState = NO_STATE
    ) -> None:
        """The owner of the mailbox sets a password. If the e-mail was never verified, they take over the account.

        `claimed_fields` are the fields without those of another registrant. Errors: `MachineAccount`.
        """
        self.require_person()
        if not self.email_verified:
            self._claim(claimed_fields)
        self.password_hash = password_hash
        self.email_verified = True
        self.events.append(PasswordReset(user_id=self.id))
        self.security_version += 1
        self.touch(now)

    def verify_email(self, *, now: datetime) -> None:
        """The owner of the mailbox also knows the password: the account is theirs, and does not change."""
        self.email_verified = True
        self.events.append(EmailVerified(user_id=self.id))
        self.touch(now)

    def _claim(self, fields: FieldState) -> None:
        """Remove the data of a registrant who did not own the e-mail. Without a password, there is no registrant."""
        if self.password_hash is not None:
            self.full_name = None
            self.fields, self.terms = fields.values, fields.terms
            self.events.append(AccountClaimed(user_id=self.id))

    def change_email(self, email: Email, *, now: datetime) -> None:
        """Take a new e-mail, whose mailbox the user has shown to control. Errors: `MachineAccount`."""
        self.require_person()
        self.email = email
        self.email_verified = True
        self.events.append(EmailChanged(user_id=self.id))
        self.security_version += 1
        self.touch(now)

    def undo_email_change(
        self, email: Email, *, changed_at: datetime, grown: Collection[RoleId], now: datetime
    ) -> None:
        """Restore the previous e-mail. Its change required the password, so the password is no longer valid.

        The previous mailbox gets no more than the account had: roles that were granted since the change are taken away,
        and so are roles that have `grown` since.
        """
        for grant in list(self.grants.values()):
            if grant.role_id != USER_ROLE_ID and (grant.granted_at >= changed_at or grant.role_id in grown):
                self.ungrant(grant.role_id, now=now)
        self.email = email
        self.email_verified = True
        self.password_hash = None
        self.events.append(EmailChangeUndone(user_id=self.id))
        self.security_version += 1
        self.touch(now)

    def upgrade_hash(self, password_hash: PasswordHash) -> None:
        """Store the same password, hashed at the current cost. Invisible outside: no event, no new version."""
        self.password_hash = password_hash

    def grant(self, role_id: RoleId, *, by: UserId | None, now: datetime, expires_at: datetime | None = None) -> None:
        """Grant a role, or move the end of a grant. Repeating a grant unchanged does nothing.

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
        self.touch(now)

    def ungrant(self, role_id: RoleId, *, now: datetime) -> None:
        """Remove a role. Does nothing if the user does not hold it.

        Errors: `BuiltInRole` for `user`, which everyone has.
        """
        if role_id == USER_ROLE_ID:
            raise BuiltInRole("Every user has the role user")
        if self.grants.pop(role_id, None) is None:
            return
        self.events.append(RoleUnassigned(user_id=self.id, role_id=role_id))
        self.touch(now)

    def take_over(self, password_hash: PasswordHash, *, now: datetime) -> None:
        """An operator makes this account an administrator's: new password, active, unlimited admin role.

        Errors: `MachineAccount`.
        """
        self.require_person()
        self.events.append(AdminTakenOver(user_id=self.id))
        self.update(email=self.email, full_name=self.full_name, status=UserStatus.ACTIVE, now=now)
        self.change_password(password_hash, now=now)
        self.grant(ADMIN_ROLE_ID, by=None, now=now)

    def end_sessions(self) -> None:
        """Record that sessions of this user end, so that a concurrent login detects it."""
        self.security_version += 1

    def delete(self) -> None:
        self.events.append(UserDeleted(user_id=self.id))

    def touch(self, now: datetime) -> None:
        """Record that the user changed at this moment."""
        self.version += 1
        self.updated_at = now
