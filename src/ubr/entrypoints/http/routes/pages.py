"""The pages behind the links in mails: for people without an API client."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ubr.entrypoints.http.call import Call, Operation, operation
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import Controller, get

_FOLDER: Final = Path(__file__).parents[1] / "pages"
_HTML: Final = "text/html"
_SCRIPT: Final = "text/javascript"
_STYLE: Final = "text/css"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def _file(name: str, media_type: str) -> Response:
    return Response(_FILES[name], media_type=media_type, headers={"content-security-policy": _POLICY})


_FILES: Final = {path.name: path.read_bytes() for path in _FOLDER.iterdir()}


def _operation(name: str, summary: str, media_type: str) -> Operation:
    return operation(None, "pages", name=name, summary=summary, answer=str, media_type=media_type, public=True)


class Pages(Controller):
    path = "/"

    @get("/reset-password", _operation("get_reset_password_page", "Page to set a password", _HTML))
    async def reset_password(self, _: Call) -> Response:
        return _file("reset-password.html", _HTML)

    @get("/verify-email", _operation("get_verify_email_page", "Page to confirm an e-mail", _HTML))
    async def verify_email(self, _: Call) -> Response:
        return _file("verify-email.html", _HTML)

    @get("/undo-email", _operation("get_undo_email_page", "Page to restore the previous e-mail", _HTML))
    async def undo_email(self, _: Call) -> Response:
        return _file("undo-email.html", _HTML)

    @get("/assets/page.js", _operation("get_page_script", "Read the script of the pages", _SCRIPT))
    async def script(self, _: Call) -> Response:
        return _file("page.js", _SCRIPT)

    @get("/assets/page.css", _operation("get_page_style", "Read the style of the pages", _STYLE))
    async def style(self, _: Call) -> Response:
        return _file("page.css", _STYLE)
