"""The commands about machines and their keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

import rich_click as click

from ubr.entrypoints.cli.output import Refused, moment, print_json, print_table
from ubr.settings import Settings
from ubr.settings.values import parse_duration

if TYPE_CHECKING:
    from datetime import datetime

    from ubr.application.app import Application
    from ubr.application.kernel.representations import MachineKeyResult
    from ubr.application.machines.representations import MachineResult, NewMachineKeyResult

# Each command imports its dependencies when it runs, so that help and usage errors are fast.
# ruff: noqa: PLC0415

T = TypeVar("T")

_machine: Final = click.argument("machine", metavar="NAME_OR_ID")
_key: Final = click.argument("key_id", type=click.UUID)
_json: Final = click.option("--json", "json", is_flag=True, help="Print JSON.")
_expires: Final = click.option("--expires", metavar="DURATION", help="The life of the new key, such as 90d.")


@click.group()
def machines() -> None:
    """Create, disable and delete machines, and create, rotate and revoke their keys."""


@machines.command()
@click.argument("name")
@click.option("--description", help="The purpose of the machine, for people.")
@click.option("--role", "roles", multiple=True, help="A role to assign; repeat it for several.")
@_json
def create(*, name: str, description: str | None, roles: tuple[str, ...], json: bool) -> None:
    """Create a machine. It cannot log in before it has a key."""

    async def act(ubr: Application) -> MachineResult:
        from ubr.application.machines.create_machine import CreateMachineCommand
        from ubr.domain.actor import SYSTEM

        command = CreateMachineCommand(name=name, description=description, roles=list(roles))
        return await ubr.create_machine(command, actor=SYSTEM)

    machine = _with_application(act, prepared=True)
    if json:
        print_json(machine)
    else:
        click.echo(f"The machine {machine.name} has the id {machine.id}. `ubr machines create-key` makes a key for it.")


@machines.command("list")
@_json
def list_machines(*, json: bool) -> None:
    """Show all machines, by name."""
    found = _with_application(_all)
    if json:
        print_json(found)
    elif not found:
        click.echo("There is no machine.")
    else:
        rows = ((each.name, each.status, ", ".join(each.roles), each.description or "", str(each.id)) for each in found)
        print_table(("name", "status", "roles", "description", "id"), rows, whole=("name", "status", "id"))


@machines.command()
@_machine
def disable(*, machine: str) -> None:
    """Disable a machine: its keys are refused, and all its sessions end."""
    click.echo(f"{_set_status(machine, active=False).name} is disabled, and has no sessions.")


@machines.command()
@_machine
def enable(*, machine: str) -> None:
    """Enable a disabled machine. Its keys are accepted again."""
    click.echo(f"{_set_status(machine, active=True).name} is enabled.")


@machines.command()
@_machine
def delete(*, machine: str) -> None:
    """Delete a machine with all its keys, sessions and roles. This cannot be undone."""

    async def act(ubr: Application) -> MachineResult:
        from ubr.application.machines.delete_machine import DeleteMachineCommand
        from ubr.domain.actor import SYSTEM

        found = await _find(ubr, machine)
        await ubr.delete_machine(DeleteMachineCommand(machine_id=found.id), actor=SYSTEM)
        return found

    click.echo(f"{_with_application(act).name} is deleted.")


@machines.command()
@_machine
@click.option("--name", required=True, help="The name of the key, for people: its place or its purpose.")
@click.option("--scope", "scope", multiple=True, help="A permission that the key is limited to; repeat it for several.")
@_expires
@_json
def create_key(*, machine: str, name: str, scope: tuple[str, ...], expires: str | None, json: bool) -> None:
    """Create a key, and print it. This is the only time that it is shown."""

    async def act(ubr: Application) -> NewMachineKeyResult:
        from ubr.application.machines.create_machine_key import CreateMachineKeyCommand, KeyToCreate
        from ubr.domain.actor import SYSTEM

        found = await _find(ubr, machine)
        key = KeyToCreate(name=name, scope=list(scope) if scope else None, expires_at=await _end(ubr, expires))
        return await ubr.create_machine_key(CreateMachineKeyCommand(machine_id=found.id, key=key), actor=SYSTEM)

    _show(_with_application(act, prepared=True), json=json)


@machines.command()
@_machine
@_json
def list_keys(*, machine: str, json: bool) -> None:
    """Show the keys of a machine, newest first, without their texts."""

    async def act(ubr: Application) -> list[MachineKeyResult]:
        from ubr.application.kernel.paging import MAX_LIMIT
        from ubr.application.machines.list_machine_keys import ListMachineKeysCommand
        from ubr.domain.actor import SYSTEM

        found: list[MachineKeyResult] = []
        cursor = None
        machine_id = (await _find(ubr, machine)).id
        while True:
            command = ListMachineKeysCommand(machine_id=machine_id, limit=MAX_LIMIT, cursor=cursor)
            page = await ubr.list_machine_keys(command, actor=SYSTEM)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    keys = _with_application(act)
    if json:
        print_json(keys)
        return
    if not keys:
        click.echo("The machine has no key.")
        return
    rows = (
        (
            str(key.id),
            key.name,
            "all" if key.scope is None else ", ".join(key.scope),
            _ended(key),
            "never" if key.last_used_at is None else moment(key.last_used_at),
        )
        for key in keys
    )
    print_table(("id", "name", "scope", "end", "last used"), rows, whole=("id", "end", "last used"))


@machines.command()
@_machine
@_key
@click.option("--overlap", default="1d", show_default=True, metavar="DURATION", help="The rest of the old key's life.")
@_expires
@_json
def rotate_key(*, machine: str, key_id: UUID, overlap: str, expires: str | None, json: bool) -> None:
    """Create a key like KEY_ID, which ends after the overlap, and print the new key."""

    async def act(ubr: Application) -> NewMachineKeyResult:
        from ubr.application.machines.rotate_machine_key import KeyRotation, RotateMachineKeyCommand
        from ubr.domain.actor import SYSTEM

        found = await _find(ubr, machine)
        seconds = int(_duration(overlap, "--overlap").total_seconds())
        rotation = KeyRotation(overlap=seconds, expires_at=await _end(ubr, expires))
        command = RotateMachineKeyCommand(machine_id=found.id, key_id=key_id, rotation=rotation)
        return await ubr.rotate_machine_key(command, actor=SYSTEM)

    _show(_with_application(act, prepared=True), json=json)


@machines.command()
@_machine
@_key
def revoke_key(*, machine: str, key_id: UUID) -> None:
    """Revoke the key KEY_ID. When the command returns, no worker accepts an access token of it."""

    async def act(ubr: Application) -> None:
        from ubr.application.machines.revoke_machine_key import RevokeMachineKeyCommand
        from ubr.domain.actor import SYSTEM

        found = await _find(ubr, machine)
        await ubr.revoke_machine_key(RevokeMachineKeyCommand(machine_id=found.id, key_id=key_id), actor=SYSTEM)

    _with_application(act)
    click.echo(f"The key {key_id} is revoked.")


# --- the same with an application ------------------------------------------------------------------------------------


def _with_application(act: Callable[[Application], Awaitable[T]], *, prepared: bool = False) -> T:
    """`prepared` for an act that uses the secret: it is refused with a secret that is not that of the installation."""
    settings = Settings.from_env()
    import asyncio

    async def run() -> T:
        from ubr.domain.errors import MachineKeyNotFound
        from ubr.entrypoints.cli.starting import opened

        async with opened(settings, prepared=prepared) as ubr:
            try:
                return await act(ubr)
            except MachineKeyNotFound as error:
                raise Refused(f"{error.detail}.") from None

    return asyncio.run(run())


async def _all(ubr: Application) -> list[MachineResult]:
    from ubr.application.kernel.paging import MAX_LIMIT
    from ubr.application.machines.list_machines import ListMachinesCommand
    from ubr.domain.actor import SYSTEM

    found: list[MachineResult] = []
    cursor = None
    while True:
        page = await ubr.list_machines(ListMachinesCommand(limit=MAX_LIMIT, cursor=cursor), actor=SYSTEM)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


async def _find(ubr: Application, name_or_id: str) -> MachineResult:
    """Errors: `Refused` if no machine has this name or id."""
    for machine in await _all(ubr):
        if name_or_id in {machine.name, str(machine.id)}:
            return machine
    raise Refused(f"No machine has the name or the id {name_or_id}.")


def _set_status(machine: str, *, active: bool) -> MachineResult:
    async def act(ubr: Application) -> MachineResult:
        from ubr.application.machines.update_machine import MachineChanges, UpdateMachineCommand
        from ubr.domain.accounts.user import UserStatus
        from ubr.domain.actor import SYSTEM

        found = await _find(ubr, machine)
        changes = MachineChanges(status=UserStatus.ACTIVE if active else UserStatus.DISABLED)
        return await ubr.update_machine(UpdateMachineCommand(machine_id=found.id, changes=changes), actor=SYSTEM)

    return _with_application(act)


async def _end(ubr: Application, expires: str | None) -> datetime | None:
    """The end of a new key, by the clock of the store, which decides when keys have ended."""
    if expires is None:
        return None
    lifetime = _duration(expires, "--expires")
    async with ubr.log_in_machine.unit_of_work.read() as tx:
        return tx.now + lifetime


def _duration(text: str, option: str) -> timedelta:
    """Errors: `click.UsageError`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"{option} {error}.") from None


def _ended(key: MachineKeyResult) -> str:
    if key.revoked_at is not None:
        return f"revoked {moment(key.revoked_at)}"
    return "none" if key.expires_at is None else moment(key.expires_at)


def _show(key: NewMachineKeyResult, *, json: bool) -> None:
    """Print a new key: its text alone to standard output, so that it can be piped into a store of secrets."""
    if json:
        print_json(key)
        return
    end = "has no end" if key.key.expires_at is None else f"ends at {moment(key.key.expires_at)}"
    click.echo(f"The key {key.key.id} of the machine {key.client_id} {end}. It is shown only now:", err=True)
    click.echo(key.client_secret)
