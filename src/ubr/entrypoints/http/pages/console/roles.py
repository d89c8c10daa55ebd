"""Roles and their permissions as a matrix, and every change of a role with its consequences."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.kernel.paging import MAX_LIMIT
from ubr.application.kernel.representations import RoleResult
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.get_role import GetRoleCommand
from ubr.application.roles.list_roles import ListRolesCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.domain.errors import UbrError
from ubr.domain.roles.permissions import EVERYTHING, MEANINGS, ROLES_WRITE, USERS_READ
from ubr.domain.roles.role import ADMIN_ROLE_ID, USER_ROLE_ID
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages.console.acts import Question, ask, sessions_of
from ubr.entrypoints.http.pages.console.desk import LIMIT, Desk, at_the_desk
from ubr.entrypoints.http.pages.page import PageController, form_operation, page_operation
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import get, post

MAX_SUMMED: Final = 10
"""The number of holders whose sessions are counted: each takes a query."""


class RolesDesk(PageController):
    @get("/console/roles", page_operation("get_console_roles"))
    @at_the_desk
    async def roles(self, desk: Desk) -> Response:
        command = desk.filters("cursor").command(ListRolesCommand, limit=LIMIT)
        roles = await desk.call.ubr.list_roles(command, actor=desk.actor)
        return await desk.show("roles.html", "roles", roles=roles, permissions=_permissions(desk))

    @get("/console/roles/new", page_operation("get_console_new_role"))
    @at_the_desk
    async def new(self, desk: Desk) -> Response:
        return await _edit(desk)

    @post("/console/roles/new", form_operation("post_console_new_role"))
    @at_the_desk
    async def create(self, desk: Desk) -> Response:
        form = desk.call.form()
        try:
            command = form.command(CreateRoleCommand, permissions=form.all("permissions"))
            await desk.call.ubr.create_role(command, actor=desk.actor)
        except UbrError as error:
            return await _edit(desk, form=form, error=error)
        return desk.done("/console/roles", "role-created")

    @get("/console/roles/{role_id}", page_operation("get_console_role"))
    @at_the_desk
    async def role(self, desk: Desk) -> Response:
        return await _edit(desk, await _role(desk))

    @post("/console/roles/{role_id}", form_operation("post_console_role"))
    @at_the_desk
    async def change(self, desk: Desk) -> Response:
        """Ask first, with the consequences; the form of that page confirms it."""
        form, role = desk.call.form(), await _role(desk)
        if "confirmed" not in form:
            return await _ask_change(desk, role, form)
        changes = RoleChanges(
            name=form.get("name"),
            description=form.get("description") or None,
            permissions=form.all("permissions"),
        )
        command = UpdateRoleCommand(role_id=role.id, changes=changes, if_match=(form.get("revision"),))
        try:
            await desk.call.ubr.update_role(command, actor=desk.actor)
        except UbrError as error:
            return await _edit(desk, role, form=form, error=error)
        return desk.done("/console/roles", "role-changed")

    @get("/console/roles/{role_id}/delete", page_operation("get_console_role_deletion"))
    @at_the_desk
    async def ask_delete(self, desk: Desk) -> Response:
        return await _ask_delete(desk)

    @post("/console/roles/{role_id}/delete", form_operation("post_console_role_deletion"))
    @at_the_desk
    async def delete(self, desk: Desk) -> Response:
        command = DeleteRoleCommand(role_id=desk.call.id("role_id"))
        try:
            await desk.call.ubr.delete_role(command, actor=desk.actor)
        except UbrError as error:
            return await _ask_delete(desk, error=error)
        return desk.done("/console/roles", "role-deleted")


def _permissions(desk: Desk) -> dict[str, str]:
    """Every permission of this service with its meaning, `*` first."""
    own = desk.call.ubr.create_role.policy.own_permissions
    built_in = {str(name): desk.words.detail(meaning.replace("`", "")) for name, meaning in MEANINGS.items()}
    return {**built_in, **{str(name): desk.says("role.own") for name in own}}


async def _role(desk: Desk) -> RoleResult:
    return await desk.call.ubr.get_role(GetRoleCommand(role_id=desk.call.id("role_id")), actor=desk.actor)


async def _holders(desk: Desk, role: RoleResult) -> str | None:
    """Those who hold a role, with their sessions, in words; None without holders."""
    if role.id == USER_ROLE_ID:
        return desk.says("role.everyone")
    if not desk.may(USERS_READ):
        return desk.says("role.every_holder")
    command = ListUsersCommand(role=role.name, limit=MAX_LIMIT)
    found = await desk.call.ubr.list_users(command, actor=desk.actor)
    if not found.items and found.next_cursor is None:
        return None
    more = found.next_cursor is not None
    holders = desk.says("role.held_more" if more else "role.held", n=len(found.items))
    if more or len(found.items) > MAX_SUMMED:
        return holders
    sessions = await _sessions(desk, [user.id for user in found.items])
    return holders if sessions is None else desk.says("role.held_with", holders=holders, sessions=sessions)


async def _sessions(desk: Desk, user_ids: list[UUID]) -> str | None:
    total, more = 0, False
    for user_id in user_ids:
        found = await sessions_of(desk, user_id)
        if found is None:
            return None
        total += found.n
        more = more or found.more
    return desk.says("role.open_more" if more else "role.open", n=total)


async def _ask_change(desk: Desk, role: RoleResult, form: Form) -> Response:
    before, after = set(role.permissions), set(form.all("permissions"))
    holders = await _holders(desk, role)
    consequences = []
    if added := sorted(after - before):
        consequences.append(desk.says("role.gets", permissions=", ".join(added)))
    if removed := sorted(before - after):
        consequences.append(desk.says("role.loses", permissions=", ".join(removed)))
    if form.get("name") != role.name:
        consequences.append(desk.says("role.renamed", old=role.name, new=form.get("name")))
    if holders is None:
        consequences.append(desk.says("role.no_holder"))
    else:
        consequences += [desk.says("role.applies", holders=holders), desk.says("role.kept")]
    question = Question(
        title=desk.says("role.change_title"),
        button=desk.says("role.change"),
        consequences=consequences,
        path=f"/console/roles/{role.id}",
        back=f"/console/roles/{role.id}",
        section="roles",
        subject=role.name,
        danger=bool(removed) and holders is not None,
        hidden={
            "confirmed": ["yes"],
            "revision": [form.get("revision") or role.revision],
            "name": [form.get("name")],
            "description": [form.get("description")],
            "permissions": sorted(after),
        },
    )
    return await ask(desk, question)


async def _ask_delete(desk: Desk, *, error: UbrError | None = None) -> Response:
    role = await _role(desk)
    holders = await _holders(desk, role)
    lost = ", ".join(role.permissions) or desk.says("role.no_permission")
    consequences = (
        [desk.says("role.unheld")]
        if holders is None
        else [desk.says("role.lost", holders=holders, permissions=lost), desk.says("role.kept")]
    )
    question = Question(
        title=desk.says("role.delete_title"),
        button=desk.says("role.delete_button"),
        consequences=[*consequences, desk.says("role.final")],
        path=f"/console/roles/{role.id}/delete",
        back=f"/console/roles/{role.id}",
        section="roles",
        subject=role.name,
    )
    return await ask(desk, question, error=error)


async def _edit(
    desk: Desk, role: RoleResult | None = None, *, form: Form | None = None, error: UbrError | None = None
) -> Response:
    before = [] if role is None else role.permissions
    return await desk.show(
        "role.html",
        "roles",
        form=form,
        error=error,
        role=role,
        chosen=before if form is None else form.all("permissions"),
        permissions=_permissions(desk),
        fixed=role is not None and role.id == ADMIN_ROLE_ID,
        everything=str(EVERYTHING),
        writable=desk.may(ROLES_WRITE),
    )
