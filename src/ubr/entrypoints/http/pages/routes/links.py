"""The pages behind the links in mails.

A GET redeems no link, because mail programs open links to scan them. The token is the fragment of the address, which
browsers do not send and proxies do not log: a script puts it into the form. Without scripts a person pastes the link.
"""

from __future__ import annotations

from typing import Any

from ubr.application.accounts.reset_password import ResetPasswordCommand
from ubr.application.accounts.undo_email_change import UndoEmailChangeCommand
from ubr.application.accounts.verify_email import VerifyEmailCommand
from ubr.domain.errors import Invalid, InvalidLink, UbrError
from ubr.entrypoints.http.call import Call
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages.page import PageController, form_operation, page_operation, see_other, show
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import get, post


class LinkPages(PageController):
    @get("/reset-password", page_operation("get_reset_password_page"))
    async def new_password(self, call: Call) -> Response:
        return await _with_password(call, "reset.html")

    @post("/reset-password", form_operation("post_reset_password_page"))
    async def reset_password(self, call: Call) -> Response:
        form = _with_token(call.form())
        try:
            await call.ubr.reset_password(form.command(ResetPasswordCommand))
        except UbrError as error:
            return await _with_password(call, "reset.html", form, error)
        return see_other(call, "/login", notice="reset-done")

    @get("/verify-email", page_operation("get_verify_email_page"))
    async def unverified(self, call: Call) -> Response:
        return await show(call, "verify.html", with_password=False)

    @post("/verify-email", form_operation("post_verify_email_page"))
    async def verify_email(self, call: Call) -> Response:
        form = _with_token(call.form())
        asked = "password" in form
        try:
            await call.ubr.verify_email(form.command(VerifyEmailCommand))
        except UbrError as error:
            if not asked and _wants_password(error):
                # This step is the same for everyone until here: only the service knows what the link is for.
                return await _with_password(call, "verify.html", form, with_password=True)
            return await _with_password(call, "verify.html", form, error, with_password=asked)
        return see_other(call, "/login", notice="verify-done")

    @get("/undo-email", page_operation("get_undo_email_page"))
    async def changed(self, call: Call) -> Response:
        return await show(call, "undo.html")

    @post("/undo-email", form_operation("post_undo_email_page"))
    async def undo_email_change(self, call: Call) -> Response:
        form = _with_token(call.form())
        try:
            await call.ubr.undo_email_change(form.command(UndoEmailChangeCommand))
        except UbrError as error:
            return await show(call, "undo.html", form=_kept(form, error), error=error)
        return see_other(call, "/login", notice="undo-done")


def _with_token(form: Form) -> Form:
    """The form with the token alone if a person pasted the whole link."""
    return form.replacing("token", form.get("token").strip().rpartition("token=")[2])


def _wants_password(error: UbrError) -> bool:
    return isinstance(error, Invalid) and any(flaw.pointer == "/password" for flaw in error.flaws)


async def _with_password(
    call: Call, template: str, form: Form | None = None, error: UbrError | None = None, **shown: Any
) -> Response:
    min_length = call.ubr.register_user.policy.password_min_length
    return await show(call, template, form=_kept(form, error), error=error, min_length=min_length, **shown)


def _kept(form: Form | None, error: UbrError | None) -> Form | None:
    """The form for another attempt; an empty one after an invalid link, with which none can succeed."""
    return None if isinstance(error, InvalidLink) else form
