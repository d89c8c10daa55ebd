"""Roles."""

from __future__ import annotations

from litestar import Controller, Response, delete, get, post, put

from ubr.application.kernel.representations import Page, RoleResult
from ubr.application.roles.create_role import CreateRole, CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRole, DeleteRoleCommand
from ubr.application.roles.get_role import GetRole, GetRoleCommand
from ubr.application.roles.list_roles import ListRoles, ListRolesCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRole, UpdateRoleCommand
from ubr.domain.errors import BuiltInRole, GrantExceedsOwn, InvalidCursor, RoleNameTaken, RoleNotFound
from ubr.entrypoints.http.call import Call, Ubr, operation
from ubr.entrypoints.http.responses import created, page, revised


class Roles(Controller):
    path = "/api/roles"

    @get(
        "/",
        **operation(
            ListRoles,
            "roles",
            summary="List roles",
            query=ListRolesCommand,
            answer=Page[RoleResult],
            problems=(InvalidCursor,),
        ),
    )
    async def list_all(self, request: Call, ubr: Ubr) -> Response[bytes]:
        return page(request, await ubr.list_roles(request.filters(ListRolesCommand), actor=request.actor))

    @post(
        "/",
        **operation(
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
    async def create(self, request: Call, ubr: Ubr) -> Response[bytes]:
        command = request.command(CreateRoleCommand)
        role = await ubr.create_role(command, actor=request.actor, idempotency_key=request.idempotency_key)
        return created(request, role, "/api/roles", role.id)

    @get(
        "/{role_id:str}",
        **operation(
            GetRole, "roles", summary="Read one role", answer=RoleResult, tagged=True, problems=(RoleNotFound,)
        ),
    )
    async def read(self, request: Call, ubr: Ubr) -> Response[bytes]:
        return revised(request, await ubr.get_role(GetRoleCommand(role_id=request.id("role_id")), actor=request.actor))

    @put(
        "/{role_id:str}",
        **operation(
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
    async def update(self, request: Call, ubr: Ubr) -> Response[bytes]:
        changes = request.command(RoleChanges)
        command = UpdateRoleCommand(role_id=request.id("role_id"), changes=changes, if_match=request.if_match)
        return revised(request, await ubr.update_role(command, actor=request.actor))

    @delete(
        "/{role_id:str}",
        **operation(
            DeleteRole,
            "roles",
            status=204,
            summary="Delete a role",
            conditional=True,
            problems=(RoleNotFound, GrantExceedsOwn, BuiltInRole),
        ),
    )
    async def remove(self, request: Call, ubr: Ubr) -> None:
        command = DeleteRoleCommand(role_id=request.id("role_id"), if_match=request.if_match)
        await ubr.delete_role(command, actor=request.actor)
