"""Whatever is done with machines and their keys in whatever order: the application agrees with a small model."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from tests.support.modelled import Modelled
from ubr.application.machines.create_machine import CreateMachineCommand
from ubr.application.machines.create_machine_key import CreateMachineKeyCommand, KeyToCreate
from ubr.application.machines.delete_machine import DeleteMachineCommand
from ubr.application.machines.list_machine_keys import ListMachineKeysCommand
from ubr.application.machines.log_in_machine import LogInMachineCommand
from ubr.application.machines.revoke_machine_key import RevokeMachineKeyCommand
from ubr.application.machines.rotate_machine_key import KeyRotation, RotateMachineKeyCommand
from ubr.application.machines.update_machine import MachineChanges, UpdateMachineCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import InvalidClient, MachineKeyEnded, MachineNameTaken

NAMES = ["a", "b"]
MAX_KEYS = 6
"""Keys of one machine in the model, fewer than ubr allows."""


@dataclass
class Key:
    """Of a machine. A token is accepted until its end or that of its key, unless it was ended before."""

    id: UUID
    machine: UUID
    text: str
    end: datetime | None
    revoked: bool = False
    tokens: list[tuple[str, datetime]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def accepted(self, now: datetime) -> bool:
        return not self.revoked and (self.end is None or now < self.end)

    def end_tokens(self) -> None:
        self.ended += [token for token, _ in self.tokens]
        self.tokens = []


picks = st.integers(0, 1000)


class Machines(Modelled):
    def __init__(self) -> None:
        super().__init__()
        self.machines: dict[UUID, str] = {}
        """The names of the machines that exist."""
        self.disabled: set[UUID] = set()
        self.keys: list[Key] = []

    @initialize()
    def first(self) -> None:
        """Most rules need a key."""
        self.a_machine_is_created("a")
        self.a_key_is_created(0, None)
        self.a_machine_logs_in(0)

    def machine(self, pick: int) -> UUID | None:
        return sorted(self.machines)[pick % len(self.machines)] if self.machines else None

    def key(self, pick: int) -> Key | None:
        """A key, also one that has ended."""
        return self.keys[pick % len(self.keys)] if self.keys else None

    def end_keys(self, machine: UUID) -> None:
        for key in self.keys:
            if key.machine == machine:
                key.end_tokens()

    @rule(name=st.sampled_from(NAMES))
    def a_machine_is_created(self, name: str) -> None:
        expected = MachineNameTaken if name in self.machines.values() else None
        made = self.does(self.world.ubr.create_machine(CreateMachineCommand(name=name), actor=SYSTEM), expected)
        if made is not None:
            self.machines[made.id] = name

    @rule(pick=picks, minutes=st.sampled_from([None, None, 2, 90]))
    def a_key_is_created(self, pick: int, minutes: int | None) -> None:
        machine = self.machine(pick)
        if machine is None or len([key for key in self.keys if key.machine == machine]) == MAX_KEYS:
            return
        end = None if minutes is None else self.now + timedelta(minutes=minutes)
        wanted = KeyToCreate(name="key", expires_at=end)
        command = CreateMachineKeyCommand(machine_id=machine, key=wanted)
        made = self.does(self.world.ubr.create_machine_key(command, actor=SYSTEM), None)
        self.keys.append(Key(made.key.id, machine, made.client_secret, end))

    @rule(pick=picks)
    def a_machine_logs_in(self, pick: int) -> None:
        key = self.key(pick)
        if key is None:
            return
        able = key.machine in self.machines and key.machine not in self.disabled and key.accepted(self.now)
        command = LogInMachineCommand(client_secret=key.text)
        answer = self.does(self.world.ubr.log_in_machine(command), None if able else InvalidClient, silent=True)
        if answer is not None:
            end = self.now + timedelta(seconds=answer.expires_in)
            assert key.end is None or end <= key.end
            key.tokens.append((answer.access_token, end))
            self.acts()

    @rule(pick=picks, overlap=st.sampled_from([0, 60, 3600]))
    def a_key_is_rotated(self, pick: int, overlap: int) -> None:
        key = self.key(pick)
        if key is None or key.machine not in self.machines:
            return
        if len([each for each in self.keys if each.machine == key.machine]) == MAX_KEYS:
            return
        command = RotateMachineKeyCommand(
            machine_id=key.machine, key_id=key.id, rotation=KeyRotation(overlap=overlap, expires_at=None)
        )
        expected = None if key.accepted(self.now) else MachineKeyEnded
        made = self.does(self.world.ubr.rotate_machine_key(command, actor=SYSTEM), expected)
        if made is not None:
            end = self.now + timedelta(seconds=overlap)
            key.end = end if key.end is None else min(key.end, end)
            key.tokens = [(token, min(until, key.end)) for token, until in key.tokens]
            self.keys.append(Key(made.key.id, key.machine, made.client_secret, None))

    @rule(pick=picks)
    def a_key_is_revoked(self, pick: int) -> None:
        key = self.key(pick)
        if key is None or key.machine not in self.machines:
            return
        command = RevokeMachineKeyCommand(machine_id=key.machine, key_id=key.id)
        self.does(self.world.ubr.revoke_machine_key(command, actor=SYSTEM), None, silent=True)
        self.acts(some=not key.revoked)
        key.revoked = True
        key.end_tokens()

    @rule(pick=picks, status=st.sampled_from(UserStatus))
    def a_machine_is_switched(self, pick: int, status: UserStatus) -> None:
        machine = self.machine(pick)
        if machine is None:
            return
        disabled = status is UserStatus.DISABLED
        command = UpdateMachineCommand(machine_id=machine, changes=MachineChanges(status=status))
        self.does(self.world.ubr.update_machine(command, actor=SYSTEM), None, silent=True)
        self.acts(some=disabled is not (machine in self.disabled))
        if disabled:
            self.disabled.add(machine)
            self.end_keys(machine)
        else:
            self.disabled.discard(machine)

    @rule(pick=picks)
    def a_machine_is_deleted(self, pick: int) -> None:
        machine = self.machine(pick)
        if machine is not None and pick % 3 == 0:
            self.does(self.world.ubr.delete_machine(DeleteMachineCommand(machine_id=machine), actor=SYSTEM), None)
            del self.machines[machine]
            self.end_keys(machine)

    @invariant()
    def tokens_of_machines_are_accepted_while_their_keys_are(self) -> None:
        for key in self.keys:
            for token, end in key.tokens:
                assert self.run(self.world.accepted(token)) is (self.now < end)
            for token in key.ended:
                assert not self.run(self.world.accepted(token))

    @invariant()
    def keys_are_listed_with_their_ends(self) -> None:
        for machine in self.machines:
            command = ListMachineKeysCommand(machine_id=machine)
            page = self.run(self.world.ubr.list_machine_keys(command, actor=SYSTEM))
            assert {each.id: (each.expires_at, each.revoked_at is not None) for each in page.items} == {
                key.id: (key.end, key.revoked) for key in self.keys if key.machine == machine
            }

    @rule(seconds=st.sampled_from([1, 61, 4000]))
    def time_goes_by(self, seconds: int) -> None:
        self.world.clock.move(seconds=seconds)


TestMachines = Machines.TestCase
TestMachines.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
