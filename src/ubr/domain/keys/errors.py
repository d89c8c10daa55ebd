"""Errors about signing keys."""

from __future__ import annotations

from ubr.domain.error_kinds import NotFound, Unavailable


class SigningKeyNotFound(NotFound):
    """Only operators name signing keys, and only at the command line."""


class NoSigningKey(Unavailable):
    """There is none, or no secret of this process opens the one whose time it is."""

    code = "no-signing-key"
    title = "No key signs access tokens"


class SecretMismatch(Unavailable):
    """No secret opens any of the keys in use, so whatever it seals the service cannot open. Only operators are told.

    An operator who means it says that the secret is lost.
    """

    def __init__(self) -> None:
        super().__init__("The secret keys open none of the keys in use")


class SigningKeyLocked(Unavailable):
    """No secret opens a signing key, so its tokens can be neither made nor verified. Only operators are told."""

    def __init__(self, *kids: str) -> None:
        super().__init__(f"No secret key opens the signing key {' or '.join(kids)}")
        self.kids = kids
