"""Everything that can go wrong, on one screen.

A *kind* (direct child of `UbrError`) says what the caller can do about it; a *leaf* adds a stable `code`. Entry points
translate kinds, never leaves: the HTTP status of a kind is known in one file there and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing wrong with the input: where (an RFC 6901 pointer, `""` for the whole) and why. Never the value."""

    pointer: str
    detail: str


class UbrError(Exception):
    """Root of the catalogue. `code` is stable and public; `detail` is for people and holds no secret."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "The request failed"

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or self.title
        super().__init__(self.detail)


# --- kinds -----------------------------------------------------------------------------------------------------------


class Invalid(UbrError):
    """The input breaks a rule that is known without looking at any state. Sending it again cannot help."""

    code = "invalid-input"
    title = "The input is not valid"

    def __init__(self, detail: str | None = None, *flaws: Flaw) -> None:
        super().__init__(detail or ("; ".join(f.detail for f in flaws) or None))
        self.flaws = flaws

    @classmethod
    def at(cls, pointer: str, detail: str) -> Invalid:
        """One flaw at one place."""
        return cls(None, Flaw(pointer, detail))


class Unauthenticated(UbrError):
    """It is not known who is asking."""

    code = "unauthenticated"
    title = "Authentication is required"


class Forbidden(UbrError):
    """It is known who is asking, and they may not."""

    code = "forbidden"
    title = "This is not permitted"


class NotFound(UbrError):
    """What was named does not exist."""

    code = "not-found"
    title = "There is no such thing"


class Conflict(UbrError):
    """The input is right, but the present state stands against it."""

    code = "conflict"
    title = "The present state does not allow this"


class PreconditionFailed(UbrError):
    """The thing has changed since the caller read it."""

    code = "precondition-failed"
    title = "The thing has changed since it was read"


class Contradictory(UbrError):
    """The input is right by itself, but it is not what the same caller has said before."""

    code = "contradictory"
    title = "The request is not the one that it says it is"


class RateLimited(UbrError):
    """Too many tries. `retry_after` is in whole seconds, at least 1."""

    code = "rate-limited"
    title = "Too many tries"

    def __init__(self, retry_after: int, detail: str | None = None) -> None:
        super().__init__(detail)
        self.retry_after = max(1, retry_after)


class Unavailable(UbrError):
    """Nothing is wrong with the request; a part of the service is. `retry_after` is in whole seconds, at least 1."""

    code = "unavailable"
    title = "The service cannot answer at the moment"

    def __init__(self, detail: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = max(1, retry_after)


# --- leaves ----------------------------------------------------------------------------------------------------------


class WeakPassword(Invalid):
    code = "weak-password"
    title = "The password does not meet the policy"


class InvalidCursor(Invalid):
    code = "invalid-cursor"
    title = "The cursor does not belong to this list"


class InvalidLink(Invalid):
    """A one-time link that is malformed, expired, redeemed, or overtaken by a newer one or by what happened since."""

    code = "invalid-token"
    title = "The link is not valid, or not any more"

    def __init__(self) -> None:
        super().__init__(None, Flaw("/token", "is not that of a link that is good"))


class InvalidCredentials(Unauthenticated):
    """Wrong password, unknown e-mail or disabled user: deliberately one and the same."""

    code = "invalid-credentials"
    title = "The e-mail or the password is wrong"


class InvalidToken(Unauthenticated):
    """An access or refresh token that is malformed, forged, expired, spent, or whose session has ended."""

    code = "invalid-token"
    title = "The token is not valid"


class WrongPassword(Forbidden):
    """Somebody signed in could not confirm who they are. Not a 401: their token is good, and stays so."""

    code = "wrong-password"
    title = "The current password is wrong"


class GrantExceedsOwn(Forbidden):
    """Nobody rises: the target has, or would have, a permission that the actor does not hold."""

    code = "grant-exceeds-own"
    title = "The target holds, or would hold, more than you do"


class RegistrationClosed(Forbidden):
    code = "registration-closed"
    title = "Registration is closed"


class ReauthenticationRequired(Forbidden):
    code = "reauthentication-required"
    title = "Sign in again before doing this"


class UserNotFound(NotFound):
    code = "user-not-found"
    title = "There is no such user"


class RoleNotFound(NotFound):
    code = "role-not-found"
    title = "There is no such role"


class SessionNotFound(NotFound):
    code = "session-not-found"
    title = "There is no such session"


class LogEntryNotFound(NotFound):
    code = "log-entry-not-found"
    title = "There is no such entry of the log"


class LetterNotFound(NotFound):
    """Only operators name letters, and only at the command line."""


class SigningKeyNotFound(NotFound):
    """Only operators name signing keys, and only at the command line."""


class EmailTaken(Conflict):
    code = "email-taken"
    title = "The e-mail belongs to another account"


class RoleNameTaken(Conflict):
    code = "role-name-taken"
    title = "Another role has this name"


class BuiltInRole(Conflict):
    code = "built-in-role"
    title = "A built-in role does not change in this way"


class TooManyRoles(Conflict):
    """A user's roles are named in each of their access tokens, which have to stay short enough to be sent."""

    code = "too-many-roles"
    title = "The user holds as many roles as one can"


class CheckpointMismatch(Conflict):
    """The log is not the continuation of a checkpoint that was kept. Only operators compare the two."""


class MailRefused(Conflict):
    """This mail will never be taken, for certain. Only what sends mails is told."""


class IdempotencyKeyReused(Contradictory):
    """Of the call that the key belongs to nothing is told."""

    code = "idempotency-key-reused"
    title = "The idempotency key belongs to another request"


class LastAdmin(Conflict):
    """Someone stays: this user is the last active one with an unlimited grant of the admin role."""

    code = "last-admin"
    title = "The last administrator has to stay"


class Busy(Unavailable):
    """More passwords are waiting to be hashed than the service takes at once."""

    code = "busy"
    title = "The service is busy"


class SigningKeyLocked(Unavailable):
    """No secret opens a signing key, so its tokens can be neither made nor verified. Only operators are told."""

    def __init__(self, *kids: str) -> None:
        super().__init__(f"No secret key opens the signing key {' or '.join(kids)}")
        self.kids = kids


class LogKeyLocked(Unavailable):
    """No secret opens the key that signs the log, so nothing new in it is protected. Only operators are told."""

    def __init__(self, label: str) -> None:
        super().__init__(f"No secret key opens the key {label}, which signs the log")
        self.label = label


class LogDamaged(Unavailable):
    """The tree over the log is not the one that was signed. Nothing is added to it until an operator has looked."""

    code = "log-damaged"
    title = "The log is not what was signed"


class MailUnavailable(Unavailable):
    """A mail did not leave, or perhaps it did. It can be tried again. Only what sends mails is told."""


class StoreUnavailable(Unavailable):
    """The database did not answer in time. What was asked for may or may not have happened."""

    code = "store-unavailable"
    title = "The database is out of reach"


class Contended(StoreUnavailable):
    """Two units of work stood in each other's way. This one had no effect, for certain, and can be repeated."""
