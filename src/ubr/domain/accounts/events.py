"""Events about accounts."""

from __future__ import annotations

from typing import ClassVar

from ubr.domain.audit.events import USER_ERASED
from ubr.domain.event_kinds import Event, Facts, Level, Target, UserEvent
from ubr.domain.ids import UserId
from ubr.domain.revocation.changes import Change


class UserRegistered(UserEvent, frozen=True, kw_only=True):
    """A person registered an account."""

    action = "user.registered"
    message = "A user registered"

    @property
    def subject(self) -> UserId:
        return self.user_id

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()


class UserCreated(UserEvent, frozen=True, kw_only=True):
    """An account was made for another person."""

    action = "user.created"
    message = "A user was created"

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()


class UserUpdated(UserEvent, frozen=True, kw_only=True):
    """`changed` names the fields. Their values are personal data and are not stored."""

    action = "user.updated"
    message = "A user was changed"
    changed: tuple[str, ...]

    def data(self) -> Facts:
        return {"changed": list(self.changed)}


class UserDisabled(UserEvent, frozen=True, kw_only=True):
    action = "user.disabled"
    message = "A user was disabled"
    level: ClassVar[Level] = "warning"


class UserEnabled(UserEvent, frozen=True, kw_only=True):
    action = "user.enabled"
    message = "A user was enabled"


class UserUnlocked(UserEvent, frozen=True, kw_only=True):
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


class UserExported(UserEvent, frozen=True, kw_only=True):
    """Everything that is stored about a user was read: by the user, or by another one."""

    action = "user.exported"
    message = "The data of a user was exported"
    level: ClassVar[Level] = "warning"

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()


class UserDeleted(UserEvent, frozen=True, kw_only=True):
    action = "user.deleted"
    message = "A user was deleted"
    level: ClassVar[Level] = "warning"


class UserErased(UserEvent, frozen=True, kw_only=True):
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


class PasswordChanged(UserEvent, frozen=True, kw_only=True):
    action = "user.password_changed"
    message = "A password was changed"


class PersonEvent(UserEvent, frozen=True, kw_only=True):
    """A person acted on their own account, through a link that was mailed to them."""

    @property
    def subject(self) -> UserId:
        return self.user_id


class PasswordReset(PersonEvent, frozen=True, kw_only=True):
    action = "user.password_reset"
    message = "A password was reset"


class EmailVerified(PersonEvent, frozen=True, kw_only=True):
    action = "user.email_verified"
    message = "An e-mail was verified"


class AccountClaimed(PersonEvent, frozen=True, kw_only=True):
    """The owner of an e-mail took over an account that another person had registered with it."""

    action = "user.claimed"
    message = "The owner of an e-mail claimed its account"
    level: ClassVar[Level] = "warning"


class EmailChangeAsked(PersonEvent, frozen=True, kw_only=True):
    action = "user.email_change_asked"
    message = "A change of e-mail was requested"

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()


class EmailChanged(PersonEvent, frozen=True, kw_only=True):
    action = "user.email_changed"
    message = "An e-mail was changed"


class EmailChangeUndone(PersonEvent, frozen=True, kw_only=True):
    action = "user.email_change_undone"
    message = "A change of e-mail was undone"
    level: ClassVar[Level] = "warning"


class AdminTakenOver(UserEvent, frozen=True, kw_only=True):
    """An operator made an existing account the administrator's, from the command line."""

    action = "user.taken_over"
    message = "An operator took over an account as administrator"
    level: ClassVar[Level] = "warning"


class LinkIssued(Event, frozen=True, kw_only=True):
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
