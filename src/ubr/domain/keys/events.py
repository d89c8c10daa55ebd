"""Events about signing keys."""

from __future__ import annotations

from typing import ClassVar

from ubr.domain.event_kinds import Event, Facts, Level, Target
from ubr.domain.revocation.changes import KEYS_CHANGED, Change


class SigningKeyEvent(Event, frozen=True, kw_only=True):
    kid: str

    @property
    def target(self) -> Target:
        return Target("signing_key", self.kid)


class SigningKeyCreated(SigningKeyEvent, frozen=True, kw_only=True):
    """Writes no change record: the act that makes the key has an event with one."""

    action = "signing_key.created"
    message = "A signing key was created"


class SigningKeyRotated(SigningKeyEvent, frozen=True, kw_only=True):
    """Describes the old key. Tokens of both keys stay valid."""

    action = "signing_key.rotated"
    message = "A signing key was rotated"
    successor: str

    @property
    def changes(self) -> tuple[Change, ...]:
        return (KEYS_CHANGED,)

    def data(self) -> Facts:
        return {"successor": self.successor}


class SigningKeyRevoked(SigningKeyEvent, frozen=True, kw_only=True):
    action = "signing_key.revoked"
    message = "A signing key was revoked"
    level: ClassVar[Level] = "warning"

    @property
    def changes(self) -> tuple[Change, ...]:
        return (Change("key", self.kid),)


class PasswordsRewrapped(Event, frozen=True, kw_only=True):
    """Password hashes of `users` users were encrypted with another secret; their passwords did not change."""

    action = "passwords.rewrapped"
    message = "Password hashes were rewrapped"
    users: int

    def data(self) -> Facts:
        return {"users": self.users}


class SigningKeyRewrapped(SigningKeyEvent, frozen=True, kw_only=True):
    """The key was encrypted with another secret; the key itself did not change."""

    action = "signing_key.rewrapped"
    message = "A signing key was rewrapped"
