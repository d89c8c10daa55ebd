"""Errors about accounts."""

from __future__ import annotations

from ubr.domain.error_kinds import Conflict, Forbidden, InputError, Invalid, NotFound, Unauthenticated, Unavailable


class WeakPassword(Invalid):
    code = "weak-password"
    title = "The password does not meet the policy"


class InvalidLink(Invalid):
    """A one-time link that is malformed, expired or redeemed, or invalidated by a newer link or a later change."""

    code = "invalid-token"
    title = "The link is not valid, or has expired"

    def __init__(self) -> None:
        super().__init__(None, InputError("/token", "is not a valid link token, or has expired"))


class InvalidCredentials(Unauthenticated):
    """Wrong password, unknown e-mail or disabled user: deliberately indistinguishable."""

    code = "invalid-credentials"
    title = "The e-mail or the password is wrong"


class WrongPassword(Forbidden):
    """A logged-in user could not confirm their identity. Not a 401: the access token is valid and stays valid."""

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
    title = "User not found"


class EmailTaken(Conflict):
    code = "email-taken"
    title = "The e-mail belongs to another account"


class MachineAccount(Conflict):
    """A machine has no password and no mailbox, and is not changed as a person is."""

    code = "machine-account"
    title = "The account belongs to a machine"


class Busy(Unavailable):
    """Too many passwords are waiting to be hashed."""

    code = "busy"
    title = "The service is busy"
