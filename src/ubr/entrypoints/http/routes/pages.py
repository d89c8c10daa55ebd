"""The pages behind the links in mails: for people without an API client."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ubr.entrypoints.http.call import Call, Operation, operation
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import Controller, get

_FOLDER: Final = Path(__file__).parents[1] / "pages"
RETURN_URL: Final = "return_url"
"""The name in the application's state of the address to which the pages lead in the end."""

_HTML: Final = "text/html"
_SCRIPT: Final = "text/javascript"
_STYLE: Final = "text/css"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


_CLOSE: Final = "You can close this page."


def _file(name: str, media_type: str) -> Response:
    return Response(_FILES[name], media_type=media_type, headers={"content-security-policy": _POLICY})


def _page(request: Call, name: str) -> Response:
    """A page with the way on: a link to the operator's application, if its address is set."""
    response = _file(name, _HTML)
    response.body = response.body.replace(b"<!-- next -->", _next(request.state[RETURN_URL]).encode())
    return response


def _next(return_url: str | None) -> str:
    if return_url is None:
        return _CLOSE
    return f'<a href="{escape(return_url)}">Go to {escape(urlsplit(return_url).netloc)}</a>'


_FILES: Final = {path.name: path.read_bytes() for path in _FOLDER.iterdir()}


def _operation(name: str, summary: str, media_type: str) -> Operation:
    return operation(None, "pages", name=name, summary=summary, answer=str, media_type=media_type, public=True)


class Pages(Controller):
    path = "/"

    @get("/reset-password", _operation("get_reset_password_page", "Page to set a password", _HTML))
    async def reset_password(self, request: Call) -> Response:
        return _page(request, "reset-password.html")

    @get("/verify-email", _operation("get_verify_email_page", "Page to confirm an e-mail", _HTML))
    async def verify_email(self, request: Call) -> Response:
        return _page(request, "verify-email.html")

    @get("/undo-email", _operation("get_undo_email_page", "Page to restore the previous e-mail", _HTML))
    async def undo_email(self, request: Call) -> Response:
        return _page(request, "undo-email.html")

    @get("/assets/page.js", _operation("get_page_script", "Read the script of the pages", _SCRIPT))
    async def script(self, _: Call) -> Response:
        return _file("page.js", _SCRIPT)

    @get("/assets/page.css", _operation("get_page_style", "Read the style of the pages", _STYLE))
    async def style(self, _: Call) -> Response:
        return _file("page.css", _STYLE)
