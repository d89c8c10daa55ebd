"""Roles and their permissions as a matrix, and every change of a role with its consequences."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

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
from ubr.entrypoints.http.pages.console.acts import Question, ask, counted, sessions_of
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

    @get("/console/roles/{role_id:str}", page_operation("get_console_role"))
    @at_the_desk
    async def role(self, desk: Desk) -> Response:
        return await _edit(desk, await _role(desk))

    @post("/console/roles/{role_id:str}", form_operation("post_console_role"))
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

    @get("/console/roles/{role_id:str}/delete", page_operation("get_console_role_deletion"))
    @at_the_desk
    async def ask_delete(self, desk: Desk) -> Response:
        return await _ask_delete(desk)

    @post("/console/roles/{role_id:str}/delete", form_operation("post_console_role_deletion"))
    @at_the_desk
    async def delete(self, desk: Desk) -> Response:
        command = DeleteRoleCommand(role_id=desk.call.id("role_id"))
        try:
            await desk.call.ubr.delete_role(command, actor=desk.actor)
        except UbrError as error:
            return await _ask_delete(desk, error=error)
        return desk.done("/console/roles", "role-deleted")


class Holders(msgspec.Struct, frozen=True):
    """Those who hold a role, in words. `sessions` is None if they were not counted."""

    users: str
    sessions: str | None = None

    @property
    def changed(self) -> str:
        sessions = "" if self.sessions is None else f", with {self.sessions}"
        return f"{self.users}{sessions}"


def _permissions(desk: Desk) -> dict[str, str]:
    """Every permission of this service with its meaning, `*` first."""
    own = desk.call.ubr.create_role.policy.own_permissions
    built_in = {str(name): meaning.replace("`", "") for name, meaning in MEANINGS.items()}
    return {**built_in, **{str(name): "A permission of your other services." for name in own}}


async def _role(desk: Desk) -> RoleResult:
    return await desk.call.ubr.get_role(GetRoleCommand(role_id=desk.call.id("role_id")), actor=desk.actor)


async def _holders(desk: Desk, role: RoleResult) -> Holders | None:
    """None for a reader who may not list users, or without holders."""
    if role.id == USER_ROLE_ID:
        return Holders("Every user")
    if not desk.may(USERS_READ):
        return Holders("Every holder of the role")
    command = ListUsersCommand(role=role.name, limit=MAX_LIMIT)
    found = await desk.call.ubr.list_users(command, actor=desk.actor)
    if not found.items and found.next_cursor is None:
        return None
    more = found.next_cursor is not None
    users = counted(len(found.items), "user holds the role", "users hold the role", more=more)
    if more or len(found.items) > MAX_SUMMED:
        return Holders(users)
    return Holders(users, await _sessions(desk, [user.id for user in found.items]))


async def _sessions(desk: Desk, user_ids: list[UUID]) -> str | None:
    total, more = 0, False
    for user_id in user_ids:
        said = await sessions_of(desk, user_id)
        if said is None:
            return None
        total += int(said.partition(" ")[0])
        more = more or "or more" in said
    return counted(total, "open session", "open sessions", more=more)


async def _ask_change(desk: Desk, role: RoleResult, form: Form) -> Response:
    before, after = set(role.permissions), set(form.all("permissions"))
    holders = await _holders(desk, role)
    consequences = []
    if added := sorted(after - before):
        consequences.append(f"The role gets {', '.join(added)}.")
    if removed := sorted(before - after):
        consequences.append(f"The role loses {', '.join(removed)}.")
    if form.get("name") != role.name:
        consequences.append(f"Its name {role.name} becomes {form.get('name')}: services that trust the old name stop.")
    if holders is None:
        consequences.append("The role has no holder, so the change affects no session.")
    else:
        consequences += [f"{holders.changed}: the change applies at once.", "No session ends."]
    question = Question(
        title="Change the role?",
        button="Change the role",
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
    lost = ", ".join(role.permissions) or "no permission"
    consequences = (
        ["The role has no holder, so no session changes."]
        if holders is None
        else [f"{holders.changed}: they lose it at once ({lost}).", "No session ends."]
    )
    question = Question(
        title="Delete the role?",
        button="Delete for good",
        consequences=[*consequences, "This cannot be undone: a new role of this name has no holders."],
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
