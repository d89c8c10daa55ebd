"""Errors about signing keys."""

from __future__ import annotations

from ubr.domain.error_kinds import NotFound, Unavailable


class SigningKeyNotFound(NotFound):
    """Raised only by operator commands: signing keys are addressed only on the command line."""


class NoSigningKey(Unavailable):
    """No key signs at this time, or no secret of this process decrypts it."""

    code = "no-signing-key"
    title = "No key signs access tokens"


class SecretMismatch(Unavailable):
    """No secret decrypts a key in use, so the service could not decrypt a new key. For operators only.

    Operators can confirm that the secret is lost.
    """

    def __init__(self) -> None:
        super().__init__("The secret keys decrypt none of the keys in use")


class SigningKeyLocked(Unavailable):
    """No secret decrypts a signing key, so its tokens can be neither issued nor verified. For operators only."""

    def __init__(self, *kids: str) -> None:
        super().__init__(f"No secret key decrypts the signing key {' or '.join(kids)}")
        self.kids = kids
