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
    async def start(self, request: Call) -> Response:
        """Leads people to a page, and programs to the documentation as without pages."""
        if not wants_page(request):
            return to_the_documentation()
        return see_other(request, "/login" if await request.visitor() is None else "/account")

    @get("/login", page_operation("get_login_page"))
    async def login(self, request: Call) -> Response:
        back = back_of(request, query_of(request).get("return_to"))
        if await request.visitor() is not None:
            return lead_to(request, back or "/account")
        return await _login(request, back=back)

    @post("/login", form_operation("post_login_page"))
    async def log_in(self, request: Call) -> Response:
        form = request.form()
        back = back_of(request, form.get("return_to"))
        try:
            login = await request.ubr.log_in_browser(form.command(LogInBrowserCommand, cookie=request.replaced_cookie))
        except UbrError as error:
            return await _login(request, back=back, form=form, error=error)
        request.give_cookie(login.cookie)
        return lead_to(request, back or "/account")

    @post("/logout", form_operation("post_logout"))
    async def log_out(self, request: Call) -> Response:
        # If the session has ended already, the person is logged out, as they want to be.
        for cookie in request.cookies:
            with suppress(InvalidToken):
                actor = await request.ubr.authenticate_cookie.holder(cookie)
                await request.ubr.log_out(actor=actor)
        request.take_cookie()
        return see_other(request, "/login", notice="logged-out")


async def _login(
    request: Call, *, back: str | None, form: Form | None = None, error: UbrError | None = None
) -> Response:
    registration = request.ubr.register_user.policy.registration
    return await show(request, "login.html", form=form, error=error, back=back, registration=registration)
