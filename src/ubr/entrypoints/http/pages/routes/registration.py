"""Register, and request another mail."""

from __future__ import annotations

from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.accounts.resend_verification import ResendVerificationCommand
from ubr.application.sessions.log_in_browser import LogInBrowserCommand
from ubr.domain.accounts.user_field import Access
from ubr.domain.errors import UbrError
from ubr.entrypoints.http.call import Call
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages.fields import given, inputs
from ubr.entrypoints.http.pages.page import (
    PageController,
    back_of,
    form_operation,
    lead_to,
    page_operation,
    query_of,
    see_other,
    show,
    site_of,
    words_of,
)
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import get, post


class RegistrationPages(PageController):
    @get("/register", page_operation("get_registration_page"))
    async def registration(self, request: Call) -> Response:
        return await _registration(request, back=back_of(request, query_of(request).get("return_to")))

    @post("/register", form_operation("post_registration_page"))
    async def register(self, request: Call) -> Response:
        form = request.form()
        back = back_of(request, form.get("return_to"))
        try:
            fields = given(request.ubr.register_user.user_fields, Access.USER, form)
            user = await request.ubr.register_user(form.command(RegisterUserCommand, fields=fields))
        except UbrError as error:
            return await _registration(request, form=form, error=error, back=back)
        if user is None:
            return see_other(request, "/login", notice="registration-mailed", back=back)
        try:
            login = await request.ubr.log_in_browser(form.command(LogInBrowserCommand, cookie=request.replaced_cookie))
        except UbrError:  # the account exists; the login page shows the reason
            return see_other(request, "/login", notice="registered", back=back)
        request.give_cookie(login.cookie)
        return see_other(request, "/account", notice="registered") if back is None else lead_to(request, back)

    @get("/forgot", page_operation("get_forgotten_password_page"))
    async def forgotten(self, request: Call) -> Response:
        return await show(request, "forgot.html")

    @post("/forgot", form_operation("post_forgotten_password_page"))
    async def request_reset(self, request: Call) -> Response:
        form = request.form()
        try:
            await request.ubr.request_password_reset(form.command(RequestPasswordResetCommand))
        except UbrError as error:
            return await show(request, "forgot.html", form=form, error=error)
        return see_other(request, "/login", notice="reset-mailed")

    @get("/verify-email/resend", page_operation("get_resend_page"))
    async def unverified(self, request: Call) -> Response:
        return await show(request, "resend.html")

    @post("/verify-email/resend", form_operation("post_resend_page"))
    async def resend(self, request: Call) -> Response:
        form = request.form()
        try:
            await request.ubr.resend_verification(form.command(ResendVerificationCommand))
        except UbrError as error:
            return await show(request, "resend.html", form=form, error=error)
        return see_other(request, "/login", notice="verification-mailed")


async def _registration(
    request: Call, *, back: str | None, form: Form | None = None, error: UbrError | None = None
) -> Response:
    policy = request.ubr.register_user.policy
    await site_of(request).load()
    return await show(
        request,
        "register.html",
        form=form,
        error=error,
        back=back,
        registration=policy.registration,
        min_length=policy.password_min_length,
        inputs=inputs(request.ubr.register_user.user_fields, Access.USER, words_of(request)),
    )
