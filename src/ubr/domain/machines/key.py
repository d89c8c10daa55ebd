"""A key of a machine: a long random secret, of which only an encrypted digest is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from ubr.domain.error_kinds import Invalid
from ubr.domain.event_kinds import Event
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.machines.errors import MachineKeyEnded
from ubr.domain.machines.events import MachineKeyCreated, MachineKeyRevoked, MachineKeyRotated

MAX_KEYS: Final = 20
"""Maximum number of keys of one machine that have not ended."""

MAX_KEY_NAME_LENGTH: Final = 100

MAX_KEY_SESSIONS: Final = 50
"""Maximum number of sessions of one key: one for each scope in use. It evicts none of another key, so that the holder
of a narrow key cannot end the sessions of the others.
"""

MIN_KEY_LIFETIME: Final = timedelta(seconds=60)
"""Minimum time from now to the end of a key."""

MAX_OVERLAP: Final = timedelta(days=30)
"""Maximum time for which a rotated key is still accepted."""

USE_NOTED_EVERY: Final = timedelta(hours=1)
"""The precision of `last_used_at`: the logins of an hour write it once."""


@dataclass(slots=True, kw_only=True)
class MachineKey:
    """State of a key. `sealed` is the SHA-256 digest of its text, encrypted for this key and this machine.

    `scope` names the permissions that the key is limited to, separated by spaces; None for all of the machine's.
    """

    id: MachineKeyId
    user_id: UserId
    name: str
    sealed: bytes = field(repr=False)
    scope: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    events: list[Event] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def create(
        cls,
        *,
        id: MachineKeyId,
        user_id: UserId,
        name: str,
        sealed: bytes,
        scope: str | None,
        expires_at: datetime | None,
        now: datetime,
    ) -> MachineKey:
        key = cls(
            id=id,
            user_id=user_id,
            name=name,
            sealed=sealed,
            scope=scope,
            created_at=now,
            expires_at=expires_at,
        )
        key.events.append(MachineKeyCreated(user_id=user_id, key_id=id, scope=scope, expires_at=expires_at))
        return key

    def accepted_at(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def rotate(self, successor: MachineKeyId, *, ends_at: datetime, now: datetime) -> datetime:
        """Another key takes the place of this one, which ends at that moment, or earlier if it expires earlier.

        Returns the end. Errors: `MachineKeyEnded` if it has ended already.
        """
        if not self.accepted_at(now):
            raise MachineKeyEnded
        self.expires_at = ends_at if self.expires_at is None else min(ends_at, self.expires_at)
        self.events.append(
            MachineKeyRotated(user_id=self.user_id, key_id=self.id, successor=successor, ends_at=self.expires_at)
        )
        return self.expires_at

    def revoke(self, *, now: datetime) -> None:
        """End the key permanently. A second call does nothing."""
        if self.revoked_at is not None:
            return
        self.revoked_at = now
        self.events.append(MachineKeyRevoked(user_id=self.user_id, key_id=self.id))

    def use(self, *, now: datetime) -> None:
        """A login used it."""
        self.last_used_at = now

    def use_is_noted_at(self, now: datetime) -> bool:
        """True if a use at this moment need not be written, because one of the last hour was."""
        return self.last_used_at is not None and now - self.last_used_at < USE_NOTED_EVERY


def check_expiry(
    expires_at: datetime | None, *, max_lifetime: timedelta | None, now: datetime, pointer: str = "/expires_at"
) -> datetime | None:
    """The end of a new key: the requested one, or else that of the operator's maximum.

    Errors: `Invalid` if it is less than a minute ahead, or beyond the maximum.
    """
    latest = None if max_lifetime is None else now + max_lifetime
    if expires_at is None:
        return latest
    if expires_at - now < MIN_KEY_LIFETIME:
        raise Invalid.at(pointer, "must be at least 60 seconds ahead")
    if latest is not None and expires_at > latest:
        raise Invalid.at(pointer, "is later than this service allows for a key")
    return expires_at
