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
    async def list_all(self, request: Call) -> Response:
        return page(request, await request.ubr.list_users(request.filters(ListUsersCommand), actor=request.actor))

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
    async def create(self, request: Call) -> Response:
        command = request.command(CreateUserCommand)
        user = await request.ubr.create_user(command, actor=request.actor, idempotency_key=request.idempotency_key)
        return created(request, user, "/api/users", user.id)

    @get(
        "/me",
        operation(GetMe, "users", summary="Read one's user", answer=MeResult, tagged=True),
    )
    async def me(self, request: Call) -> Response:
        return revised(request, await request.ubr.get_me(actor=request.actor))

    @get(
        "/{user_id:str}",
        operation(GetUser, "users", summary="Read one user", answer=UserResult, tagged=True, problems=(UserNotFound,)),
    )
    async def read(self, request: Call) -> Response:
        command = GetUserCommand(user_id=request.id("user_id"))
        return revised(request, await request.ubr.get_user(command, actor=request.actor))

    @put("/{user_id:str}", operation(UpdateUser, "users", summary="Update a user", **_CHANGE))
    async def update(self, request: Call) -> Response:
        return revised(request, await request.ubr.update_user(_update(request), actor=request.actor))

    @patch(
        "/{user_id:str}",
        operation(UpdateUser, "users", name="patch_user", summary="Update a user by merge patch", **_CHANGE),
    )
    async def merge(self, request: Call) -> Response:
        return revised(request, await request.ubr.update_user(_update(request), actor=request.actor))

    @delete(
        "/{user_id:str}",
        operation(
            DeleteUser,
            "users",
            status=204,
            summary="Delete a user",
            conditional=True,
            problems=(UserNotFound, GrantExceedsOwn, ReauthenticationRequired, LastAdmin, MachineAccount),
        ),
    )
    async def remove(self, request: Call) -> None:
        command = DeleteUserCommand(user_id=request.id("user_id"), if_match=request.if_match)
        await request.ubr.delete_user(command, actor=request.actor)

    @post(
        "/{user_id:str}/unlock",
        operation(
            UnlockUser,
            "users",
            summary="End the locks of an account after wrong passwords",
            answer=UnlockedUserResult,
            problems=(UserNotFound, GrantExceedsOwn),
        ),
    )
    async def unlock(self, request: Call) -> Response:
        command = UnlockUserCommand(user_id=request.id("user_id"))
        return ok(await request.ubr.unlock_user(command, actor=request.actor))

    @get(
        "/{user_id:str}/login-explanation",
        operation(
            ExplainLogin,
            "users",
            name="explain_user_login",
            summary="Explain why logins of a user fail",
            answer=LoginExplanationResult,
            problems=(UserNotFound,),
        ),
    )
    async def explain_login(self, request: Call) -> Response:
        command = ExplainLoginCommand(user_id=request.id("user_id"))
        return ok(await request.ubr.explain_login(command, actor=request.actor))

    @post(
        "/{user_id:str}/erase",
        operation(
            EraseUser,
            "users",
            summary="Delete a user, and erase the user's client IPs from the audit log",
            answer=ErasedUserResult,
            problems=(UserNotFound, GrantExceedsOwn, LastAdmin, MachineAccount),
        ),
    )
    async def erase(self, request: Call) -> Response:
        command = EraseUserCommand(user_id=request.id("user_id"))
        return ok(await request.ubr.erase_user(command, actor=request.actor))

    @get(
        "/{user_id:str}/export",
        operation(
            ExportUser,
            "users",
            summary="Export everything that is stored about a user",
            answer=UserExportResult,
            problems=(UserNotFound, ReauthenticationRequired, RateLimited),
        ),
    )
    async def export(self, request: Call) -> Response:
        command = ExportUserCommand(user_id=request.id("user_id"))
        return StreamedResponse(await request.ubr.export_user(command, actor=request.actor))

    @get(
        "/{user_id:str}/sessions",
        operation(
            ListSessions,
            "users",
            summary="List a user's sessions",
            query=Paging,
            answer=Page[SessionResult],
            problems=(InvalidCursor, UserNotFound),
        ),
    )
    async def list_sessions(self, request: Call) -> Response:
        part = request.filters(Paging)
        command = ListSessionsCommand(user_id=request.id("user_id"), limit=part.limit, cursor=part.cursor)
        return page(request, await request.ubr.list_sessions(command, actor=request.actor))

    @delete(
        "/{user_id:str}/sessions",
        operation(
            RevokeUserSessions,
            "users",
            status=204,
            summary="End a user's sessions",
            ending=True,
            problems=(UserNotFound, GrantExceedsOwn),
        ),
    )
    async def revoke_sessions(self, request: Call) -> None:
        command = RevokeUserSessionsCommand(user_id=request.id("user_id"))
        await request.ubr.revoke_user_sessions(command, actor=request.actor)

    @get(
        "/{user_id:str}/roles",
        operation(
            ListUserRoles,
            "users",
            summary="List a user's roles",
            query=Paging,
            answer=Page[GrantResult],
            problems=(InvalidCursor, UserNotFound),
        ),
    )
    async def list_roles(self, request: Call) -> Response:
        part = request.filters(Paging)
        command = ListUserRolesCommand(user_id=request.id("user_id"), limit=part.limit, cursor=part.cursor)
        return page(request, await request.ubr.list_user_roles(command, actor=request.actor))

    @put(
        "/{user_id:str}/roles/{name:str}",
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
    async def assign_role(self, request: Call) -> None:
        terms = request.command(GrantTerms)
        role = request.path_params["name"]
        command = AssignRoleCommand(user_id=request.id("user_id"), role=role, expires_at=terms.expires_at)
        await request.ubr.assign_role(command, actor=request.actor)

    @delete(
        "/{user_id:str}/roles/{name:str}",
        operation(
            UnassignRole,
            "users",
            status=204,
            summary="Remove a role from a user",
            problems=(UserNotFound, RoleNotFound, GrantExceedsOwn, BuiltInRole, LastAdmin),
        ),
    )
    async def unassign_role(self, request: Call) -> None:
        command = UnassignRoleCommand(user_id=request.id("user_id"), role=request.path_params["name"])
        await request.ubr.unassign_role(command, actor=request.actor)


def _update(request: Call) -> UpdateUserCommand:
    changes = request.command(UserChanges)
    return UpdateUserCommand(user_id=request.id("user_id"), changes=changes, if_match=request.if_match)
