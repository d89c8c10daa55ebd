"""Users, their sessions and their roles."""

from __future__ import annotations

from typing import Annotated, Any, Final

from ubr.application.accounts.create_user import CreateUser, CreateUserCommand
from ubr.application.accounts.delete_user import DeleteUser, DeleteUserCommand
from ubr.application.accounts.erase_user import ErasedUserResult, EraseUser, EraseUserCommand
from ubr.application.accounts.explain_login import ExplainLogin, ExplainLoginCommand, LoginExplanationResult
from ubr.application.accounts.export_user import ExportUser, ExportUserCommand, UserExportResult
from ubr.application.accounts.get_me import GetMe, MeResult
from ubr.application.accounts.get_user import GetUser, GetUserCommand
from ubr.application.accounts.list_users import ListUsers, ListUsersCommand
from ubr.application.accounts.unlock_user import UnlockedUserResult, UnlockUser, UnlockUserCommand
from ubr.application.accounts.update_user import UpdateUser, UpdateUserCommand, UserChanges
from ubr.application.kernel.command import Command
from ubr.application.kernel.fields import Timestamp, example
from ubr.application.kernel.representations import GrantResult, Page, SessionResult, UserResult
from ubr.application.roles.assign_role import AssignRole, AssignRoleCommand
from ubr.application.roles.list_user_roles import ListUserRoles, ListUserRolesCommand
from ubr.application.roles.unassign_role import UnassignRole, UnassignRoleCommand
from ubr.application.sessions.list_sessions import ListSessions, ListSessionsCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessions, RevokeUserSessionsCommand
from ubr.domain.errors import (
    BuiltInRole,
    Busy,
    EmailTaken,
    GrantExceedsOwn,
    InvalidCursor,
    LastAdmin,
    MachineAccount,
    RateLimited,
    ReauthenticationRequired,
    RoleNotFound,
    TooManyRoles,
    UserNotFound,
    WeakPassword,
)
from ubr.entrypoints.http.call import Call, operation
from ubr.entrypoints.http.response import Response, StreamedResponse
from ubr.entrypoints.http.responses import created, ok, page, revised
from ubr.entrypoints.http.routes.paging import Paging
from ubr.entrypoints.http.routing import Controller, delete, get, patch, post, put


class GrantTerms(Command, frozen=True, kw_only=True):
    """`expires_at` null or absent means without end."""

    expires_at: Annotated[Timestamp | None, example("2026-12-31T00:00:00Z")] = None


_CHANGE: Final[dict[str, Any]] = {
    "body": UserChanges,
    "answer": UserResult,
    "tagged": True,
    "conditional": True,
    "problems": (UserNotFound, GrantExceedsOwn, EmailTaken, LastAdmin, MachineAccount, RateLimited),
}


class Users(Controller):
    path = "/api/users"

    @get(
        "/",
        operation(
            ListUsers,
            "users",
            summary="List users",
            query=ListUsersCommand,
            answer=Page[UserResult],
            problems=(InvalidCursor,),
        ),
    )
    async def list_all(self, call: Call) -> Response:
        return page(call, await call.ubr.list_users(call.filters(ListUsersCommand), actor=call.actor))

    @post(
        "/",
        operation(
            CreateUser,
            "users",
            status=201,
            summary="Create an account for another person",
            body=CreateUserCommand,
            answer=UserResult,
            tagged=True,
            located=True,
            keyed=True,
            problems=(WeakPassword, GrantExceedsOwn, EmailTaken, TooManyRoles, Busy),
        ),
    )
    async def create(self, call: Call) -> Response:
        command = call.command(CreateUserCommand)
        user = await call.ubr.create_user(command, actor=call.actor, idempotency_key=call.idempotency_key)
        return created(call, user, "/api/users", user.id)

    @get(
        "/me",
        operation(GetMe, "users", summary="Read one's user", answer=MeResult, tagged=True),
    )
    async def me(self, call: Call) -> Response:
        return revised(call, await call.ubr.get_me(actor=call.actor))

    @get(
        "/{user_id}",
        operation(GetUser, "users", summary="Read one user", answer=UserResult, tagged=True, problems=(UserNotFound,)),
    )
    async def read(self, call: Call) -> Response:
        command = GetUserCommand(user_id=call.id("user_id"))
        return revised(call, await call.ubr.get_user(command, actor=call.actor))

    @put("/{user_id}", operation(UpdateUser, "users", summary="Update a user", **_CHANGE))
    async def update(self, call: Call) -> Response:
        return revised(call, await call.ubr.update_user(_update(call), actor=call.actor))

    @patch(
        "/{user_id}",
        operation(UpdateUser, "users", name="patch_user", summary="Update a user by merge patch", **_CHANGE),
    )
    async def merge(self, call: Call) -> Response:
        return revised(call, await call.ubr.update_user(_update(call), actor=call.actor))

    @delete(
        "/{user_id}",
        operation(
            DeleteUser,
            "users",
            status=204,
            summary="Delete a user",
            conditional=True,
            problems=(UserNotFound, GrantExceedsOwn, ReauthenticationRequired, LastAdmin, MachineAccount),
        ),
    )
    async def remove(self, call: Call) -> None:
        command = DeleteUserCommand(user_id=call.id("user_id"), if_match=call.if_match)
        await call.ubr.delete_user(command, actor=call.actor)

    @post(
        "/{user_id}/unlock",
        operation(
            UnlockUser,
            "users",
            summary="End the locks of an account after wrong passwords",
            answer=UnlockedUserResult,
            problems=(UserNotFound, GrantExceedsOwn),
        ),
    )
    async def unlock(self, call: Call) -> Response:
        command = UnlockUserCommand(user_id=call.id("user_id"))
        return ok(await call.ubr.unlock_user(command, actor=call.actor))

    @get(
        "/{user_id}/login-explanation",
        operation(
            ExplainLogin,
            "users",
            name="explain_user_login",
            summary="Explain why logins of a user fail",
            answer=LoginExplanationResult,
            problems=(UserNotFound,),
        ),
    )
    async def explain_login(self, call: Call) -> Response:
        command = ExplainLoginCommand(user_id=call.id("user_id"))
        return ok(await call.ubr.explain_login(command, actor=call.actor))

    @post(
        "/{user_id}/erase",
        operation(
            EraseUser,
            "users",
            summary="Delete a user, and erase the user's client IPs from the audit log",
            answer=ErasedUserResult,
            problems=(UserNotFound, GrantExceedsOwn, LastAdmin, MachineAccount),
        ),
    )
    async def erase(self, call: Call) -> Response:
        command = EraseUserCommand(user_id=call.id("user_id"))
        return ok(await call.ubr.erase_user(command, actor=call.actor))

    @get(
        "/{user_id}/export",
        operation(
            ExportUser,
            "users",
            summary="Export everything that is stored about a user",
            answer=UserExportResult,
            problems=(UserNotFound, ReauthenticationRequired, RateLimited),
        ),
    )
    async def export(self, call: Call) -> Response:
        command = ExportUserCommand(user_id=call.id("user_id"))
        return StreamedResponse(await call.ubr.export_user(command, actor=call.actor))

    @get(
        "/{user_id}/sessions",
        operation(
            ListSessions,
            "users",
            summary="List a user's sessions",
            query=Paging,
            answer=Page[SessionResult],
            problems=(InvalidCursor, UserNotFound),
        ),
    )
    async def list_sessions(self, call: Call) -> Response:
        part = call.filters(Paging)
        command = ListSessionsCommand(user_id=call.id("user_id"), limit=part.limit, cursor=part.cursor)
        return page(call, await call.ubr.list_sessions(command, actor=call.actor))

    @delete(
        "/{user_id}/sessions",
        operation(
            RevokeUserSessions,
            "users",
            status=204,
            summary="End a user's sessions",
            ending=True,
            problems=(UserNotFound, GrantExceedsOwn),
        ),
    )
    async def revoke_sessions(self, call: Call) -> None:
        command = RevokeUserSessionsCommand(user_id=call.id("user_id"))
        await call.ubr.revoke_user_sessions(command, actor=call.actor)

    @get(
        "/{user_id}/roles",
        operation(
            ListUserRoles,
            "users",
            summary="List a user's roles",
            query=Paging,
            answer=Page[GrantResult],
            problems=(InvalidCursor, UserNotFound),
        ),
    )
    async def list_roles(self, call: Call) -> Response:
        part = call.filters(Paging)
        command = ListUserRolesCommand(user_id=call.id("user_id"), limit=part.limit, cursor=part.cursor)
        return page(call, await call.ubr.list_user_roles(command, actor=call.actor))

    @put(
        "/{user_id}/roles/{name}",
        operation(
            AssignRole,
            "users",
            status=204,
            summary="Assign a role to a user",
            body=GrantTerms,
            body_optional=True,
            problems=(UserNotFound, RoleNotFound, GrantExceedsOwn, BuiltInRole, LastAdmin, TooManyRoles),
        ),
    )
    async def assign_role(self, call: Call) -> None:
        terms = call.command(GrantTerms)
        role = call.path_params["name"]
        command = AssignRoleCommand(user_id=call.id("user_id"), role=role, expires_at=terms.expires_at)
        await call.ubr.assign_role(command, actor=call.actor)

    @delete(
        "/{user_id}/roles/{name}",
        operation(
            UnassignRole,
            "users",
            status=204,
            summary="Remove a role from a user",
            problems=(UserNotFound, RoleNotFound, GrantExceedsOwn, BuiltInRole, LastAdmin),
        ),
    )
    async def unassign_role(self, call: Call) -> None:
        command = UnassignRoleCommand(user_id=call.id("user_id"), role=call.path_params["name"])
        await call.ubr.unassign_role(command, actor=call.actor)


def _update(call: Call) -> UpdateUserCommand:
    changes = call.command(UserChanges)
    return UpdateUserCommand(user_id=call.id("user_id"), changes=changes, if_match=call.if_match)
