"""Signing up, in and out."""

from __future__ import annotations

from litestar import Controller, Response, post

from ubr.application.results import TokensResult, UserResult
from ubr.application.use_cases.change_password import ChangePassword, ChangePasswordCommand
from ubr.application.use_cases.log_in import LogIn, LogInCommand
from ubr.application.use_cases.log_out import LogOut
from ubr.application.use_cases.refresh_session import RefreshSession, RefreshSessionCommand
from ubr.application.use_cases.register_user import RegisterUser, RegisterUserCommand
from ubr.domain.errors import (
    Busy,
    EmailTaken,
    InvalidCredentials,
    InvalidToken,
    RateLimited,
    RegistrationClosed,
    WeakPassword,
    WrongPassword,
)
from ubr.entrypoints.http.answers import created, ok
from ubr.entrypoints.http.call import Call, Ubr, operation


class Auth(Controller):
    path = "/api/auth"

    @post(
        "/register",
        **operation(
            RegisterUser,
            "auth",
            status=201,
            summary="Register",
            body=RegisterUserCommand,
            answer=UserResult,
            public=True,
            tagged=True,
            located=True,
            limited=True,
            problems=(WeakPassword, EmailTaken, RegistrationClosed, RateLimited, Busy),
        ),
    )
    async def register(self, request: Call, ubr: Ubr) -> Response[bytes]:
        user = await ubr.register_user(request.command(RegisterUserCommand))
        return created(request, user, "/api/users", user.id)

    @post(
        "/login",
        **operation(
            LogIn,
            "auth",
            summary="Sign in",
            body=LogInCommand,
            answer=TokensResult,
            public=True,
            limited=True,
            problems=(InvalidCredentials, RateLimited, Busy),
        ),
    )
    async def log_in(self, request: Call, ubr: Ubr) -> Response[bytes]:
        return ok(await ubr.log_in(request.command(LogInCommand)))

    @post(
        "/refresh",
        **operation(
            RefreshSession,
            "auth",
            summary="Exchange a refresh token",
            body=RefreshSessionCommand,
            answer=TokensResult,
            public=True,
            problems=(InvalidToken, RateLimited),
        ),
    )
    async def refresh(self, request: Call, ubr: Ubr) -> Response[bytes]:
        return ok(await ubr.refresh_session(request.command(RefreshSessionCommand)))

    @post("/logout", **operation(LogOut, "auth", status=204, summary="Sign out", ending=True))
    async def log_out(self, request: Call, ubr: Ubr) -> None:
        await ubr.log_out(actor=request.actor)

    @post(
        "/password",
        **operation(
            ChangePassword,
            "auth",
            status=204,
            summary="Change one's password",
            body=ChangePasswordCommand,
            limited=True,
            problems=(WeakPassword, WrongPassword, RateLimited, Busy),
        ),
    )
    async def change_password(self, request: Call, ubr: Ubr) -> None:
        await ubr.change_password(request.command(ChangePasswordCommand), actor=request.actor)
