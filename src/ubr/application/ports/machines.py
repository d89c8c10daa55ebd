"""Machines and their keys. A row read in a writing unit stays locked until the unit ends."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from ubr.domain.concealed import Concealed

if TYPE_CHECKING:
    from ubr.application.ports.paging import After
    from ubr.domain.ids import MachineKeyId, UserId
    from ubr.domain.machines.key import MachineKey
    from ubr.domain.machines.machine import Machine


class MintedMachineKey(Concealed, frozen=True):
    """A new key for its holder: its text, and its encrypted digest."""

    text: str
    sealed: bytes


class MachineKeyMint(Protocol):
    """Keys: 256 random bits each. The store holds only a SHA-256 digest, encrypted with a secret of the installation.

    A plain hash is enough for so many random bits: no computer guesses them, so a slow hash would only slow the
    logins down. The encryption binds the digest to its key and its machine: a row that was written without the secret,
    or copied to another machine, matches no key.
    """

    def mint(self, key_id: MachineKeyId, user_id: UserId) -> MintedMachineKey:
        """A new key of this machine that names its id."""
        ...

    def matches(self, text: str, key: MachineKey | None) -> bool:
        """True if this is the text of the key. Takes the same time for any text, any key, and None."""
        ...

    def rebind(self, key: MachineKey) -> bytes | None:
        """The digest, encrypted with the newest secret; the same object if it is already. None if it cannot be read."""
        ...


class Machines(Protocol):
    """The account of a machine is a user: what happens to that row happens to the machine."""

    async def get(self, user_id: UserId) -> Machine | None:
        """The machine; None if missing. In a writing unit its user is locked."""
        ...

    async def page(self, after: After[str] | None, limit: int) -> list[Machine]:
        """At most `limit` machines after `after`, by name; never locked."""
        ...

    async def add(self, machine: Machine) -> None:
        """Store a new machine with its user. Errors: `MachineNameTaken`."""
        ...

    async def save(self, machine: Machine) -> None:
        """Store the new state of a machine read in this unit, and that of its user."""
        ...


class MachineKeys(Protocol):
    """A key is deleted with the user of its machine. The unit that changes one has locked that user before."""

    async def get(self, key_id: MachineKeyId) -> MachineKey | None:
        """The key, ended or not; None if missing."""
        ...

    async def page(self, user_id: UserId, after: After[datetime] | None, limit: int) -> list[MachineKey]:
        """At most `limit` keys of a machine after `after`, ended ones included, newest first; never locked."""
        ...

    async def count(self, user_id: UserId, now: datetime) -> int:
        """The number of keys of a machine that are accepted at this moment."""
        ...

    async def add(self, key: MachineKey) -> None:
        """Store a new key. Errors: `UserNotFound` if its machine was deleted."""
        ...

    async def save(self, key: MachineKey) -> None:
        """Store the new state of a key read in this unit, but not its encrypted digest."""
        ...

    async def every(self, after: MachineKeyId | None, limit: int) -> list[MachineKey]:
        """At most `limit` keys of all machines, in the order of ids, from the first one after `after`; never locked."""
        ...

    async def rebind(self, key: MachineKey, sealed: bytes) -> bool:
        """Replace the encrypted digest of a key, unless it is another one by now. True if it was replaced."""
        ...

    async def forget(self, ended_before: datetime, limit: int) -> int:
        """Delete at most `limit` keys that were revoked or expired before this. Returns the number deleted."""
        ...
