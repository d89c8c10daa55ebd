"""One user: profile, roles, sessions, why a login fails, and every act upon the account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from uuid import UUID

import msgspec
from msgspec import UNSET

from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.erase_user import EraseUserCommand
from ubr.application.accounts.explain_login import ExplainLoginCommand
from ubr.application.accounts.export_user import ExportUserCommand
from ubr.application.accounts.get_user import GetUserCommand
from ubr.application.accounts.resend_verification import ResendVerificationCommand
from ubr.application.accounts.unlock_user import UnlockUserCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.kernel.paging import MAX_LIMIT
from ubr.application.kernel.representations import UserResult
from ubr.application.roles.list_user_roles import ListUserRolesCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.accounts.user_field import Access
from ubr.domain.errors import ReauthenticationRequired, UbrError
from ubr.domain.roles.permissions import (
    LOGS_READ,
    ROLES_ASSIGN,
    SESSIONS_READ,
    SESSIONS_REVOKE,
    USERS_DELETE,
    USERS_ERASE,
    USERS_READ,
    USERS_WRITE,
    Permission,
)
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages.console.acts import (
    Count,
    Question,
    act_of,
    ask,
    check_typed,
    ending,
    moment_of,
    sessions_of,
)
from ubr.entrypoints.http.pages.console.desk import LIMIT, Desk, at_the_desk, said
from ubr.entrypoints.http.pages.console.users import assign, end_sessions, roles_to_choose, set_status, unassign
from ubr.entrypoints.http.pages.devices import device
from ubr.entrypoints.http.pages.fields import given, inputs, texts
from ubr.entrypoints.http.pages.page import PageController, form_operation, page_operation
from ubr.entrypoints.http.pages.words import Words
from ubr.entrypoints.http.query import id_of
from ubr.entrypoints.http.response import Response, StreamedResponse
from ubr.entrypoints.http.routing import get, post


class Subject(msgspec.Struct, frozen=True):
    """The user whom an act is about.

    `sessions` is their number; None if the reader may not know it, or the act does not name it.
    """

    words: Words
    act: str
    user: UserResult
    sessions: Count | None
    given: Mapping[str, str]

    def says(self, key: str, **parameters: object) -> str:
        """A sentence of this act, or of all acts if the key begins with `act.`."""
        return said(self.words, key if key.startswith("act.") else f"user_act.{self.act}.{key}", **parameters)

    @property
    def ending(self) -> str:
        """The sentence about the sessions that end."""
        return ending(self.words, self.sessions)

    @property
    def belongings(self) -> str:
        """The beginning of a sentence that names everything that is deleted."""
        roles = ", ".join(self.user.roles)
        return self.says("act.roles", roles=roles) if roles else self.says("act.account")


class UserAct(msgspec.Struct, frozen=True, kw_only=True):
    """An act upon one user. `tells` gives the consequences; `asks` and `given` are fields of its form and its query."""

    needs: tuple[Permission, ...]
    notice: str
    tells: Callable[[Subject], list[str]]
    run: Callable[[Desk, UUID, Form], Awaitable[object]]
    danger: bool = True
    typed: bool = False
    names_sessions: bool = False
    """True if the consequences name the number of sessions. Without it, they are not counted."""
    asks: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    leaves: bool = False
    """True if the user has no page afterwards."""


async def _rename(desk: Desk, user_id: UUID, form: Form) -> None:
    changes = UserChanges(full_name=form.get("full_name") or None)
    await desk.call.ubr.update_user(UpdateUserCommand(user_id=user_id, changes=changes), actor=desk.actor)


async def _change_fields(desk: Desk, user_id: UUID, form: Form) -> None:
    user = await desk.call.ubr.get_user(GetUserCommand(user_id=user_id), actor=desk.actor)
    changed = given(desk.call.ubr.update_user.user_fields, Access.ADMINS, form, user.fields)
    if changed is not UNSET:
        command = UpdateUserCommand(user_id=user_id, changes=UserChanges(fields=changed))
        await desk.call.ubr.update_user(command, actor=desk.actor)


async def _change_email(desk: Desk, user_id: UUID, form: Form) -> None:
    changes = UserChanges(email=form.get("email"))
    await desk.call.ubr.update_user(UpdateUserCommand(user_id=user_id, changes=changes), actor=desk.actor)


async def _verify(desk: Desk, user_id: UUID, _: Form) -> None:
    user = await desk.call.ubr.get_user(GetUserCommand(user_id=user_id), actor=desk.actor)
    await desk.call.ubr.resend_verification(ResendVerificationCommand(email=user.email), actor=desk.actor)


async def _assign(desk: Desk, user_id: UUID, form: Form) -> None:
    await assign(desk, user_id, form.get("role"), expires_at=moment_of(form, "expires_at"))


ACTS: Final[Mapping[str, UserAct]] = {
    "rename": UserAct(
        needs=(USERS_WRITE,),
        notice="user-renamed",
        tells=lambda _: [],
        run=_rename,
        danger=False,
        asks=("full_name",),
    ),
    "fields": UserAct(
        needs=(USERS_WRITE,),
        notice="user-fields-changed",
        tells=lambda _: [],
        run=_change_fields,
        danger=False,
        asks=("fields",),
    ),
    "email": UserAct(
        needs=(USERS_WRITE,),
        notice="user-email-changed",
        tells=lambda subject: [
            subject.ending,
            subject.says("links"),
            subject.says("mails"),
            subject.says("final"),
        ],
        run=_change_email,
        names_sessions=True,
        asks=("email",),
    ),
    "verify": UserAct(
        needs=(USERS_WRITE,),
        notice="user-verification-mailed",
        tells=lambda subject: [subject.says("link", email=subject.user.email), subject.says("owner")],
        run=_verify,
        danger=False,
    ),
    "disable": UserAct(
        needs=(USERS_WRITE,),
        notice="user-disabled",
        tells=lambda subject: [subject.ending, subject.says("login")],
        run=lambda desk, user_id, _: set_status(desk, user_id, UserStatus.DISABLED),
        names_sessions=True,
    ),
    "enable": UserAct(
        needs=(USERS_WRITE,),
        notice="user-enabled",
        tells=lambda subject: [subject.says("login")],
        run=lambda desk, user_id, _: set_status(desk, user_id, UserStatus.ACTIVE),
        danger=False,
    ),
    "unlock": UserAct(
        needs=(USERS_WRITE,),
        notice="user-unlocked",
        tells=lambda subject: [subject.says("count"), subject.says("guesses")],
        run=lambda desk, user_id, _: desk.call.ubr.unlock_user(UnlockUserCommand(user_id=user_id), actor=desk.actor),
        danger=False,
    ),
    "end-sessions": UserAct(
        needs=(SESSIONS_REVOKE,),
        notice="user-sessions-ended",
        tells=lambda subject: [subject.ending, subject.says("login")],
        run=lambda desk, user_id, _: end_sessions(desk, user_id),
        names_sessions=True,
    ),
    "end-session": UserAct(
        needs=(SESSIONS_REVOKE,),
        notice="user-session-ended",
        tells=lambda subject: [subject.says("one")],
        run=lambda desk, _, form: desk.call.ubr.revoke_session(
            RevokeSessionCommand(session_id=id_of(form.get("session_id"))), actor=desk.actor
        ),
        given=("session_id",),
    ),
    "assign": UserAct(
        needs=(ROLES_ASSIGN,),
        notice="role-assigned",
        tells=lambda subject: [subject.says("gains"), subject.says("again")],
        run=_assign,
        danger=False,
        asks=("role", "expires_at"),
    ),
    "unassign": UserAct(
        needs=(ROLES_ASSIGN,),
        notice="role-unassigned",
        tells=lambda subject: [
            subject.says("loses", role=subject.given["role"])
            if subject.given["role"]
            else subject.says("loses_unnamed"),
            subject.says("open")
            if subject.sessions is None
            else subject.says("counted", sessions=subject.sessions.said(subject.words)),
            subject.says("kept"),
        ],
        run=lambda desk, user_id, form: unassign(desk, user_id, form.get("role")),
        names_sessions=True,
        given=("role",),
    ),
    "delete": UserAct(
        needs=(USERS_DELETE,),
        notice="user-deleted",
        tells=lambda subject: [
            subject.ending,
            subject.says("data", account=subject.belongings),
            subject.says("act.final"),
        ],
        run=lambda desk, user_id, _: desk.call.ubr.delete_user(DeleteUserCommand(user_id=user_id), actor=desk.actor),
        typed=True,
        names_sessions=True,
        leaves=True,
    ),
    "erase": UserAct(
        needs=(USERS_ERASE,),
        notice="user-erased",
        tells=lambda subject: [
            subject.ending,
            subject.says("data", account=subject.belongings),
            subject.says("log"),
            subject.says("act.final"),
        ],
        run=lambda desk, user_id, _: desk.call.ubr.erase_user(EraseUserCommand(user_id=user_id), actor=desk.actor),
        typed=True,
        names_sessions=True,
        leaves=True,
    ),
}


class UserDesk(PageController):
    @get("/console/users/{user_id}", page_operation("get_console_user"))
    @at_the_desk
    async def user(self, desk: Desk) -> Response:
        ubr, user_id = desk.call.ubr, desk.call.id("user_id")
        user = await ubr.get_user(GetUserCommand(user_id=user_id), actor=desk.actor)
        cursor = desk.query.get("cursor") or None
        sessions = None
        if desk.may(SESSIONS_READ):
            command = ListSessionsCommand(user_id=user_id, limit=LIMIT, cursor=cursor)
            sessions = await ubr.list_sessions(command, actor=desk.actor)
        grants = await ubr.list_user_roles(ListUserRolesCommand(user_id=user_id, limit=MAX_LIMIT), actor=desk.actor)
        return await desk.show(
            "user.html",
            "users",
            user=user,
            fields=texts(ubr.update_user.user_fields, desk.words, user.fields),
            sessions=sessions,
            grants=grants,
            device=device,
            can=_can(desk, user),
        )

    @get("/console/users/{user_id}/login", page_operation("get_console_user_login"))
    @at_the_desk
    async def login(self, desk: Desk) -> Response:
        command = ExplainLoginCommand(user_id=desk.call.id("user_id"))
        found = await desk.call.ubr.explain_login(command, actor=desk.actor)
        return await desk.show("login.html", "users", found=found, user=found.user, can=_can(desk, found.user))

    @post("/console/users/{user_id}/export", form_operation("post_console_user_export"))
    @at_the_desk
    async def export(self, desk: Desk) -> Response:
        user_id = desk.call.id("user_id")
        try:
            response = StreamedResponse(
                await desk.call.ubr.export_user(ExportUserCommand(user_id=user_id), actor=desk.actor)
            )
        except ReauthenticationRequired:
            return desk.confirm(f"/console/users/{user_id}")
        response.headers["content-disposition"] = f'attachment; filename="{user_id}.json"'
        return response

    @get("/console/users/{user_id}/acts/{act}", page_operation("get_console_user_act"))
    @at_the_desk
    async def question(self, desk: Desk) -> Response:
        return await _ask(desk, Form(list(desk.query.items())))

    @post("/console/users/{user_id}/acts/{act}", form_operation("post_console_user_act"))
    @at_the_desk
    async def act(self, desk: Desk) -> Response:
        form, act, user_id = desk.call.form(), act_of(desk, ACTS), desk.call.id("user_id")
        page = f"/console/users/{user_id}"
        try:
            if act.typed:
                user = await desk.call.ubr.get_user(GetUserCommand(user_id=user_id), actor=desk.actor)
                check_typed(form, user.email)
            await act.run(desk, user_id, form)
        except ReauthenticationRequired:
            return desk.confirm(desk.here)
        except UbrError as error:
            return await _ask(desk, form, error=error)
        return desk.done("/console/users" if act.leaves else page, act.notice)


def _can(desk: Desk, user: UserResult | None) -> dict[str, bool]:
    """Which acts the page offers: those that the reader may do, and that fit the user's state."""
    if user is None:
        return {}
    fits = {
        "disable": user.status is UserStatus.ACTIVE,
        "enable": user.status is not UserStatus.ACTIVE,
        "verify": not user.email_verified,
        "unlock": user.id != desk.me.id,
        "email": user.id != desk.me.id,
        "erase": user.id != desk.me.id,
        "fields": bool(inputs(desk.call.ubr.update_user.user_fields, Access.ADMINS, desk.words, user.fields)),
    }
    can = {name: fits.get(name, True) and desk.may(*act.needs) for name, act in ACTS.items()}
    can["export"] = user.id == desk.me.id or desk.may(USERS_READ, SESSIONS_READ, LOGS_READ)
    can["explain"] = desk.may(LOGS_READ)
    return can


async def _ask(desk: Desk, form: Form, *, error: UbrError | None = None) -> Response:
    act, user_id, name = act_of(desk, ACTS), desk.call.id("user_id"), desk.call.path_params["act"]
    user = await desk.call.ubr.get_user(GetUserCommand(user_id=user_id), actor=desk.actor)
    given = {name: form.get(name) for name in act.given}
    sessions = await sessions_of(desk, user_id) if act.names_sessions else None
    subject = Subject(desk.words, name, user, sessions, given)
    question = Question(
        title=subject.says("title"),
        button=subject.says("button"),
        consequences=act.tells(subject),
        path=desk.here,
        back=f"/console/users/{user_id}",
        section="users",
        subject=user.email,
        danger=act.danger,
        typed=user.email if act.typed else None,
        asks=act.asks,
        hidden={name: [value] for name, value in given.items()},
    )
    if "full_name" in act.asks and "full_name" not in form:
        form = form.replacing("full_name", user.full_name or "")
    roles = await roles_to_choose(desk) if "role" in act.asks else None
    fields = desk.call.ubr.update_user.user_fields
    writable = inputs(fields, Access.ADMINS, desk.words, user.fields) if "fields" in act.asks else ()
    return await ask(desk, question, error=error, form=form, roles=roles, inputs=writable)
