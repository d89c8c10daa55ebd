"""Errors about signing keys."""

from __future__ import annotations

from ubr.domain.error_kinds import NotFound, Unavailable


class SigningKeyNotFound(NotFound):
    """Only operators name signing keys, at the command line."""


class SigningKeyLocked(Unavailable):
    """No secret opens a signing key, so its tokens can be neither signed nor verified.

    Only operators see this error.
    """

    def __init__(self, *kids: str) -> None:
        super().__init__(f"No secret key opens the signing key {' or '.join(kids)}")
        self.kids = kids
