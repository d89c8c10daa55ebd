"""Machines, their keys and their tokens, for tests over the whole application."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tests.support.people import World
from ubr.application.machines.create_machine import CreateMachineCommand
from ubr.application.machines.create_machine_key import CreateMachineKeyCommand, KeyToCreate
from ubr.application.machines.log_in_machine import LogInMachineCommand, MachineTokenResult
from ubr.application.machines.representations import MachineResult, NewMachineKeyResult
from ubr.application.machines.revoke_machine_key import RevokeMachineKeyCommand
from ubr.application.machines.rotate_machine_key import KeyRotation, RotateMachineKeyCommand
from ubr.application.machines.update_machine import MachineChanges, UpdateMachineCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import InvalidToken


@dataclass(slots=True)
class Machines:
    """The acts upon machines, each in one line."""

    world: World
    _made: int = 0

    async def machine(
        self, *permissions: str, name: str | None = None, actor: Actor | System = SYSTEM
    ) -> MachineResult:
        """A machine with a role of these permissions."""
        self._made += 1
        machine = await self.world.ubr.create_machine(
            CreateMachineCommand(name=name or f"machine{self._made}"), actor=actor
        )
        if permissions:
            await self.world.assign(machine.id, (await self.world.role(*permissions)).name)
        return machine

    async def key(
        self,
        machine_id: UUID,
        *,
        scope: list[str] | None = None,
        expires_at: datetime | None = None,
        actor: Actor | System = SYSTEM,
    ) -> NewMachineKeyResult:
        key = KeyToCreate(name="a key", scope=scope, expires_at=expires_at)
        return await self.world.ubr.create_machine_key(
            CreateMachineKeyCommand(machine_id=machine_id, key=key), actor=actor
        )

    async def log_in(self, text: str, scope: str | None = None, client_id: str | None = None) -> MachineTokenResult:
        command = LogInMachineCommand(client_secret=text, scope=scope, client_id=client_id)
        return await self.world.ubr.log_in_machine(command)

    async def actor(self, text: str, scope: str | None = None) -> Actor:
        """The actor that a key makes."""
        return await self.world.ubr.authenticate((await self.log_in(text, scope)).access_token)

    async def working(self, *permissions: str) -> tuple[MachineResult, NewMachineKeyResult]:
        """A machine with these permissions, and a key of it."""
        machine = await self.machine(*permissions)
        return machine, await self.key(machine.id)

    async def revoke(self, machine_id: UUID, key_id: UUID, *, actor: Actor | System = SYSTEM) -> None:
        await self.world.ubr.revoke_machine_key(
            RevokeMachineKeyCommand(machine_id=machine_id, key_id=key_id), actor=actor
        )

    async def rotate(
        self, machine_id: UUID, key_id: UUID, overlap: int = 86_400, *, actor: Actor | System = SYSTEM
    ) -> NewMachineKeyResult:
        command = RotateMachineKeyCommand(machine_id=machine_id, key_id=key_id, rotation=KeyRotation(overlap=overlap))
        return await self.world.ubr.rotate_machine_key(command, actor=actor)

    async def set_status(self, machine_id: UUID, status: UserStatus, *, actor: Actor | System = SYSTEM) -> None:
        await self.world.ubr.update_machine(
            UpdateMachineCommand(machine_id=machine_id, changes=MachineChanges(status=status)), actor=actor
        )

    async def alive(self, token: MachineTokenResult) -> bool:
        """True if an access token is accepted."""
        try:
            await self.world.ubr.authenticate(token.access_token)
        except InvalidToken:
            return False
        return True
