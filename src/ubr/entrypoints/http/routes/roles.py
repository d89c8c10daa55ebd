"""Roles."""

from __future__ import annotations

from ubr.application.kernel.representations import Page, RoleResult
from ubr.application.roles.create_role import CreateRole, CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRole, DeleteRoleCommand
from ubr.application.roles.get_role import GetRole, GetRoleCommand
from ubr.application.roles.list_roles import ListRoles, ListRolesCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRole, UpdateRoleCommand
from ubr.domain.errors import BuiltInRole, GrantExceedsOwn, InvalidCursor, RoleNameTaken, RoleNotFound
from ubr.entrypoints.http.call import Call, operation
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.responses import created, page, revised
from ubr.entrypoints.http.routing import Controller, delete, get, post, put


class Roles(Controller):
    path = "/api/roles"

    @get(
        "/",
        operation(
            ListRoles,
            "roles",
            summary="List roles",
            query=ListRolesCommand,
            answer=Page[RoleResult],
            problems=(InvalidCursor,),
        ),
    )
    async def list_all(self, request: Call) -> Response:
        return page(request, await request.ubr.list_roles(request.filters(ListRolesCommand), actor=request.actor))

    @post(
        "/",
        operation(
            CreateRole,
            "roles",
            status=201,
            summary="Create a role",
            body=CreateRoleCommand,
            answer=RoleResult,
            tagged=True,
            located=True,
            keyed=True,
            problems=(GrantExceedsOwn, RoleNameTaken),
        ),
    )
    async def create(self, request: Call) -> Response:
        command = request.command(CreateRoleCommand)
        role = await request.ubr.create_role(command, actor=request.actor, idempotency_key=request.idempotency_key)
        return created(request, role, "/api/roles", role.id)

    @get(
        "/{role_id:str}",
        operation(GetRole, "roles", summary="Read one role", answer=RoleResult, tagged=True, problems=(RoleNotFound,)),
    )
    async def read(self, request: Call) -> Response:
        return revised(
            request, await request.ubr.get_role(GetRoleCommand(role_id=request.id("role_id")), actor=request.actor)
        )

    @put(
        "/{role_id:str}",
        operation(
            UpdateRole,
            "roles",
            summary="Update a role",
            body=RoleChanges,
            answer=RoleResult,
            tagged=True,
            conditional=True,
            problems=(RoleNotFound, GrantExceedsOwn, RoleNameTaken, BuiltInRole),
        ),
    )
    async def update(self, request: Call) -> Response:
        changes = request.command(RoleChanges)
        command = UpdateRoleCommand(role_id=request.id("role_id"), changes=changes, if_match=request.if_match)
        return revised(request, await request.ubr.update_role(command, actor=request.actor))

    @delete(
        "/{role_id:str}",
        operation(
            DeleteRole,
            "roles",
            status=204,
            summary="Delete a role",
            conditional=True,
            problems=(RoleNotFound, GrantExceedsOwn, BuiltInRole),
        ),
    )
    async def remove(self, request: Call) -> None:
        command = DeleteRoleCommand(role_id=request.id("role_id"), if_match=request.if_match)
        await request.ubr.delete_role(command, actor=request.actor)
