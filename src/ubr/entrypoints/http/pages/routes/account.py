"""One's own account: profile, e-mail, password, sessions, data."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.export_user import ExportUserCommand
from ubr.application.accounts.get_me import MeResult
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.log_in_browser import LogInBrowserCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.domain.actor import Actor
from ubr.domain.errors import ReauthenticationRequired, UbrError
from ubr.domain.roles.permissions import Permission, Permissions
from ubr.entrypoints.http.call import Call
from ubr.entrypoints.http.pages.devices import device
from ubr.entrypoints.http.pages.entitled import entitled
from ubr.entrypoints.http.pages.fields import given, inputs, texts, writing_level
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
    with_login,
    words_of,
)
from ubr.entrypoints.http.query import id_of
from ubr.entrypoints.http.response import Response, StreamedResponse
from ubr.entrypoints.http.routing import get, post

_PLACES: Final = {"data.html": "/account/data", "profile.html": "/account", "sessions.html": "/account/sessions"}
"""The paths of pages that also answer forms with other paths."""


class AccountPages(PageController):
    @get("/account", page_operation("get_profile_page"))
    @with_login
    async def profile(self, call: Call, actor: Actor) -> Response:
        return await _own(call, actor, "profile.html", "profile")

    @post("/account", form_operation("post_profile_page"))
    @with_login
    async def save_name(self, call: Call, actor: Actor) -> Response:
        form = call.form()
        changes = UserChanges(full_name=form.get("full_name") or None)
        try:
            await call.ubr.update_user(UpdateUserCommand(user_id=actor.user_id, changes=changes), actor=actor)
        except UbrError as error:
            return await _own(call, actor, "profile.html", "profile", form=form, error=error)
        return see_other(call, "/account", notice="name-saved")

    @post("/account/fields", form_operation("post_fields_page"))
    @with_login
    async def save_fields(self, call: Call, actor: Actor) -> Response:
        form = call.form()
        try:
            me = await call.ubr.get_me(actor=actor)
            update = call.ubr.update_user
            changed = given(update.user_fields, writing_level(_permissions(me)), form, me.fields)
            if changed is not UNSET:
                command = UpdateUserCommand(user_id=actor.user_id, changes=UserChanges(fields=changed))
                await update(command, actor=actor)
        except UbrError as error:
            return await _own(call, actor, "profile.html", "profile", form=form, error=error)
        return see_other(call, "/account", notice="fields-saved")

    @post("/account/email", form_operation("post_email_page"))
    @with_login
    async def change_email(self, call: Call, actor: Actor) -> Response:
        form = call.form()
        try:
            await call.ubr.request_email_change(form.command(RequestEmailChangeCommand), actor=actor)
        except UbrError as error:
            return await _own(call, actor, "profile.html", "profile", form=form, error=error)
        return see_other(call, "/account", notice="email-mailed")

    @get("/account/password", page_operation("get_password_page"))
    @with_login
    async def password(self, call: Call, actor: Actor) -> Response:
        return await _own(call, actor, "password.html", "password")

    @post("/account/password", form_operation("post_password_page"))
    @with_login
    async def change_password(self, call: Call, actor: Actor) -> Response:
        try:
            cookie = await call.ubr.change_password(call.form().command(ChangePasswordCommand), actor=actor)
        except UbrError as error:
            return await _own(call, actor, "password.html", "password", error=error)
        if cookie is not None:
            call.give_cookie(cookie)
        return see_other(call, "/account/password", notice="password-changed")

    @get("/account/sessions", page_operation("get_sessions_page"))
    @with_login
    async def sessions(self, call: Call, actor: Actor) -> Response:
        return await _sessions(call, actor)

    @post("/account/sessions/end", form_operation("post_session_end"))
    @with_login
    async def end_session(self, call: Call, actor: Actor) -> Response:
        command = RevokeSessionCommand(session_id=id_of(call.form().get("session_id")))
        try:
            await call.ubr.revoke_session(command, actor=actor)
        except UbrError as error:
            return await _sessions(call, actor, error=error)
        return see_other(call, "/account/sessions", notice="session-ended")

    @post("/account/sessions/end-others", form_operation("post_other_sessions_end"))
    @with_login
    async def end_others(self, call: Call, actor: Actor) -> Response:
        await call.ubr.revoke_other_sessions(actor=actor)
        return see_other(call, "/account/sessions", notice="others-ended")

    @get("/account/data", page_operation("get_data_page"))
    @with_login
    async def data(self, call: Call, actor: Actor) -> Response:
        return await _own(call, actor, "data.html", "data")

    @post("/account/export", form_operation("post_export"))
    @with_login
    async def export(self, call: Call, actor: Actor) -> Response:
        command = ExportUserCommand(user_id=actor.user_id)
        try:
            response = StreamedResponse(await call.ubr.export_user(command, actor=actor))
        except ReauthenticationRequired:
            return see_other(call, "/account/confirm", back="/account/data")
        except UbrError as error:
            return await _own(call, actor, "data.html", "data", error=error)
        response.headers["content-disposition"] = 'attachment; filename="account.json"'
        return response

    @get("/account/delete", page_operation("get_deletion_page"))
    @with_login
    async def deletion(self, call: Call, actor: Actor) -> Response:
        return await _own(call, actor, "deletion.html", "data")

    @post("/account/delete", form_operation("post_deletion"))
    @with_login
    async def delete(self, call: Call, actor: Actor) -> Response:
        try:
            await call.ubr.delete_user(DeleteUserCommand(user_id=actor.user_id), actor=actor)
        except ReauthenticationRequired:
            return see_other(call, "/account/confirm", back="/account/delete")
        except UbrError as error:
            return await _own(call, actor, "deletion.html", "data", error=error)
        call.take_cookie()
        return see_other(call, "/login", notice="deleted")

    @get("/account/confirm", page_operation("get_confirmation_page"))
    @with_login
    async def unconfirmed(self, call: Call, actor: Actor) -> Response:
        back = back_of(call, query_of(call).get("return_to"))
        return await _own(call, actor, "confirm.html", "", back=back)

    @post("/account/confirm", form_operation("post_confirmation_page"))
    @with_login
    async def confirm(self, call: Call, actor: Actor) -> Response:
        """A login as the same user, in a new session. The session before it ends, and its cookie with it."""
        form = call.form()
        back = back_of(call, form.get("return_to"))
        me = await call.ubr.get_me(actor=actor)
        try:
            command = form.command(LogInBrowserCommand, email=me.email, cookie=call.replaced_cookie)
            login = await call.ubr.log_in_browser(command)
        except UbrError as error:
            return await _own(call, actor, "confirm.html", "", error=error, back=back)
        call.give_cookie(login.cookie)
        return lead_to(call, back or "/account")


async def _own(call: Call, actor: Actor, template: str, section: str, **shown: Any) -> Response:
    me = await call.ubr.get_me(actor=actor)
    own = _permissions(me)
    if template == "profile.html":
        await site_of(call).load()
        fields, level, words = call.ubr.update_user.user_fields, writing_level(own), words_of(call)
        shown |= {
            "inputs": inputs(fields, level, words, me.fields),
            "texts": texts(fields, words, me.fields, beside=level),
        }
    return await show(
        call,
        template,
        section=section,
        me=me,
        min_length=call.ubr.register_user.policy.password_min_length,
        manages=site_of(call).options.scope == "all" and entitled(own),
        place=_PLACES.get(template),
        **shown,
    )


def _permissions(me: MeResult) -> Permissions:
    return Permissions.of(map(Permission, me.permissions))


async def _sessions(call: Call, actor: Actor, *, error: UbrError | None = None) -> Response:
    cursor = query_of(call).get("cursor")
    sessions = await call.ubr.list_sessions(
        ListSessionsCommand(user_id=actor.user_id, cursor=cursor or None), actor=actor
    )
    # The current one may be on another page.
    others = cursor is not None or any(not session.current for session in sessions.items)
    return await _own(
        call, actor, "sessions.html", "sessions", sessions=sessions, others=others, device=device, error=error
    )
