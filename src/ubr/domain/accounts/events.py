"""Events about accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ubr.domain.audit.events import USER_ERASED
from ubr.domain.event_kinds import Event, Facts, Level, Target, UserEvent
from ubr.domain.ids import UserId
from ubr.domain.revocation.changes import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRegistered(UserEvent):
    """A person registered an account."""

    action = "user.registered"
    message = "A user registered"

    @property
    def subject(self) -> UserId:
        return self.user_id

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCreated(UserEvent):
    """An account was made for another person."""

    action = "user.created"
    message = "A user was created"

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserUpdated(UserEvent):
    """`changed` names the fields. Their values are personal data and are not stored."""

    action = "user.updated"
    message = "A user was changed"
    changed: tuple[str, ...]

    def data(self) -> Facts:
        return {"changed": list(self.changed)}


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDisabled(UserEvent):
    action = "user.disabled"
    message = "A user was disabled"
    level: ClassVar[Level] = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEnabled(UserEvent):
    action = "user.enabled"
    message = "A user was enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserUnlocked(UserEvent):
    """An operator ended the locks of an account: `locks` counts those that were in force, and may be 0."""

    action = "user.unlocked"
    message = "The locks of an account after wrong passwords were ended"
    level: ClassVar[Level] = "warning"
    locks: int

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()

    def data(self) -> Facts:
        return {"locks": self.locks}


@dataclass(frozen=True, slots=True, kw_only=True)
class UserExported(UserEvent):
    """Everything that is stored about a user was read: by the user, or by another one."""

    action = "user.exported"
    message = "The data of a user was exported"
    level: ClassVar[Level] = "warning"

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDeleted(UserEvent):
    action = "user.deleted"
    message = "A user was deleted"
    level: ClassVar[Level] = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserErased(UserEvent):
    """The client IPs of a deleted user were erased from the audit log: those of `entries` entries by this act."""

    action = USER_ERASED
    message = "The client IPs of a user were erased from the audit log"
    level: ClassVar[Level] = "warning"
    entries: int

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()

    def data(self) -> Facts:
        return {"entries": self.entries}


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordChanged(UserEvent):
    action = "user.password_changed"
    message = "A password was changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonEvent(UserEvent):
    """A person acted on their own account, through a link that was mailed to them."""

    @property
    def subject(self) -> UserId:
        return self.user_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordReset(PersonEvent):
    action = "user.password_reset"
    message = "A password was reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailVerified(PersonEvent):
    action = "user.email_verified"
    message = "An e-mail was verified"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountClaimed(PersonEvent):
    """The owner of an e-mail took over an account that another person had registered with it."""

    action = "user.claimed"
    message = "The owner of an e-mail claimed its account"
    level: ClassVar[Level] = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailChangeAsked(PersonEvent):
    action = "user.email_change_asked"
    message = "A change of e-mail was requested"

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailChanged(PersonEvent):
    action = "user.email_changed"
    message = "An e-mail was changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailChangeUndone(PersonEvent):
    action = "user.email_change_undone"
    message = "A change of e-mail was undone"
    level: ClassVar[Level] = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminTakenOver(UserEvent):
    """An operator made an existing account the administrator's, from the command line."""

    action = "user.taken_over"
    message = "An operator took over an account as administrator"
    level: ClassVar[Level] = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkIssued(Event):
    """A one-time link was made, to be mailed. `user_id` is None if there is no account yet."""

    action = "link.issued"
    message = "A one-time link was issued"
    user_id: UserId | None
    kind: str

    @property
    def target(self) -> Target | None:
        return None if self.user_id is None else Target("user", str(self.user_id))

    def data(self) -> Facts:
        return {"kind": self.kind}
