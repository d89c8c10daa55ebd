"""Signing up, in and out."""

from __future__ import annotations

from typing import Annotated

from ubr.application.accounts.change_password import ChangePassword, ChangePasswordCommand
from ubr.application.accounts.explain_login import ExplainLogin, ExplainLoginCommand, LoginExplanationResult
from ubr.application.accounts.register_user import RegisterUser, RegisterUserCommand
from ubr.application.accounts.request_email_change import RequestEmailChange, RequestEmailChangeCommand
from ubr.application.accounts.request_password_reset import RequestPasswordReset, RequestPasswordResetCommand
from ubr.application.accounts.resend_verification import ResendVerification, ResendVerificationCommand
from ubr.application.accounts.reset_password import ResetPassword, ResetPasswordCommand
from ubr.application.accounts.undo_email_change import UndoEmailChange, UndoEmailChangeCommand
from ubr.application.accounts.verify_email import VerifyEmail, VerifyEmailCommand
from ubr.application.kernel.command import Command
from ubr.application.kernel.fields import EXAMPLE_EMAIL, EmailStr, example
from ubr.application.kernel.representations import AccessTokenResult, BrowserSessionResult, TokensResult, UserResult
from ubr.application.sessions.issue_access_token import IssueAccessToken, IssueAccessTokenCommand
from ubr.application.sessions.log_in import LogIn, LogInCommand
from ubr.application.sessions.log_in_browser import LogInBrowser, LogInBrowserCommand
from ubr.application.sessions.log_out import LogOut
from ubr.application.sessions.refresh_session import RefreshSession, RefreshSessionCommand
from ubr.domain.errors import (
    Busy,
    EmailTaken,
    InvalidCredentials,
    InvalidLink,
    InvalidToken,
    MachineAccount,
    RateLimited,
    RegistrationClosed,
    Unauthenticated,
    WeakPassword,
    WrongPassword,
)
from ubr.entrypoints.http.call import Call, operation
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.responses import accepted, created, ok
from ubr.entrypoints.http.routing import Controller, post


class LoginEmail(Command, frozen=True, kw_only=True):
    """In the body, because the path and the query of a request get into the logs of proxies."""

    email: Annotated[EmailStr, example(EXAMPLE_EMAIL)]


class Auth(Controller):
    path = "/api/auth"

    @post(
        "/register",
        operation(
            RegisterUser,
            "auth",
            status=201,
            summary="Register",
            body=RegisterUserCommand,
            answer=UserResult,
            public=True,
            tagged=True,
            located=True,
            deferred=True,
            keyed=True,
            limited=True,
            problems=(WeakPassword, EmailTaken, RegistrationClosed, RateLimited, Busy),
        ),
    )
    async def register(self, call: Call) -> Response:
        user = await call.ubr.register_user(call.command(RegisterUserCommand), idempotency_key=call.idempotency_key)
        return accepted() if user is None else created(call, user, "/api/users", user.id)

    @post(
        "/login",
        operation(
            LogIn,
            "auth",
            summary="Log in",
            body=LogInCommand,
            answer=TokensResult,
            public=True,
            limited=True,
            problems=(InvalidCredentials, RateLimited, Busy),
        ),
    )
    async def log_in(self, call: Call) -> Response:
        return ok(await call.ubr.log_in(call.command(LogInCommand)))

    @post(
        "/login/browser",
        operation(
            LogInBrowser,
            "auth",
            summary="Log in a browser",
            body=LogInCommand,
            answer=BrowserSessionResult,
            public=True,
            for_browsers=True,
            sets_cookie=True,
            limited=True,
            problems=(InvalidCredentials, RateLimited, Busy),
        ),
    )
    async def log_in_browser(self, call: Call) -> Response:
        given = call.command(LogInCommand)
        command = LogInBrowserCommand(email=given.email, password=given.password, cookie=call.replaced_cookie)
        login = await call.ubr.log_in_browser(command)
        call.give_cookie(login.cookie)
        return ok(login.session)

    @post(
        "/token/browser",
        operation(
            IssueAccessToken,
            "auth",
            summary="Get an access token for the page of a browser",
            answer=AccessTokenResult,
            public=True,
            for_browsers=True,
            by_cookie=True,
            problems=(Unauthenticated, InvalidToken, RateLimited),
        ),
    )
    async def issue_access_token(self, call: Call) -> Response:
        cookie = call.cookie
        if cookie is None:
            raise Unauthenticated
        return ok(await call.ubr.issue_access_token(IssueAccessTokenCommand(cookie=cookie)))

    @post(
        "/login/explain",
        operation(
            ExplainLogin,
            "auth",
            summary="Explain why logins with an e-mail fail",
            body=LoginEmail,
            answer=LoginExplanationResult,
        ),
    )
    async def explain_login(self, call: Call) -> Response:
        command = ExplainLoginCommand(email=call.command(LoginEmail).email)
        return ok(await call.ubr.explain_login(command, actor=call.actor))

    @post(
        "/refresh",
        operation(
            RefreshSession,
            "auth",
            summary="Exchange a refresh token",
            body=RefreshSessionCommand,
            answer=TokensResult,
            public=True,
            problems=(InvalidToken, RateLimited),
        ),
    )
    async def refresh(self, call: Call) -> Response:
        return ok(await call.ubr.refresh_session(call.command(RefreshSessionCommand)))

    @post("/logout", operation(LogOut, "auth", status=204, summary="Log out", ending=True, sets_cookie=True))
    async def log_out(self, call: Call) -> None:
        await call.ubr.log_out(actor=call.actor)
        call.take_cookie()

    @post(
        "/password",
        operation(
            ChangePassword,
            "auth",
            status=204,
            summary="Change one's own password",
            body=ChangePasswordCommand,
            sets_cookie=True,
            limited=True,
            problems=(WeakPassword, WrongPassword, MachineAccount, RateLimited, Busy),
        ),
    )
    async def change_password(self, call: Call) -> None:
        cookie = await call.ubr.change_password(call.command(ChangePasswordCommand), actor=call.actor)
        if cookie is not None:
            call.give_cookie(cookie)

    @post(
        "/password/forgot",
        operation(
            RequestPasswordReset,
            "auth",
            status=202,
            summary="Request a link to set a new password",
            body=RequestPasswordResetCommand,
            public=True,
            limited=True,
            problems=(RateLimited,),
        ),
    )
    async def forgot_password(self, call: Call) -> Response:
        await call.ubr.request_password_reset(call.command(RequestPasswordResetCommand))
        return accepted()

    @post(
        "/password/reset",
        operation(
            ResetPassword,
            "auth",
            status=204,
            summary="Set a new password with a link",
            body=ResetPasswordCommand,
            public=True,
            problems=(InvalidLink, WeakPassword, RateLimited, Busy),
        ),
    )
    async def reset_password(self, call: Call) -> None:
        await call.ubr.reset_password(call.command(ResetPasswordCommand))

    @post(
        "/email",
        operation(
            RequestEmailChange,
            "auth",
            status=202,
            summary="Request a change of e-mail",
            body=RequestEmailChangeCommand,
            problems=(WrongPassword, MachineAccount, RateLimited, Busy),
        ),
    )
    async def change_email(self, call: Call) -> Response:
        await call.ubr.request_email_change(call.command(RequestEmailChangeCommand), actor=call.actor)
        return accepted()

    @post(
        "/email/verify",
        operation(
            VerifyEmail,
            "auth",
            status=204,
            summary="Verify an e-mail with a link",
            body=VerifyEmailCommand,
            public=True,
            problems=(InvalidLink, WeakPassword, EmailTaken, RateLimited, Busy),
        ),
    )
    async def verify_email(self, call: Call) -> None:
        await call.ubr.verify_email(call.command(VerifyEmailCommand))

    @post(
        "/email/verify/resend",
        operation(
            ResendVerification,
            "auth",
            status=202,
            summary="Request another link to verify an e-mail",
            body=ResendVerificationCommand,
            public=True,
            limited=True,
            problems=(RateLimited,),
        ),
    )
    async def resend_verification(self, call: Call) -> Response:
        await call.ubr.resend_verification(call.command(ResendVerificationCommand))
        return accepted()

    @post(
        "/email/undo",
        operation(
            UndoEmailChange,
            "auth",
            status=204,
            summary="Undo a change of e-mail with a link",
            body=UndoEmailChangeCommand,
            public=True,
            problems=(InvalidLink, RateLimited),
        ),
    )
    async def undo_email_change(self, call: Call) -> None:
        await call.ubr.undo_email_change(call.command(UndoEmailChangeCommand))
