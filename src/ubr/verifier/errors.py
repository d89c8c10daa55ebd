"""What a verifier says instead of whose token it is."""

from __future__ import annotations


class VerifierError(Exception):
    """Root of both."""


class Refused(VerifierError):
    """The token is not good, or not any more: 401 with `WWW-Authenticate: Bearer error="invalid_token"`.

    The text says why, for a log. The client refreshes; where its session has ended, that is refused too.
    """


class UnknownKey(Refused):
    """The token names a key that is not known, or not yet."""


class NotFresh(VerifierError):
    """It cannot be known now whether the token is still good: 503 with `Retry-After`.

    So it is of a verifier that does not run: one that was not entered yet, or is closed.
    """
