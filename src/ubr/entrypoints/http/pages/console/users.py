"""The list of users: search, filters, acts upon several users at once, and a new user."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.get_user import GetUserCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.kernel.paging import MAX_LIMIT
from ubr.application.kernel.representations import Page, UserResult
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.list_roles import ListRolesCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.errors import Invalid, UbrError
from ubr.domain.roles.permissions import ROLES_ASSIGN, ROLES_READ, SESSIONS_REVOKE, USERS_WRITE, Permission
from ubr.domain.roles.role import USER_ROLE_ID
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages.console.acts import sessions_of
from ubr.entrypoints.http.pages.console.desk import LIMIT, Desk, at_the_desk
from ubr.entrypoints.http.pages.page import PageController, form_operation, page_operation
from ubr.entrypoints.http.query import id_of
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import get, post

PORTION: Final = 5
"""The number of users that one request acts upon. The page then shows the progress, and goes on."""

_FILTERS: Final = ("q", "role", "status", "sort", "cursor")

Run = Callable[[Desk, UUID, str], Awaitable[object]]


class BulkAct(msgspec.Struct, frozen=True, kw_only=True):
    """An act upon several users. `undo` names the one that reverses it."""

    label: str
    verb: str
    needs: Permission
    consequence: str
    run: Run
    undo: str | None = None
    ends_sessions: bool = False
    with_role: bool = False


async def set_status(desk: Desk, user_id: UUID, status: UserStatus) -> None:
    command = UpdateUserCommand(user_id=user_id, changes=UserChanges(status=status))
    await desk.call.ubr.update_user(command, actor=desk.actor)


async def end_sessions(desk: Desk, user_id: UUID) -> None:
    await desk.call.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=user_id), actor=desk.actor)


async def assign(desk: Desk, user_id: UUID, role: str, *, expires_at: datetime | None = None) -> None:
    command = AssignRoleCommand(user_id=user_id, role=role, expires_at=expires_at)
    await desk.call.ubr.assign_role(command, actor=desk.actor)


async def unassign(desk: Desk, user_id: UUID, role: str) -> None:
    await desk.call.ubr.unassign_role(UnassignRoleCommand(user_id=user_id, role=role), actor=desk.actor)


BULK: Final[Mapping[str, BulkAct]] = {
    "disable": BulkAct(
        label="Disable",
        verb="disabled",
        needs=USERS_WRITE,
        consequence="They cannot log in until they are enabled. Their sessions end for good.",
        run=lambda desk, user_id, _: set_status(desk, user_id, UserStatus.DISABLED),
        undo="enable",
        ends_sessions=True,
    ),
    "enable": BulkAct(
        label="Enable",
        verb="enabled",
        needs=USERS_WRITE,
        consequence="They can log in again. Sessions that have ended stay ended.",
        run=lambda desk, user_id, _: set_status(desk, user_id, UserStatus.ACTIVE),
        undo="disable",
    ),
    "end-sessions": BulkAct(
        label="End all sessions",
        verb="logged out everywhere",
        needs=SESSIONS_REVOKE,
        consequence="They are logged out on every device, and can log in again. This cannot be undone.",
        run=lambda desk, user_id, _: end_sessions(desk, user_id),
        ends_sessions=True,
    ),
    "assign": BulkAct(
        label="Assign a role",
        verb="given the role",
        needs=ROLES_ASSIGN,
        consequence="They have the permissions of the role at once, without end. No session ends.",
        run=assign,
        undo="unassign",
        with_role=True,
    ),
    "unassign": BulkAct(
        label="Take a role away",
        verb="without the role",
        needs=ROLES_ASSIGN,
        consequence="They lose the permissions of the role at once, in open sessions too. No session ends.",
        run=unassign,
        undo="assign",
        with_role=True,
    ),
}


class UsersDesk(PageController):
    @get("/console/users", page_operation("get_console_users"))
    @at_the_desk
    async def users(self, desk: Desk) -> Response:
        return await _list(desk)

    @get("/console/users/new", page_operation("get_console_new_user"))
    @at_the_desk
    async def new(self, desk: Desk) -> Response:
        return await _new(desk)

    @post("/console/users/new", form_operation("post_console_new_user"))
    @at_the_desk
    async def create(self, desk: Desk) -> Response:
        form = desk.call.form()
        command = None
        try:
            command = form.command(CreateUserCommand, roles=form.all("roles"))
            user = await desk.call.ubr.create_user(command, actor=desk.actor)
        except UbrError as error:
            return await _new(desk, form=form, error=error)
        return desk.done(f"/console/users/{user.id}", "user-created")

    @post("/console/bulk", form_operation("post_console_bulk_question"))
    @at_the_desk
    async def ask_bulk(self, desk: Desk) -> Response:
        """Ask whether an act upon the selected users is meant. Changes nothing."""
        form = desk.call.form()
        ids = list(dict.fromkeys(map(id_of, form.all("user_id"))))[:MAX_LIMIT]
        act = BULK.get(form.get("act"))
        try:
            if not ids:
                raise Invalid.at("/user_id", "must name at least one user")
            if act is None:
                raise Invalid.at("/act", "is not an act")
            if act.with_role and not form.get("role"):
                raise Invalid.at("/role", "is required")
        except UbrError as error:
            return await _list(desk, error=error)
        users = await asyncio.gather(*(_user(desk, user_id) for user_id in ids))
        sessions = await asyncio.gather(*(_sessions(desk, act, user) for user in users))
        rows = [(user, count) for user, count in zip(users, sessions, strict=True) if user is not None]
        return await desk.show(
            "bulk.html",
            "users",
            act=act,
            name=form.get("act"),
            role=form.get("role"),
            rows=rows,
            place="/console/users",
        )

    @post("/console/bulk/run", form_operation("post_console_bulk"))
    @at_the_desk
    async def run_bulk(self, desk: Desk) -> Response:
        """Acts upon the next few users. Each one counts on its own: an error of one keeps no other from it."""
        form = desk.call.form()
        act = BULK.get(form.get("act"))
        if act is None:
            return await _list(desk, error=Invalid.at("/act", "is not an act"))
        ids = list(dict.fromkeys(map(id_of, form.all("user_id"))))[:MAX_LIMIT]
        done, failed = form.all("done")[:MAX_LIMIT], form.all("failed")[:MAX_LIMIT]
        for user_id in ids[:PORTION]:
            try:
                await act.run(desk, user_id, form.get("role"))
                done.append(str(user_id))
            except UbrError as error:
                failed.append(f"{user_id} {error.detail}")
        return await desk.show(
            "bulk_done.html",
            "users",
            act=act,
            name=form.get("act"),
            role=form.get("role"),
            rest=ids[PORTION:],
            done=done,
            failed=[each.partition(" ")[::2] for each in failed],
            undo=None if act.undo is None else BULK[act.undo],
            place="/console/users",
        )


async def roles_to_choose(desk: Desk) -> list[str] | None:
    """The names of the oldest roles, without the one that everyone has; None for a reader who may not list them."""
    if not desk.may(ROLES_READ):
        return None
    roles = await desk.call.ubr.list_roles(ListRolesCommand(limit=MAX_LIMIT), actor=desk.actor)
    return sorted(role.name for role in roles.items if role.id != USER_ROLE_ID)


async def _list(desk: Desk, *, error: UbrError | None = None) -> Response:
    filters = desk.filters(*_FILTERS)
    users: Page[UserResult] = Page(items=[], next_cursor=None)
    try:
        users = await desk.call.ubr.list_users(filters.command(ListUsersCommand, limit=LIMIT), actor=desk.actor)
    except Invalid as wrong:
        error = error or wrong
    return await desk.show(
        "users.html",
        "users",
        place="/console/users",
        form=filters,
        error=error,
        users=users,
        searching=bool(filters.values().keys() - {"sort", "cursor"}),
        roles=await roles_to_choose(desk),
        acts={name: act.label for name, act in BULK.items() if desk.may(act.needs)},
        **desk.links(filters, users.next_cursor),
    )


async def _new(desk: Desk, *, form: Form | None = None, error: UbrError | None = None) -> Response:
    choice = (await roles_to_choose(desk)) if desk.may(ROLES_ASSIGN) else None
    min_length = desk.call.ubr.register_user.policy.password_min_length
    return await desk.show(
        "new_user.html",
        "users",
        form=form,
        error=error,
        roles=choice or [],
        chosen=[] if form is None else form.all("roles"),
        min_length=min_length,
    )


async def _user(desk: Desk, user_id: UUID) -> UserResult | None:
    try:
        return await desk.call.ubr.get_user(GetUserCommand(user_id=user_id), actor=desk.actor)
    except UbrError:  # deleted meanwhile
        return None


async def _sessions(desk: Desk, act: BulkAct, user: UserResult | None) -> str | None:
    return None if user is None or not act.ends_sessions else await sessions_of(desk, user.id)
