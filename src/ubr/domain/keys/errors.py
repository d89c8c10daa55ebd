"""Errors about signing keys."""

from __future__ import annotations

from ubr.domain.error_kinds import NotFound, Unavailable


class SigningKeyNotFound(NotFound):
    """Raised only by operator commands: signing keys are addressed only on the command line."""


class SigningKeyLocked(Unavailable):
    """No secret decrypts a signing key, so its tokens can be neither issued nor verified. For operators only."""

    def __init__(self, *kids: str) -> None:
        super().__init__(f"No secret key decrypts the signing key {' or '.join(kids)}")
        self.kids = kids
