"""The list of users: search, filters, acts upon several users at once, and a new user."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from http import HTTPStatus
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
from ubr.application.roles.list_user_roles import ListUserRolesCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.accounts.user_field import Access
from ubr.domain.errors import Invalid, UbrError
from ubr.domain.roles.permissions import ROLES_ASSIGN, ROLES_READ, SESSIONS_REVOKE, USERS_WRITE, Permission
from ubr.domain.roles.role import USER_ROLE_ID
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages.console.acts import Count, sessions_of
from ubr.entrypoints.http.pages.console.desk import LIMIT, Desk, at_the_desk
from ubr.entrypoints.http.pages.fields import given, inputs
from ubr.entrypoints.http.pages.kept import Kept
from ubr.entrypoints.http.pages.page import PageController, form_operation, page_operation, see_other
from ubr.entrypoints.http.query import id_of
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import get, post

PORTION: Final = 5
"""The number of users that one request acts upon. The page then shows the progress, and goes on."""
MAX_SELECTED: Final = 100
"""The maximum number of users of one act: their ids and the reasons of failures fit in a cookie."""
_MAX_REASONS: Final = 8
_MAX_REASON: Final = 100
_ANOTHER: Final = -1
_MAX_ROLE: Final = 50
"""No role has a longer name, and a cookie has no room for more."""
_TEN_MINUTES: Final = 600
_NAME: Final = re.compile(r"[0-9a-f]{16}")

_FILTERS: Final = ("q", "role", "status", "sort", "cursor")

Run = Callable[[Desk, UUID, str], Awaitable[object]]
Look = Callable[[Desk, UUID, str], Awaitable[bool]]


class BulkAct(msgspec.Struct, frozen=True, kw_only=True):
    """An act upon several users. `undo` names the one that reverses it.

    `reversible` looks before the act, and is false for a user whose present state that one would not bring back.
    """

    needs: Permission
    run: Run
    undo: str | None = None
    reversible: Look | None = None
    ends_sessions: bool = False
    with_role: bool = False


async def set_status(desk: Desk, user_id: UUID, status: UserStatus) -> None:
    command = UpdateUserCommand(user_id=user_id, changes=UserChanges(status=status))
    await desk.call.ubr.update_user(command, actor=desk.actor)


async def _has_status(desk: Desk, user_id: UUID, status: UserStatus) -> bool:
    user = await desk.call.ubr.get_user(GetUserCommand(user_id=user_id), actor=desk.actor)
    return user.status is status


async def _has_role(desk: Desk, user_id: UUID, role: str, *, without_end: bool) -> bool:
    command = ListUserRolesCommand(user_id=user_id, limit=MAX_LIMIT)
    grants = await desk.call.ubr.list_user_roles(command, actor=desk.actor)
    return any(grant.role == role and not (without_end and grant.expires_at) for grant in grants.items)


async def _lacks_role(desk: Desk, user_id: UUID, role: str) -> bool:
    return not await _has_role(desk, user_id, role, without_end=False)


async def end_sessions(desk: Desk, user_id: UUID) -> None:
    await desk.call.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=user_id), actor=desk.actor)


async def assign(desk: Desk, user_id: UUID, role: str, *, expires_at: datetime | None = None) -> None:
    command = AssignRoleCommand(user_id=user_id, role=role, expires_at=expires_at)
    await desk.call.ubr.assign_role(command, actor=desk.actor)


async def unassign(desk: Desk, user_id: UUID, role: str) -> None:
    await desk.call.ubr.unassign_role(UnassignRoleCommand(user_id=user_id, role=role), actor=desk.actor)


BULK: Final[Mapping[str, BulkAct]] = {
    "disable": BulkAct(
        needs=USERS_WRITE,
        run=lambda desk, user_id, _: set_status(desk, user_id, UserStatus.DISABLED),
        undo="enable",
        reversible=lambda desk, user_id, _: _has_status(desk, user_id, UserStatus.ACTIVE),
        ends_sessions=True,
    ),
    "enable": BulkAct(
        needs=USERS_WRITE,
        run=lambda desk, user_id, _: set_status(desk, user_id, UserStatus.ACTIVE),
        undo="disable",
        reversible=lambda desk, user_id, _: _has_status(desk, user_id, UserStatus.DISABLED),
    ),
    "end-sessions": BulkAct(
        needs=SESSIONS_REVOKE,
        run=lambda desk, user_id, _: end_sessions(desk, user_id),
        ends_sessions=True,
    ),
    "assign": BulkAct(
        needs=ROLES_ASSIGN,
        run=assign,
        undo="unassign",
        reversible=_lacks_role,
        with_role=True,
    ),
    "unassign": BulkAct(
        needs=ROLES_ASSIGN,
        run=unassign,
        undo="assign",
        reversible=lambda desk, user_id, role: _has_role(desk, user_id, role, without_end=True),
        with_role=True,
    ),
}


class Bulk(msgspec.Struct, frozen=True, array_like=True):
    """An act upon several users on its way. `name` is that of the confirmed form: a repeat of it begins nothing.

    Users are the bytes of their ids. A failure is a user and the place of its reason, or -1 for another reason. `kept`
    are those of the successes that an undo leaves as they are.
    """

    name: str
    act: str
    role: str
    rest: list[bytes]
    done: list[bytes] = []
    failed: list[tuple[bytes, int]] = []
    reasons: list[str] = []
    kept: list[bytes] = []


_BULK: Final = Kept("ubr-bulk", Bulk, seconds=_TEN_MINUTES)


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
            fields = given(desk.call.ubr.create_user.user_fields, Access.ADMINS, form)
            command = form.command(CreateUserCommand, roles=form.all("roles"), fields=fields)
            user = await desk.call.ubr.create_user(command, actor=desk.actor)
        except UbrError as error:
            return await _new(desk, form=form, error=error)
        return desk.done(f"/console/users/{user.id}", "user-created")

    @post("/console/bulk", form_operation("post_console_bulk_question"))
    @at_the_desk
    async def ask_bulk(self, desk: Desk) -> Response:
        """Ask whether an act upon the selected users is meant. Changes nothing."""
        form = desk.call.form()
        try:
            ids, act = _selected(form), BULK[_act(form)]
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
            bulk=secrets.token_hex(8),
            place="/console/users",
        )

    @post("/console/bulk/run", form_operation("post_console_bulk"))
    @at_the_desk
    async def run_bulk(self, desk: Desk) -> Response:
        """Acts upon the next few users, and leads to the progress. A repeat goes on from there, or does nothing."""
        form = desk.call.form()
        bulk = _kept(desk, form.get("bulk"))
        if bulk is None:
            if "act" not in form:
                return await _lost(desk)
            try:
                bulk = _begun(form)
            except UbrError as error:
                return await _list(desk, error=error)
        bulk = await _continued(desk, bulk)
        return _BULK.give(desk.call, see_other(desk.call, f"/console/bulk/{bulk.name}"), bulk, about=bulk.name)

    @get("/console/bulk/{bulk}", page_operation("get_console_bulk"))
    @at_the_desk
    async def progress(self, desk: Desk) -> Response:
        """The progress and the result. To reload it changes nothing."""
        bulk = _kept(desk, desk.call.path_params["bulk"])
        if bulk is None:
            return await _lost(desk)
        act = BULK[bulk.act]
        return await desk.show(
            "bulk_done.html",
            "users",
            act=act,
            name=bulk.act,
            bulk=bulk.name,
            role=bulk.role,
            rest=len(bulk.rest),
            done=[UUID(bytes=each) for each in bulk.done],
            kept=len(bulk.kept),
            failed=[(UUID(bytes=each), _reason(desk, bulk, place)) for each, place in bulk.failed],
            undo=act.undo,
        )


def _selected(form: Form) -> list[UUID]:
    ids = list(dict.fromkeys(map(id_of, form.all("user_id"))))
    if not ids:
        raise Invalid.at("/user_id", "must name at least one user")
    if len(ids) > MAX_SELECTED:
        raise Invalid.at("/user_id", f"must name at most {MAX_SELECTED} users")
    return ids


def _act(form: Form) -> str:
    name = form.get("act")
    if name not in BULK:
        raise Invalid.at("/act", "is not an act")
    role = form.get("role")
    if BULK[name].with_role and not role:
        raise Invalid.at("/role", "is required")
    if len(role) > _MAX_ROLE:
        raise Invalid.at("/role", f"must have at most {_MAX_ROLE} characters")
    return name


def _kept(desk: Desk, name: str) -> Bulk | None:
    """The act of this name as its newest step left it; None if the browser keeps none."""
    return _BULK.of(desk.call, about=name) if _NAME.fullmatch(name) else None


def _begun(form: Form) -> Bulk:
    name = form.get("bulk")
    if not _NAME.fullmatch(name):
        name = secrets.token_hex(8)
    return Bulk(name, _act(form), form.get("role"), [user_id.bytes for user_id in _selected(form)])


async def _continued(desk: Desk, bulk: Bulk) -> Bulk:
    """After the next few users. Each one counts on its own: an error of one keeps no other from it."""
    act, done, kept, failed, reasons = BULK[bulk.act], [*bulk.done], [*bulk.kept], [*bulk.failed], [*bulk.reasons]
    for user_id in bulk.rest[:PORTION]:
        about = desk, UUID(bytes=user_id), bulk.role
        try:
            reversible = act.reversible is None or await act.reversible(*about)
            await act.run(*about)
            (done if reversible else kept).append(user_id)
        except UbrError as error:
            reason = error.detail[:_MAX_REASON]
            if reason not in reasons and len(reasons) < _MAX_REASONS:
                reasons.append(reason)
            failed.append((user_id, reasons.index(reason) if reason in reasons else _ANOTHER))
    return msgspec.structs.replace(bulk, rest=bulk.rest[PORTION:], done=done, kept=kept, failed=failed, reasons=reasons)


def _reason(desk: Desk, bulk: Bulk, place: int) -> str:
    return desk.says("bulk.another") if place == _ANOTHER else desk.words.detail(bulk.reasons[place])


async def _lost(desk: Desk) -> Response:
    return await desk.show("bulk_lost.html", "users", status=HTTPStatus.GONE)


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
        acts=[(name, desk.says(f"bulk.{name}.label")) for name, act in BULK.items() if desk.may(act.needs)],
        assigns=desk.may(ROLES_ASSIGN),
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
        inputs=inputs(desk.call.ubr.create_user.user_fields, Access.ADMINS, desk.words),
    )


async def _user(desk: Desk, user_id: UUID) -> UserResult | None:
    try:
        return await desk.call.ubr.get_user(GetUserCommand(user_id=user_id), actor=desk.actor)
    except UbrError:  # deleted meanwhile
        return None


async def _sessions(desk: Desk, act: BulkAct, user: UserResult | None) -> Count | None:
    return None if user is None or not act.ends_sessions else await sessions_of(desk, user.id)
