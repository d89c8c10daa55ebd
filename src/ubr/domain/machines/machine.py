"""A machine: an account for a program. It logs in with keys, and holds roles as a person does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ubr.domain.accounts.user import User, UserStatus
from ubr.domain.error_kinds import Invalid
from ubr.domain.ids import UserId
from ubr.domain.machines.events import MachineCreated, MachineUpdated

MACHINE_NAME_PATTERN: Final = r"[a-z][a-z0-9_-]{0,49}"

_NAME: Final = re.compile(MACHINE_NAME_PATTERN)


class MachineName(str):
    """The name of a machine: `^[a-z][a-z0-9_-]{0,49}$`. It never changes."""

    __slots__ = ()

    @classmethod
    def parse(cls, raw: str, pointer: str = "/name") -> MachineName:
        """Errors: `Invalid`."""
        if not _NAME.fullmatch(raw):
            raise Invalid.at(pointer, f"must match ^{MACHINE_NAME_PATTERN}$")
        return cls(raw)


@dataclass(slots=True, kw_only=True)
class Machine:
    """State of a machine. Its account has its roles, its status, its versions and its events.

    The full name of the account is the name of the machine.
    """

    user: User
    name: MachineName
    description: str | None

    @classmethod
    def create(cls, *, id: UserId, name: MachineName, description: str | None, now: datetime) -> Machine:
        machine = cls(user=User.for_machine(id=id, name=name, now=now), name=name, description=description)
        machine.user.events.append(MachineCreated(user_id=id))
        return machine

    @property
    def id(self) -> UserId:
        return self.user.id

    def update(self, *, description: str | None, status: UserStatus, now: datetime) -> None:
        """Take the new values. Unchanged values leave no trace."""
        if description != self.description:
            self.description = description
            self.user.touch(now)
            self.user.events.append(MachineUpdated(user_id=self.id))
        self.user.update(email=self.user.email, full_name=self.user.full_name, status=status, now=now)
