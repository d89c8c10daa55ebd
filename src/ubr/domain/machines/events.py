"""Events about machines and their keys. Their target is the account of the machine."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ubr.domain.event_kinds import Event, Facts, Level, Target, UserEvent
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.revocation.changes import Change


class MachineCreated(UserEvent, frozen=True, kw_only=True):
    action = "machine.created"
    message = "A machine was created"

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()


class MachineUpdated(UserEvent, frozen=True, kw_only=True):
    """The description changed. Its text is not stored."""

    action = "machine.updated"
    message = "A machine was changed"

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()


class MachineKeyEvent(UserEvent, frozen=True, kw_only=True):
    key_id: MachineKeyId

    def data(self) -> Facts:
        return {"key_id": str(self.key_id)}


class MachineKeyCreated(MachineKeyEvent, frozen=True, kw_only=True):
    """`scope` names the permissions that the key is limited to; None for all of the machine's."""

    action = "machine.key_created"
    message = "A key of a machine was created"
    level: ClassVar[Level] = "warning"
    scope: str | None
    expires_at: datetime | None

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()

    def data(self) -> Facts:
        end = None if self.expires_at is None else self.expires_at.isoformat()
        return {"key_id": str(self.key_id), "scope": self.scope, "expires_at": end}


class MachineKeyRotated(MachineKeyEvent, frozen=True, kw_only=True):
    """Describes the old key, which ends at `ends_at`. Tokens that could outlast it are replaced at once."""

    action = "machine.key_rotated"
    message = "A key of a machine was rotated"
    level: ClassVar[Level] = "warning"
    successor: MachineKeyId
    ends_at: datetime

    def data(self) -> Facts:
        return {
            "key_id": str(self.key_id),
            "successor": str(self.successor),
            "ends_at": self.ends_at.isoformat(),
        }


class MachineKeyRevoked(MachineKeyEvent, frozen=True, kw_only=True):
    action = "machine.key_revoked"
    message = "A key of a machine was revoked"
    level: ClassVar[Level] = "warning"


class MachineTokenRefused(Event, frozen=True, kw_only=True):
    """A login with a key failed. The presented text is not stored, and neither is its digest.

    `user_id` and `key_id` are None if no key has the id that the text names. `reason` is for readers of the log alone:
    `malformed`, `unknown_key`, `other_machine`, `wrong_secret`, `revoked`, `expired`, `disabled` or `scope`. The caller
    gets the same answer for all of them but the last.
    """

    action = "machine.token_refused"
    message = "A login of a machine failed"
    level: ClassVar[Level] = "warning"
    user_id: UserId | None
    key_id: MachineKeyId | None
    reason: str

    @property
    def target(self) -> Target | None:
        return None if self.user_id is None else Target("user", str(self.user_id))

    def data(self) -> Facts:
        known = {} if self.key_id is None else {"key_id": str(self.key_id)}
        return {"reason": self.reason, **known}


class MachineKeysRewrapped(Event, frozen=True, kw_only=True):
    """The digests of `keys` keys of machines were encrypted with another secret; the keys did not change."""

    action = "machine_keys.rewrapped"
    message = "Digests of the keys of machines were rewrapped"
    keys: int

    def data(self) -> Facts:
        return {"keys": self.keys}
