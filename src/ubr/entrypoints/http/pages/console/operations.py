"""The service itself: mails, signing keys and health."""

from __future__ import annotations

from ubr.application.kernel.paging import MAX_LIMIT
from ubr.application.keys.revoke_signing_key import RevokeSigningKeyCommand
from ubr.application.mail.list_mail import ListMailCommand, QueuedMailResult
from ubr.application.mail.retry_mail import RetryMailCommand
from ubr.domain.errors import ReauthenticationRequired, UbrError
from ubr.entrypoints.http.pages.console.acts import Question, ask
from ubr.entrypoints.http.pages.console.desk import LIMIT, Desk, at_the_desk
from ubr.entrypoints.http.pages.console.figures import figures
from ubr.entrypoints.http.pages.page import PageController, form_operation, page_operation
from ubr.entrypoints.http.query import id_of
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import get, post
from ubr.entrypoints.installation import judged


class OperationsDesk(PageController):
    @get("/console/mails", page_operation("get_console_mails"))
    @at_the_desk
    async def mails(self, desk: Desk) -> Response:
        return await _mails(desk)

    @post("/console/mails", form_operation("post_console_mails"))
    @at_the_desk
    async def retry(self, desk: Desk) -> Response:
        command = RetryMailCommand(mail_id=id_of(desk.call.form().get("mail_id")))
        try:
            await desk.call.ubr.retry_mail(command, actor=desk.actor)
        except UbrError as error:
            return await _mails(desk, error=error)
        return desk.done("/console/mails", "mail-retried")

    @get("/console/keys", page_operation("get_console_keys"))
    @at_the_desk
    async def keys(self, desk: Desk) -> Response:
        keys = await desk.call.ubr.list_signing_keys(actor=desk.actor)
        return await desk.show("keys.html", "keys", keys=keys[:MAX_LIMIT])

    @get("/console/keys/rotate", page_operation("get_console_key_rotation"))
    @at_the_desk
    async def ask_rotate(self, desk: Desk) -> Response:
        return await _ask_rotate(desk)

    @post("/console/keys/rotate", form_operation("post_console_key_rotation"))
    @at_the_desk
    async def rotate(self, desk: Desk) -> Response:
        try:
            await desk.call.ubr.rotate_signing_key(actor=desk.actor)
        except ReauthenticationRequired:
            return desk.confirm(desk.here)
        except UbrError as error:
            return await _ask_rotate(desk, error=error)
        return desk.done("/console/keys", "signing-key-rotated")

    @get("/console/keys/revoke/{kid}", page_operation("get_console_key_revocation"))
    @at_the_desk
    async def ask_revoke(self, desk: Desk) -> Response:
        return await _ask_revoke(desk)

    @post("/console/keys/revoke/{kid}", form_operation("post_console_key_revocation"))
    @at_the_desk
    async def revoke(self, desk: Desk) -> Response:
        command = RevokeSigningKeyCommand(kid=desk.call.path_params["kid"])
        try:
            await desk.call.ubr.revoke_signing_key(command, actor=desk.actor)
        except ReauthenticationRequired:
            return desk.confirm(desk.here)
        except UbrError as error:
            return await _ask_revoke(desk, error=error)
        return desk.done("/console/keys", "signing-key-revoked")

    @get("/console/health", page_operation("get_console_health"))
    @at_the_desk
    async def health(self, desk: Desk) -> Response:
        state = await desk.call.ubr.inspect_installation(actor=desk.actor)
        return await desk.show("health.html", "health", findings=judged(state), figures=await figures(desk))


async def _mails(desk: Desk, *, error: UbrError | None = None) -> Response:
    filters = desk.filters("state", "cursor")
    command = filters.command(ListMailCommand, limit=LIMIT)
    mails = await desk.call.ubr.list_mail(command, actor=desk.actor)
    return await desk.show(
        "mails.html",
        "mails",
        place="/console/mails",
        form=filters,
        error=error,
        mails=mails,
        retryable=_retryable,
        **desk.links(filters, mails.next_cursor),
    )


def _retryable(mail: QueuedMailResult) -> bool:
    """True if an attempt has failed: a mail without one is on its way."""
    return mail.state == "given_up" or mail.tries > 0


async def _ask_rotate(desk: Desk, *, error: UbrError | None = None) -> Response:
    question = Question(
        title=desk.says("keys.rotate_title"),
        button=desk.says("keys.rotate"),
        consequences=[desk.says("keys.rotate_new"), desk.says("keys.rotate_old"), desk.says("keys.kept")],
        path="/console/keys/rotate",
        back="/console/keys",
        section="keys",
        subject=desk.says("nav.keys"),
        danger=False,
    )
    return await ask(desk, question, error=error)


async def _ask_revoke(desk: Desk, *, error: UbrError | None = None) -> Response:
    kid = desk.call.path_params["kid"]
    question = Question(
        title=desk.says("keys.revoke_title"),
        button=desk.says("keys.revoke_button"),
        consequences=[
            desk.says("keys.revoke_tokens"),
            desk.says("keys.revoke_sessions"),
            desk.says("keys.revoke_next"),
            desk.says("keys.revoke_final"),
        ],
        path=f"/console/keys/revoke/{kid}",
        back="/console/keys",
        section="keys",
        subject=kid,
    )
    return await ask(desk, question, error=error)
