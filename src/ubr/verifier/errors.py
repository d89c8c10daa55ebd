"""The errors of a verifier."""

from __future__ import annotations


class VerifierError(Exception):
    """Root of these errors."""


class Refused(VerifierError):
    """The token is not valid, or no longer valid: 401 with `WWW-Authenticate: Bearer error="invalid_token"`.

    The text gives the reason, for a log. The client refreshes; if its session has ended, the refresh is rejected too.
    """


class UnknownKey(Refused):
    """The token names an unknown key, which may become known later."""


class NotFresh(VerifierError):
    """The verifier cannot determine now if the token is still valid: 503 with `Retry-After`.

    Also raised by a verifier that is not running: before it is entered and after it is closed.
    """


class PermissionsOmitted(VerifierError):
    """The user's permissions did not fit into the token, so `permits` cannot answer: ask ubr, `GET /api/users/me`."""
