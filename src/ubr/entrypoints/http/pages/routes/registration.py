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
    async def registration(self, call: Call) -> Response:
        return await _registration(call, back=back_of(call, query_of(call).get("return_to")))

    @post("/register", form_operation("post_registration_page"))
    async def register(self, call: Call) -> Response:
        form = call.form()
        back = back_of(call, form.get("return_to"))
        try:
            fields = given(call.ubr.register_user.user_fields, Access.USER, form)
            user = await call.ubr.register_user(form.command(RegisterUserCommand, fields=fields))
        except UbrError as error:
            return await _registration(call, form=form, error=error, back=back)
        if user is None:
            return see_other(call, "/login", notice="registration-mailed", back=back)
        try:
            login = await call.ubr.log_in_browser(form.command(LogInBrowserCommand, cookie=call.replaced_cookie))
        except UbrError:  # the account exists; the login page shows the reason
            return see_other(call, "/login", notice="registered", back=back)
        call.give_cookie(login.cookie)
        return see_other(call, "/account", notice="registered") if back is None else lead_to(call, back)

    @get("/forgot", page_operation("get_forgotten_password_page"))
    async def forgotten(self, call: Call) -> Response:
        return await show(call, "forgot.html")

    @post("/forgot", form_operation("post_forgotten_password_page"))
    async def request_reset(self, call: Call) -> Response:
        form = call.form()
        try:
            await call.ubr.request_password_reset(form.command(RequestPasswordResetCommand))
        except UbrError as error:
            return await show(call, "forgot.html", form=form, error=error)
        return see_other(call, "/login", notice="reset-mailed")

    @get("/verify-email/resend", page_operation("get_resend_page"))
    async def unverified(self, call: Call) -> Response:
        return await show(call, "resend.html")

    @post("/verify-email/resend", form_operation("post_resend_page"))
    async def resend(self, call: Call) -> Response:
        form = call.form()
        try:
            await call.ubr.resend_verification(form.command(ResendVerificationCommand))
        except UbrError as error:
            return await show(call, "resend.html", form=form, error=error)
        return see_other(call, "/login", notice="verification-mailed")


async def _registration(
    call: Call, *, back: str | None, form: Form | None = None, error: UbrError | None = None
) -> Response:
    policy = call.ubr.register_user.policy
    await site_of(call).load()
    return await show(
        call,
        "register.html",
        form=form,
        error=error,
        back=back,
        registration=policy.registration,
        min_length=policy.password_min_length,
        inputs=inputs(call.ubr.register_user.user_fields, Access.USER, words_of(call)),
    )
