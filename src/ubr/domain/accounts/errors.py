"""Errors about accounts."""

from __future__ import annotations

from ubr.domain.error_kinds import Conflict, Forbidden, InputError, Invalid, NotFound, Unauthenticated, Unavailable


class WeakPassword(Invalid):
    code = "weak-password"
    title = "The password does not meet the policy"


class InvalidLink(Invalid):
    """The one-time link is malformed, expired, redeemed, or superseded by a newer link or a later change."""

    code = "invalid-token"
    title = "The link is not valid, or not any more"

    def __init__(self) -> None:
        super().__init__(None, InputError("/token", "is not that of a link that is good"))


class InvalidCredentials(Unauthenticated):
    """Wrong password, unknown e-mail or disabled user: indistinguishable on purpose."""

    code = "invalid-credentials"
    title = "The e-mail or the password is wrong"


class WrongPassword(Forbidden):
    """A logged-in user gave a wrong current password. Not a 401, because their token stays valid."""

    code = "wrong-password"
    title = "The current password is wrong"


class RegistrationClosed(Forbidden):
    code = "registration-closed"
    title = "Registration is closed"


class ReauthenticationRequired(Forbidden):
    code = "reauthentication-required"
    title = "Log in again before doing this"


class UserNotFound(NotFound):
    code = "user-not-found"
    title = "There is no such user"


class EmailTaken(Conflict):
    code = "email-taken"
    title = "The e-mail belongs to another account"


class Busy(Unavailable):
    """More passwords are waiting to be hashed than the service accepts at once."""

    code = "busy"
    title = "The service is busy"
