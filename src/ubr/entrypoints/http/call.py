"""A request on its way to a use case: the operation of its route, and the parts that its controller reads."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from litestar.datastructures import State
from litestar.types import HTTPScope, Receive

from ubr.application.app import Application
from ubr.application.kernel.command import Command
from ubr.application.kernel.idempotency import IdempotencyKey
from ubr.application.kernel.representations import SessionCookieResult
from ubr.domain.actor import Actor
from ubr.domain.errors import InvalidToken, UbrError
from ubr.entrypoints.http import body, conditional, idempotency_key, query
from ubr.entrypoints.http.bearer import bearer_token
from ubr.entrypoints.http.browser import Browsers
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.request_facts import Facts, facts_of

C = TypeVar("C", bound=Command)

_EMPTY_OBJECT: Final = b"{}"
NOT_KEPT: Final = "no-store"
PAGES: Final = "pages"
"""The tag of all pages. The document does not describe them."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """Describes a route: the edge acts on it, and the OpenAPI document is made from it.

    `use_case` provides the docstring. `answer` is the type of a 2xx body; if the result may be `deferred`, a 202 has no
    body. `public` routes need no token; `ending` ones end a user or session that tokens depend on. Those `for_browsers`
    reject requests of pages of other origins even without a cookie; a `by_cookie` one is used with a cookie alone, and
    one `for_programs` with a token alone. Those with `sets_cookie` may give a cookie or take it away. `tagged` routes
    answer with an `ETag`; `conditional` ones honour `If-Match`, and `keyed` ones an `Idempotency-Key`. `limited` routes
    count calls of a client IP and report the count in every response. `problems` are those beyond the common ones of
    routes of this kind. `example` is an example answer, if its type has none. A route that is not `described` is part
    of a page, and not in the document; one with a `form` takes the fields of a form instead of JSON.
    """

    use_case: type | None
    name: str
    tag: str
    status: int
    answer: Any = None
    media_type: str = body.JSON
    summary: str = ""
    body: type[Command] | None = None
    body_optional: bool = False
    form: bool = False
    query: type[Command] | None = None
    public: bool = False
    for_browsers: bool = False
    by_cookie: bool = False
    for_programs: bool = False
    sets_cookie: bool = False
    ending: bool = False
    tagged: bool = False
    conditional: bool = False
    keyed: bool = False
    located: bool = False
    deferred: bool = False
    limited: bool = False
    problems: tuple[type[UbrError], ...] = ()
    cache_control: str = NOT_KEPT
    example: Any = None
    described: bool = True

    @property
    def strict(self) -> bool:
        """False for pages, health, keys and documents: mail programs, people and probes add parameters to a URL."""
        return self.tag not in {PAGES, "service"}


_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def operation(use_case: type | None, tag: str, *, status: int = 200, name: str | None = None, **more: Any) -> Operation:
    """An operation. Its name is the use case's, or `name`."""
    named = name or _CAMEL.sub("_", use_case.__name__ if use_case else "").lower()
    return Operation(use_case=use_case, name=named, tag=tag, status=status, **more)


class Call:
    """A request as the controllers see it. Reading an invalid part raises its error.

    `answer_headers` go into its response, whatever that is.
    """

    __slots__ = (
        "_actor",
        "_browsers",
        "_facts",
        "_operation",
        "_raw",
        "_receive",
        "_with_cookie",
        "answer_headers",
        "fields",
        "method",
        "scope",
        "ubr",
    )

    _actor: Actor
    _facts: Facts
    _raw: bytes

    def __init__(
        self, scope: HTTPScope, receive: Receive, operation: Operation, ubr: Application, browsers: Browsers
    ) -> None:
        self.scope = scope
        self._facts = facts = facts_of(scope)
        self.fields: Final = facts.fields
        self.method: Final = facts.method
        self._receive = receive
        self._operation = operation
        self.ubr: Final = ubr
        """The use cases."""
        self._browsers = browsers
        self._with_cookie = False
        self.answer_headers: dict[str, str] | None = None

    @property
    def path_params(self) -> dict[str, str]:
        """The variable parts of the path, by name."""
        return self.scope["path_params"]

    @property
    def state(self) -> State:
        """The state of the application."""
        return self.scope["litestar_app"].state

    @property
    def actor(self) -> Actor:
        """The authenticated actor."""
        return self._actor

    @property
    def facts(self) -> Facts:
        """The facts about the request for its log line."""
        return self._facts

    def command(self, command: type[C]) -> C:
        """The body. Errors: `Invalid`."""
        return body.build(body.parse(self._raw or (_EMPTY_OBJECT if self._operation.body_optional else b"")), command)

    def form(self) -> Form:
        """The fields of a form. Errors: `Invalid`."""
        return Form.parse(self._raw)

    def filters(self, command: type[C]) -> C:
        """The query. Errors: `Invalid`."""
        return query.decode(self.scope["query_string"], command)

    def id(self, name: str) -> UUID:
        """An id in the path. A text that is not a UUID is handled as an unknown id."""
        return query.id_of(self.path_params[name])

    @property
    def if_match(self) -> tuple[str, ...] | None:
        """The revisions that the caller accepts; None for any. Errors: `Invalid`."""
        return conditional.if_match(self.fields)

    @property
    def idempotency_key(self) -> IdempotencyKey | None:
        """The key that identifies retries of this call; None if there is none. Errors: `Invalid`."""
        return idempotency_key.parse(self.fields)

    @property
    def cookie(self) -> str | None:
        """The session cookie; None without one, and beside an `Authorization`: no cookie rescues a wrong token.

        Pages take no tokens, so there an `Authorization` is that of a proxy, and means nothing. Errors: `InvalidToken`.
        """
        if b"authorization" in self.fields and self._operation.tag != PAGES:
            return None
        return self._browsers.cookie(self.fields) if self._looks_at_cookies() else None

    @property
    def cookies(self) -> list[str]:
        """All session cookies of a browser that a page logs out: each of several may be that of a session."""
        return self._browsers.cookies(self.fields) if self._looks_at_cookies() else []

    def _looks_at_cookies(self) -> bool:
        if b"cookie" not in self.fields:
            return False
        self._with_cookie = True
        self.answer_headers = {"vary": "Cookie", **(self.answer_headers or {})}
        return True

    @property
    def replaced_cookie(self) -> str | None:
        """The session cookie that a login replaces; None without one, and for several."""
        with suppress(InvalidToken):
            return self.cookie
        return None

    def give_cookie(self, cookie: SessionCookieResult) -> None:
        """Give the browser this cookie, in the place of any other one."""
        self.answer_headers = {**(self.answer_headers or {}), "set-cookie": self._browsers.set_cookie(cookie)}

    def take_cookie(self) -> None:
        """Take the cookie away from the browser, if this request was made with one."""
        if self._with_cookie:
            self.answer_headers = {**(self.answer_headers or {}), "set-cookie": self._browsers.clear_cookie}

    async def visitor(self) -> Actor | None:
        """The actor of the cookie; None without a valid one. For pages that people see without a login too.

        A cookie that is not valid is taken away. Errors: `CrossOriginRequest`.
        """
        try:
            cookie = self.cookie
            if cookie is None:
                return None
            self._browsers.check_origin(self.method, self.fields)
            self._facts.actor = await self.ubr.authenticate_cookie(cookie)
        except InvalidToken:
            self.take_cookie()
            return None
        return self._facts.actor

    async def admit(self, *, within: float) -> None:
        """Run the checks that precede the use case: first for 413 and 415, then 401, then 400.

        This reads the body `within` so many seconds. The controller decodes it later, so that an unauthenticated
        client learns nothing about a route's fields.
        """
        operation = self._operation
        self._raw = await body.read(
            self.fields,
            self._receive,
            within=within,
            wanted=operation.body is not None or operation.form,
            optional=operation.body_optional,
            patch=self.method == "PATCH",
            form=operation.form,
        )
        if operation.for_browsers:
            self._browsers.check_origin(self.method, self.fields)
        if not operation.public:
            cookie = None if operation.for_programs else self.cookie
            if cookie is not None:
                self._browsers.check_origin(self.method, self.fields)
                by_cookie = self.ubr.authenticate_cookie
                self._actor = await (by_cookie.even_if_ended if operation.ending else by_cookie)(cookie)
            else:
                token = bearer_token(self.fields)
                authenticate = self.ubr.authenticate
                self._actor = await (authenticate.even_if_ended if operation.ending else authenticate)(token)
            self._facts.actor = self._actor
        if operation.tagged and self.method == "GET":
            # This only validates the field. The comparison follows when the revision is known.
            conditional.none_match(self.fields, "")
        if operation.strict and operation.query is None and self.scope["query_string"]:
            # Such an empty command has no fields, so this rejects every parameter.
            query.decode(self.scope["query_string"], Command)
