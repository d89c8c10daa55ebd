"""What happened, in the past tense. Every event is one entry of the log, written in the transaction of the act.

`data()` holds ids and facts, never an e-mail, a name or a secret: an entry outlives the person it speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, Literal, TypeAlias
from uuid import UUID

from ubr.domain.feed import KEYS_CHANGED, Change
from ubr.domain.values import LogEntryId, RoleId, SessionId, UserId

Level: TypeAlias = Literal["info", "warning", "error"]
TargetType: TypeAlias = Literal["user", "role", "session", "signing_key", "log_key", "log_entry", "mail"]
Facts: TypeAlias = dict[str, Any]

# Those that say something to whoever checks the log.
LOG_PRUNED: Final = "log.pruned"
LOG_KEY_CREATED: Final = "log_key.created"
LOG_KEY_ROTATED: Final = "log_key.rotated"
RESTORED: Final = "service.restored"

EVICTED: Final = "evicted"
"""The cause of an end that nobody asked for: more sessions than a user may have."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an event is about."""

    type: TargetType
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Root of the events. A leaf says its action (stable, public), its sentence, its target and its facts."""

    action: ClassVar[str]
    message: ClassVar[str]
    level: ClassVar[Level] = "info"

    @property
    def target(self) -> Target | None:
        return None

    @property
    def subject(self) -> UserId | None:
        """Who acted, where the act itself tells it: somebody who signs in is nobody before."""
        return None

    @property
    def changes(self) -> tuple[Change, ...]:
        """What it changes in who somebody is or what they may do: rows of the feed."""
        return ()

    @property
    def awaited(self) -> bool:
        """Whether the answer waits until the changes are known everywhere."""
        return True

    def data(self) -> Facts:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEvent(Event):
    user_id: UserId

    @property
    def changes(self) -> tuple[Change, ...]:
        return (Change("user", str(self.user_id)),)

    @property
    def target(self) -> Target:
        return Target("user", str(self.user_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleEvent(Event):
    role_id: RoleId

    @property
    def changes(self) -> tuple[Change, ...]:
        return (Change("role", str(self.role_id)),)

    @property
    def target(self) -> Target:
        return Target("role", str(self.role_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent(Event):
    session_id: SessionId
    user_id: UserId

    @property
    def target(self) -> Target:
        return Target("session", str(self.session_id))

    def data(self) -> Facts:
        return {"user_id": str(self.user_id)}


# --- users -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRegistered(UserEvent):
    """Somebody made an account of their own."""

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
    """An account was made for somebody."""

    action = "user.created"
    message = "A user was created"

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserUpdated(UserEvent):
    """`changed` names the fields. Their values are personal, so they are not kept."""

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
class UserDeleted(UserEvent):
    action = "user.deleted"
    message = "A user was deleted"
    level: ClassVar[Level] = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordChanged(UserEvent):
    action = "user.password_changed"
    message = "A password was changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonEvent(UserEvent):
    """Somebody did something to their own account, by a link that was mailed to them."""

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
    """The owner of an e-mail took over the account that somebody had registered with it."""

    action = "user.claimed"
    message = "The owner of an e-mail claimed the account with it"
    level: ClassVar[Level] = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailChangeAsked(PersonEvent):
    action = "user.email_change_asked"
    message = "Another e-mail was asked for"

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
    message = "A change of e-mail was taken back"
    level: ClassVar[Level] = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminTakenOver(UserEvent):
    """An operator made an existing account the administrator's, from the command line."""

    action = "user.taken_over"
    message = "An operator took over an account as administrator"
    level: ClassVar[Level] = "warning"


# --- roles -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleCreated(RoleEvent):
    action = "role.created"
    message = "A role was created"
    name: str
    permissions: tuple[str, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()

    def data(self) -> Facts:
        return {"name": self.name, "permissions": list(self.permissions)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleUpdated(RoleEvent):
    action = "role.updated"
    message = "A role was changed"
    before: Facts
    after: Facts

    @property
    def changes(self) -> tuple[Change, ...]:
        """A description says nothing of what anybody may do."""
        return () if self.before == self.after else (Change("role", str(self.role_id)),)

    def data(self) -> Facts:
        return {"before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleDeleted(RoleEvent):
    action = "role.deleted"
    message = "A role was deleted"
    level: ClassVar[Level] = "warning"
    name: str

    def data(self) -> Facts:
        return {"name": self.name}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAssigned(UserEvent):
    action = "role.assigned"
    message = "A role was assigned to a user"
    role_id: RoleId
    expires_at: datetime | None

    def data(self) -> Facts:
        return {
            "role_id": str(self.role_id),
            "expires_at": None if self.expires_at is None else self.expires_at.isoformat(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleUnassigned(UserEvent):
    action = "role.unassigned"
    message = "A role was taken from a user"
    role_id: RoleId

    def data(self) -> Facts:
        return {"role_id": str(self.role_id)}


# --- sessions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened(SessionEvent):
    """A successful log-in."""

    action = "session.opened"
    message = "A user signed in"

    @property
    def subject(self) -> UserId:
        return self.user_id


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRefreshed(SessionEvent):
    action = "session.refreshed"
    message = "A session was refreshed"

    @property
    def subject(self) -> UserId:
        return self.user_id


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRevoked(SessionEvent):
    """`cause` is the security event that ended it, as `policy.SecurityEvent` names it."""

    action = "session.revoked"
    message = "A session was ended"
    cause: str

    @property
    def changes(self) -> tuple[Change, ...]:
        return (Change("session", str(self.session_id)),)

    @property
    def awaited(self) -> bool:
        """Whoever signs in once too often does not wait for the session that gives way."""
        return self.cause != EVICTED

    def data(self) -> Facts:
        return {"user_id": str(self.user_id), "cause": self.cause}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReused(SessionEvent):
    """A spent refresh token came back after its window: somebody holds a copy."""

    action = "session.token_reused"
    message = "A spent refresh token was used again"
    level: ClassVar[Level] = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogInFailed(Event):
    """`user_id` is None where no account has the e-mail. What was typed is not kept."""

    action = "session.login_failed"
    message = "A sign-in was refused"
    level: ClassVar[Level] = "warning"
    user_id: UserId | None

    @property
    def target(self) -> Target | None:
        return None if self.user_id is None else Target("user", str(self.user_id))


# --- mail ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkIssued(Event):
    """A one-time link was made, to be mailed. `user_id` is None where there is no account yet."""

    action = "link.issued"
    message = "A one-time link was made"
    user_id: UserId | None
    kind: str

    @property
    def target(self) -> Target | None:
        return None if self.user_id is None else Target("user", str(self.user_id))

    def data(self) -> Facts:
        return {"kind": self.kind}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailEvent(Event):
    letter_id: UUID
    kind: str

    @property
    def target(self) -> Target:
        return Target("mail", str(self.letter_id))

    def data(self) -> Facts:
        return {"kind": self.kind}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailGivenUp(MailEvent):
    """It could not be sent, and nobody tries any more. `why` says nothing of what is in it, nor to whom."""

    action = "mail.given_up"
    message = "A mail could not be sent"
    level: ClassVar[Level] = "warning"
    why: str

    def data(self) -> Facts:
        return {"kind": self.kind, "why": self.why}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailRetried(MailEvent):
    action = "mail.retried"
    message = "A mail that was given up is tried again"


# --- the service itself ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyEvent(Event):
    kid: str

    @property
    def target(self) -> Target:
        return Target("signing_key", self.kid)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyCreated(SigningKeyEvent):
    """No row of the feed: whoever makes one says why, and that has one."""

    action = "signing_key.created"
    message = "A signing key was created"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyRotated(SigningKeyEvent):
    """About the key that goes. The tokens of neither end by it."""

    action = "signing_key.rotated"
    message = "A signing key got a successor"
    successor: str

    @property
    def changes(self) -> tuple[Change, ...]:
        return (KEYS_CHANGED,)

    def data(self) -> Facts:
        return {"successor": self.successor}


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyRevoked(SigningKeyEvent):
    action = "signing_key.revoked"
    message = "A signing key was revoked"
    level: ClassVar[Level] = "warning"

    @property
    def changes(self) -> tuple[Change, ...]:
        return (Change("key", self.kid),)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyRewrapped(SigningKeyEvent):
    """Sealed with another secret; the key itself is what it was."""

    action = "signing_key.rewrapped"
    message = "A signing key was sealed anew"


# --- the log itself --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRead(Event):
    """Somebody read a page of the log. `filters` are the conditions, without anything that was typed freely."""

    action = "log.read"
    message = "Entries of the log were read"
    filters: Facts
    entries: int

    def data(self) -> Facts:
        return {"filters": self.filters, "entries": self.entries}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntryRead(Event):
    """Somebody read one entry, to the byte, with the proof that it is in the log."""

    action = "log.entry_read"
    message = "An entry of the log was read with its proof"
    entry_id: LogEntryId

    @property
    def target(self) -> Target:
        return Target("log_entry", str(self.entry_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogExported(Event):
    """Somebody began to write the whole log, up to `size` entries, into a file."""

    action = "log.exported"
    message = "The log was exported"
    level: ClassVar[Level] = "warning"
    size: int

    def data(self) -> Facts:
        return {"size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPruned(Event):
    """The content of the entries before number `size` of the tree is gone. All of them were older than `before`."""

    action = LOG_PRUNED
    message = "The content of old entries of the log was deleted"
    level: ClassVar[Level] = "warning"
    before: datetime
    size: int
    entries: int

    def data(self) -> Facts:
        return {"before": self.before.isoformat(), "size": self.size, "entries": self.entries}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeyEvent(Event):
    """`key` is the text that verifiers take. `label` is its name and id."""

    label: str
    key: str

    @property
    def target(self) -> Target:
        return Target("log_key", self.label)

    def data(self) -> Facts:
        return {"key": self.key}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeyCreated(LogKeyEvent):
    """The first key that signs checkpoints."""

    action = LOG_KEY_CREATED
    message = "The key that signs the log was created"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeyRotated(LogKeyEvent):
    """About the key that comes. The first checkpoint over this entry is signed by both."""

    action = LOG_KEY_ROTATED
    message = "The key that signs the log got a successor"
    level: ClassVar[Level] = "warning"
    before: str

    def data(self) -> Facts:
        return {"key": self.key, "before": self.before}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeyRewrapped(LogKeyEvent):
    """Sealed with another secret; the key itself is what it was."""

    action = "log_key.rewrapped"
    message = "The key that signs the log was sealed anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored(LogKeyEvent):
    """An older state of the database was put in place: every session ended, and the log has another origin and key.

    `before` is the key that signed until then, `checkpoint` the newest that is known of that time: what lies between
    this entry and its size is lost.
    """

    action = RESTORED
    message = "The database was restored to an earlier state"
    level: ClassVar[Level] = "warning"
    before: str
    checkpoint: str | None

    def data(self) -> Facts:
        return {"key": self.key, "before": self.before, "checkpoint": self.checkpoint}


# --- what was not done -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ActRefused(Event):
    """Somebody signed in asked for what they may not do, `count` times within a minute."""

    action = "act.refused"
    message = "An act was refused"
    level: ClassVar[Level] = "warning"
    act: str
    problem: str
    count: int

    def data(self) -> Facts:
        return {"act": self.act, "problem": self.problem, "count": self.count}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsRejected(Event):
    """What one worker turned away within a minute before it knew who asked, by the name of the problem."""

    action = "requests.rejected"
    message = "Requests were turned away"
    counts: dict[str, int]

    def data(self) -> Facts:
        return {"counts": self.counts}


def actions() -> dict[str, type[Event]]:
    """Every action name of the log and the event behind it.

    Read off this module, not off `__subclasses__`: a class with slots is made twice, and the first lingers there.
    """
    found = (thing for thing in globals().values() if isinstance(thing, type) and issubclass(thing, Event))
    return {event.action: event for event in found if hasattr(event, "action")}


def actor_of(event: Event, actor: UserId | None) -> UserId | None:
    """Who is written down as having acted: whoever is signed in, else whom the act itself names."""
    return actor if actor is not None else event.subject
