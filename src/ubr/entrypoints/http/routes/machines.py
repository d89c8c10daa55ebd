"""Machines, their keys, and their login."""

from __future__ import annotations

from typing import Annotated, Final

from ubr.application.kernel.command import Command
from ubr.application.kernel.fields import EXAMPLE_ID, example
from ubr.application.kernel.representations import MachineKeyResult, Page
from ubr.application.machines.create_machine import CreateMachine, CreateMachineCommand
from ubr.application.machines.create_machine_key import CreateMachineKey, CreateMachineKeyCommand, KeyToCreate
from ubr.application.machines.delete_machine import DeleteMachine, DeleteMachineCommand
from ubr.application.machines.get_machine import GetMachine, GetMachineCommand
from ubr.application.machines.list_machine_keys import ListMachineKeys, ListMachineKeysCommand
from ubr.application.machines.list_machines import ListMachines, ListMachinesCommand
from ubr.application.machines.log_in_machine import LogInMachine, LogInMachineCommand, MachineTokenResult
from ubr.application.machines.representations import EXAMPLE_KEY, MachineResult, NewMachineKeyResult
from ubr.application.machines.revoke_machine_key import RevokeMachineKey, RevokeMachineKeyCommand
from ubr.application.machines.rotate_machine_key import KeyRotation, RotateMachineKey, RotateMachineKeyCommand
from ubr.application.machines.update_machine import MachineChanges, UpdateMachine, UpdateMachineCommand
from ubr.domain.errors import (
    GrantExceedsOwn,
    Invalid,
    InvalidClient,
    InvalidCursor,
    InvalidScope,
    MachineKeyEnded,
    MachineKeyNotFound,
    MachineNameTaken,
    MachineNotFound,
    RateLimited,
    TooManyMachineKeys,
    UnsupportedGrantType,
)
from ubr.entrypoints.http.basic import basic_credentials
from ubr.entrypoints.http.call import Call, operation
from ubr.entrypoints.http.problems.response import problem
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.responses import created, ok, page, revised
from ubr.entrypoints.http.routes.paging import Paging
from ubr.entrypoints.http.routing import Controller, delete, get, patch, post

GRANT_TYPE: Final = "client_credentials"


class TokenRequest(Command, frozen=True, kw_only=True):
    """The form of RFC 6749 (4.4.2). The id and the key may be in `Authorization: Basic` instead (2.3.1)."""

    grant_type: Annotated[str, example(GRANT_TYPE)]
    client_id: Annotated[str | None, example(EXAMPLE_ID)] = None
    client_secret: Annotated[str | None, example(EXAMPLE_KEY)] = None
    scope: Annotated[str | None, example("users:read")] = None


class MachineLogin(Controller):
    """The token endpoint of RFC 6749, which has its own form of errors."""

    path = "/api/auth"

    async def failed(self, call: Call, error: Exception) -> Response:
        return problem(call.scope, error, oauth=True)

    @post(
        "/token",
        operation(
            LogInMachine,
            "machines",
            summary="Log in as a machine",
            body=TokenRequest,
            form=True,
            answer=MachineTokenResult,
            public=True,
            problems=(InvalidClient, InvalidScope, UnsupportedGrantType, RateLimited),
        ),
    )
    async def log_in(self, call: Call) -> Response:
        form = call.form().command(TokenRequest)
        if form.grant_type != GRANT_TYPE:
            raise UnsupportedGrantType(f"This service supports {GRANT_TYPE} alone")
        client_id, client_secret = form.client_id, form.client_secret
        if (basic := basic_credentials(call.fields)) is not None:
            if client_secret is not None or client_id not in {None, basic.client_id}:
                raise Invalid("Send the id and the key either in the Authorization field or in the form, not in both")
            client_id, client_secret = basic
        if client_secret is None:
            raise InvalidClient("The request contains no key")
        command = LogInMachineCommand(client_secret=client_secret, client_id=client_id, scope=form.scope)
        return ok(await call.ubr.log_in_machine(command))


class Machines(Controller):
    path = "/api/machines"

    @get(
        "/",
        operation(
            ListMachines,
            "machines",
            summary="List machines",
            query=ListMachinesCommand,
            answer=Page[MachineResult],
            problems=(InvalidCursor,),
        ),
    )
    async def list_all(self, call: Call) -> Response:
        return page(call, await call.ubr.list_machines(call.filters(ListMachinesCommand), actor=call.actor))

    @post(
        "/",
        operation(
            CreateMachine,
            "machines",
            status=201,
            summary="Create a machine",
            body=CreateMachineCommand,
            answer=MachineResult,
            tagged=True,
            located=True,
            problems=(GrantExceedsOwn, MachineNameTaken),
        ),
    )
    async def create(self, call: Call) -> Response:
        machine = await call.ubr.create_machine(call.command(CreateMachineCommand), actor=call.actor)
        return created(call, machine, "/api/machines", machine.id)

    @get(
        "/{machine_id}",
        operation(
            GetMachine,
            "machines",
            summary="Read one machine",
            answer=MachineResult,
            tagged=True,
            problems=(MachineNotFound,),
        ),
    )
    async def read(self, call: Call) -> Response:
        command = GetMachineCommand(machine_id=call.id("machine_id"))
        return revised(call, await call.ubr.get_machine(command, actor=call.actor))

    @patch(
        "/{machine_id}",
        operation(
            UpdateMachine,
            "machines",
            summary="Update a machine",
            body=MachineChanges,
            answer=MachineResult,
            tagged=True,
            conditional=True,
            problems=(MachineNotFound, GrantExceedsOwn),
        ),
    )
    async def update(self, call: Call) -> Response:
        changes = call.command(MachineChanges)
        command = UpdateMachineCommand(machine_id=call.id("machine_id"), changes=changes, if_match=call.if_match)
        return revised(call, await call.ubr.update_machine(command, actor=call.actor))

    @delete(
        "/{machine_id}",
        operation(
            DeleteMachine,
            "machines",
            status=204,
            summary="Delete a machine",
            conditional=True,
            problems=(MachineNotFound, GrantExceedsOwn),
        ),
    )
    async def remove(self, call: Call) -> None:
        command = DeleteMachineCommand(machine_id=call.id("machine_id"), if_match=call.if_match)
        await call.ubr.delete_machine(command, actor=call.actor)

    @get(
        "/{machine_id}/keys",
        operation(
            ListMachineKeys,
            "machines",
            summary="List the keys of a machine",
            query=Paging,
            answer=Page[MachineKeyResult],
            problems=(InvalidCursor, MachineNotFound),
        ),
    )
    async def list_keys(self, call: Call) -> Response:
        part = call.filters(Paging)
        command = ListMachineKeysCommand(machine_id=call.id("machine_id"), limit=part.limit, cursor=part.cursor)
        return page(call, await call.ubr.list_machine_keys(command, actor=call.actor))

    @post(
        "/{machine_id}/keys",
        operation(
            CreateMachineKey,
            "machines",
            status=201,
            summary="Create a key for a machine",
            body=KeyToCreate,
            answer=NewMachineKeyResult,
            problems=(MachineNotFound, GrantExceedsOwn, TooManyMachineKeys),
        ),
    )
    async def create_key(self, call: Call) -> Response:
        key = call.command(KeyToCreate)
        command = CreateMachineKeyCommand(machine_id=call.id("machine_id"), key=key)
        return ok(await call.ubr.create_machine_key(command, actor=call.actor))

    @post(
        "/{machine_id}/keys/{key_id}/rotate",
        operation(
            RotateMachineKey,
            "machines",
            status=201,
            summary="Rotate a key of a machine",
            body=KeyRotation,
            body_optional=True,
            answer=NewMachineKeyResult,
            problems=(
                MachineNotFound,
                MachineKeyNotFound,
                GrantExceedsOwn,
                MachineKeyEnded,
                TooManyMachineKeys,
            ),
        ),
    )
    async def rotate_key(self, call: Call) -> Response:
        rotation = call.command(KeyRotation)
        command = RotateMachineKeyCommand(machine_id=call.id("machine_id"), key_id=call.id("key_id"), rotation=rotation)
        return ok(await call.ubr.rotate_machine_key(command, actor=call.actor))

    @delete(
        "/{machine_id}/keys/{key_id}",
        operation(
            RevokeMachineKey,
            "machines",
            status=204,
            summary="Revoke a key of a machine",
            problems=(MachineNotFound, MachineKeyNotFound, GrantExceedsOwn),
        ),
    )
    async def revoke_key(self, call: Call) -> None:
        command = RevokeMachineKeyCommand(machine_id=call.id("machine_id"), key_id=call.id("key_id"))
        await call.ubr.revoke_machine_key(command, actor=call.actor)
