"""The tools of the controllers of pages.

A page is shown with `show`; an act that succeeded ends with `see_other`, so that a reload repeats nothing. A form whose
act failed is shown again with the error: `show(…, error=error)`. `with_login` is for pages that need a session.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import msgspec

from ubr.domain.actor import Actor
from ubr.domain.errors import InputError, Invalid, InvalidLink, InvalidToken, RateLimited, UbrError, Unavailable
from ubr.entrypoints.http.call import PAGES, Call, Operation, operation
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages import cookies, fields, return_to
from ubr.entrypoints.http.pages.rendering import SITE, Site
from ubr.entrypoints.http.pages.words import Words, preferred
from ubr.entrypoints.http.problems.catalogue import status_of
from ubr.entrypoints.http.problems.rendering import problem_headers
from ubr.entrypoints.http.problems.response import known_error
from ubr.entrypoints.http.query import pairs
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import Controller, Handle

HTML: Final = "text/html"
LANGUAGE: Final = "language"
"""The parameter of the links that choose a language."""
HERE: Final = ""
"""The address that the browser has, as the place of a page: it has no path that is known."""
_MINUTE: Final = 60
_MAX_ACCEPT: Final = 512
_JSON: Final = re.compile(r"application/(?:[a-z0-9.-]+\+)?json")
_QUALITY: Final = re.compile(r"(?:^|;)[ \t]*q=([01](?:\.[0-9]{0,3})?)[ \t]*(?:;|$)")

_HEADERS: Final = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    # With no-referrer, browsers send the origin of a form as null.
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}


def policy(*, fetches: bool = False, leads_to: str | None = None) -> str:
    """The policy of a page. It forbids inline scripts and styles, and any other host.

    With `fetches`, the script of the page may fetch pages of this service. `leads_to` is an origin to which a form may
    lead in the end: browsers apply the rule to the redirect after a form too.
    """
    connect = "connect-src 'self'; " if fetches else ""
    more = "" if leads_to is None else f" {leads_to}"
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; {connect}"
        f"base-uri 'none'; form-action 'self'{more}; frame-ancestors 'none'"
    )


def page_operation(name: str) -> Operation:
    """A page. Its controller finds out who asks."""
    return operation(None, PAGES, name=name, answer=str, media_type=HTML, public=True, described=False)


def form_operation(name: str) -> Operation:
    """The act of a form."""
    return operation(
        None,
        PAGES,
        name=name,
        answer=str,
        media_type=HTML,
        public=True,
        described=False,
        form=True,
        body_optional=True,
        for_browsers=True,
    )


class PageController(Controller):
    """The pages of one theme. An error that no form shows is a page of its own (`errors.py`)."""

    path = "/"


Guarded: TypeAlias = Callable[[Any, Call, Actor], Awaitable[Response]]


def _path_of(call: Call) -> str | None:
    return call.facts.route


def with_login(handle: Guarded, *, address: Callable[[Call], str | None] = _path_of) -> Handle:
    """Handles the requests of logged-in people. All others are led to the login, and from there back to the page.

    `address` is where they get back to, by default the path of a page that has no variable parts.
    """

    @wraps(handle)
    async def guarded(self: Any, call: Call) -> Response:
        actor = await call.visitor()
        if actor is not None:
            try:
                return await handle(self, call, actor)
            except InvalidToken:  # the session has ended meanwhile
                call.take_cookie()
        back = address(call) if call.method == "GET" else None
        return see_other(call, "/login", notice="login-needed", back=back)

    return guarded


class Failure(msgspec.Struct, frozen=True):
    """An error in the words of a person: a sentence for the whole form, and one for each field."""

    title: str
    fields: Mapping[str, str] = {}


def wants_page(call: Call) -> bool:
    """True if the client names HTML, as browsers do, and prefers it to JSON. Programs accept anything, or JSON."""
    html, json = 0.0, 0.0
    for part in b",".join(call.fields.get(b"accept", ()))[:_MAX_ACCEPT].decode("latin-1").lower().split(","):
        media_type, _, parameters = part.partition(";")
        quality = _quality(parameters)
        if media_type.strip() == HTML:
            html = max(html, quality)
        elif _JSON.fullmatch(media_type.strip()):
            json = max(json, quality)
    return html > json


def _quality(parameters: str) -> float:
    """The weight of a media range (RFC 9110, 12.4.2)."""
    found = _QUALITY.search(parameters)
    return 1.0 if found is None else float(found[1])


def is_seen(call: Call) -> bool:
    """False for HEAD, and for a page that a browser fetches in advance and may never show.

    A text that is shown once has to stay until a person sees it. `Sec-Purpose` is a field of the Fetch standard, and
    the other names are older ones of browsers.
    """
    advance = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")
    fetched = b",".join(value for name in advance for value in call.fields.get(name, ())).lower()
    return not (call.facts.head or b"prefetch" in fetched or b"preview" in fetched)


def site_of(call: Call) -> Site:
    site: Site = call.state[SITE]
    return site


def words_of(call: Call) -> Words:
    """The words of the language that the user chose by a link, now or before, or that the browser prefers."""
    site = site_of(call)
    chosen = query_of(call).get(LANGUAGE)
    if chosen not in site.languages:
        chosen = cookies.read(call.fields, cookies.LANGUAGE, secure=site.secure)
    accepted = b",".join(call.fields.get(b"accept-language", ()))
    return site.languages[preferred(site.languages, chosen, accepted)]


def query_of(call: Call) -> dict[str, str]:
    """The parameters of the query. An unusual query counts as none: mail programs and people add to addresses."""
    try:
        return pairs(call.scope["query_string"])
    except Invalid:
        return {}


def relative(call: Call, path: str) -> str:
    """A path of this service relative to the current page, because a proxy may serve it below a path of its own."""
    up = "../" * (_slashes(call) - 1)
    return f"{up}{path.removeprefix('/')}" or "./"


def _slashes(call: Call) -> int:
    """The number of slashes in the path of the request, as its browser counts them: an escaped one is none."""
    if call.facts.route is not None:
        return call.facts.route.count("/")
    escaped = (call.scope.get("raw_path") or b"").lower().count(b"%2f")
    return call.scope["path"].count("/") - escaped


async def show(
    call: Call,
    template: str,
    *,
    form: Form | None = None,
    error: Exception | None = None,
    status: int = 200,
    back: str | None = None,
    place: str | None = None,
    words: Words | None = None,
    fetches: bool = False,
    **shown: Any,
) -> Response:
    """A page. `form` fills its fields again, except passwords. `error` is shown, and determines the status.

    `back` is a checked address to which the forms of the page may lead in the end. `place` is the path of the page if
    it is shown as the answer to a form with another path, or `HERE`. `words` are those of the page, if it has one
    language. `fetches` is for a page whose script fetches others.
    """
    site = site_of(call)
    await site.load()
    words = words or words_of(call)
    headers = dict(_HEADERS)
    failure = None
    if error is not None:
        known = known_error(error, call.facts)
        failure = failure_of(known, words, template)
        status = status_of(type(known))
        headers |= problem_headers(known)
    notice = cookies.read(call.fields, cookies.NOTICE, secure=site.secure)
    text = words.messages.get(f"notice.{notice}")
    body = await site.render(
        template,
        {
            "t": words,
            "words": words,
            "languages": site.languages.values(),
            "service": site.options.service,
            "return_url": site.return_url,
            "secure": site.secure,
            "assets": site.assets.names,
            "url": lambda path: relative(call, path),
            "notice": text if failure is None else None,
            "failure": failure,
            "form": form or Form(),
            "place": HERE if place == HERE else relative(call, place or call.facts.route or "/"),
            "back": back,
            **shown,
        },
    )
    leads_to = None if back is None else return_to.origin_of(back, origins_of(call))
    headers["content-security-policy"] = policy(fetches=fetches, leads_to=leads_to)
    response = Response(body, status=status, media_type=HTML, headers=headers)
    if notice is not None and is_seen(call):
        response.cookies += (cookies.write(cookies.NOTICE, "", seconds=0, secure=site.secure),)
    if query_of(call).get(LANGUAGE) == words.language:
        chosen = cookies.write(cookies.LANGUAGE, words.language, seconds=cookies.A_YEAR, secure=site.secure)
        response.cookies += (chosen,)
    return response


def failure_of(error: UbrError, words: Words, template: str) -> Failure:
    """The error in words. A field has its label on the page in front of the detail."""
    if isinstance(error, RateLimited | Unavailable):
        minutes = max(1, -(-error.retry_after // _MINUTE))
        wait = words("failure.wait", n=minutes)
        return Failure(f"{words.problem(error.code, error.title)}. {wait}")
    if isinstance(error, InvalidLink):
        return Failure(words("link.invalid"))
    flaws: tuple[InputError, ...] = error.flaws if isinstance(error, Invalid) else ()
    named = {
        name: words("failure.field", label=_label(words, template, name), detail=words.detail(flaw.detail))
        for flaw in flaws
        if (name := _input_of(flaw.pointer))
    }
    if named:
        return Failure(words("failure.fields", n=len(named)), named)
    detail = "" if error.detail == error.title else f" {words.detail(error.detail)}."
    return Failure(f"{words.problem(error.code, error.title)}.{detail}")


def _input_of(pointer: str) -> str:
    """The name of the input with the value at this place. An item of a list has none of its own."""
    path = pointer.removeprefix("/")
    return "/".join(path.split("/")[:2]) if path.startswith(fields.BEFORE) else path


def _label(words: Words, template: str, name: str) -> str:
    if name.startswith(fields.BEFORE):
        return fields.label(words, name.removeprefix(fields.BEFORE))
    for key in (f"{template.removesuffix('.html')}.{name}", f"field.{name}"):
        if key in words.messages:
            return words(key)
    return name


def see_other(call: Call, page: str, *, notice: str | None = None, back: str | None = None) -> Response:
    """A redirect after an act, to a page of this service. That page shows the notice, and gets `back` on its way."""
    query = "" if back is None else f"?{urlencode({'return_to': back})}"
    return _redirect(call, f"{relative(call, page)}{query}", notice)


def lead_to(call: Call, address: str) -> Response:
    """A redirect after an act, to a checked address."""
    return _redirect(call, relative(call, address) if return_to.is_own(address) else address, None)


def _redirect(call: Call, location: str, notice: str | None) -> Response:
    response = Response(status=HTTPStatus.SEE_OTHER, headers={**_HEADERS, "location": location})
    if notice is not None:
        secure = site_of(call).secure
        response.cookies += (cookies.write(cookies.NOTICE, notice, seconds=cookies.A_MINUTE, secure=secure),)
    return response


def origins_of(call: Call) -> tuple[str, ...]:
    """The origins to which a page may lead."""
    return site_of(call).return_origins


def back_of(call: Call, raw: str | None) -> str | None:
    """A checked address from `return_to`."""
    return return_to.checked(raw or None, origins_of(call))
