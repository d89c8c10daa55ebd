"""The start, login and logout."""

from __future__ import annotations

from contextlib import suppress

from ubr.application.sessions.log_in_browser import LogInBrowserCommand
from ubr.domain.errors import InvalidToken, UbrError
from ubr.entrypoints.http.call import Call
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages.page import (
    PageController,
    back_of,
    form_operation,
    lead_to,
    page_operation,
    query_of,
    see_other,
    show,
    wants_page,
)
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routes.documents import to_the_documentation
from ubr.entrypoints.http.routing import get, post


class LoginPages(PageController):
    @get("/", page_operation("get_start"))
    async def start(self, call: Call) -> Response:
        """Leads people to a page, and programs to the documentation as without pages."""
        if not wants_page(call):
            return to_the_documentation()
        return see_other(call, "/login" if await call.visitor() is None else "/account")

    @get("/login", page_operation("get_login_page"))
    async def login(self, call: Call) -> Response:
        back = back_of(call, query_of(call).get("return_to"))
        if await call.visitor() is not None:
            return lead_to(call, back or "/account")
        return await _login(call, back=back)

    @post("/login", form_operation("post_login_page"))
    async def log_in(self, call: Call) -> Response:
        form = call.form()
        back = back_of(call, form.get("return_to"))
        try:
            login = await call.ubr.log_in_browser(form.command(LogInBrowserCommand, cookie=call.replaced_cookie))
        except UbrError as error:
            return await _login(call, back=back, form=form, error=error)
        call.give_cookie(login.cookie)
        return lead_to(call, back or "/account")

    @post("/logout", form_operation("post_logout"))
    async def log_out(self, call: Call) -> Response:
        # If the session has ended already, the person is logged out, as they want to be.
        for cookie in call.cookies:
            with suppress(InvalidToken):
                actor = await call.ubr.authenticate_cookie.even_if_ended(cookie)
                await call.ubr.log_out(actor=actor)
        call.take_cookie()
        return see_other(call, "/login", notice="logged-out")


async def _login(call: Call, *, back: str | None, form: Form | None = None, error: UbrError | None = None) -> Response:
    registration = call.ubr.register_user.policy.registration
    return await show(call, "login.html", form=form, error=error, back=back, registration=registration)
