"""Who works at the console, and how its pages are shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, Final, TypeAlias

import msgspec

from ubr.application.accounts.get_me import MeResult
from ubr.domain.actor import Actor
from ubr.domain.errors import Forbidden, InvalidToken
from ubr.domain.roles.permissions import (
    EVERYTHING,
    LOGS_READ,
    MACHINES_READ,
    ROLES_READ,
    USERS_READ,
    Permission,
    Permissions,
)
from ubr.entrypoints.http.call import Call
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages.console.notices import TEXTS
from ubr.entrypoints.http.pages.entitled import entitled
from ubr.entrypoints.http.pages.page import query_of, see_other, show, site_of
from ubr.entrypoints.http.pages.words import FALLBACK, Words
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import Handle

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""That of all pages, and the script of a search may fetch pages of this service."""

LIMIT: Final = 25
"""The number of items of a list on a page."""

SECTIONS: Final[Mapping[str, tuple[str, str, Permission | None]]] = {
    "overview": ("Overview", "/console", None),
    "users": ("Users", "/console/users", USERS_READ),
    "roles": ("Roles", "/console/roles", ROLES_READ),
    "machines": ("Machines", "/console/machines", MACHINES_READ),
    "log": ("Log", "/console/log", LOGS_READ),
    "mails": ("Mails", "/console/mails", EVERYTHING),
    "keys": ("Signing keys", "/console/keys", EVERYTHING),
    "health": ("Health", "/console/health", EVERYTHING),
}
"""The sections, each with its title, its path, and the permission of those who see it."""


class Desk(msgspec.Struct, frozen=True):
    """A request of a person who works at the console."""

    call: Call
    actor: Actor
    me: MeResult

    def may(self, *permissions: str) -> bool:
        """True if the person has all of these permissions. For what a page shows: the use cases decide."""
        own = Permissions.of(map(Permission, self.me.permissions))
        return all(own.allow(Permission(each)) for each in permissions)

    @property
    def sections(self) -> dict[str, tuple[str, str]]:
        """Title and path of those that the person sees."""
        return {
            name: (title, path)
            for name, (title, path, needed) in SECTIONS.items()
            if needed is None or self.may(str(needed))
        }

    @property
    def query(self) -> dict[str, str]:
        return query_of(self.call)

    def filters(self, *names: str) -> Form:
        """The parameters of these names as a form, to fill its fields and to make a command of it."""
        return Form([(name, value) for name, value in self.query.items() if name in names and value])

    async def show(self, template: str, section: str, *, place: str | None = None, **shown: Any) -> Response:
        """A page of a section. `shown` may contain `form`, `error` and `status`, as for every page."""
        place = place or self.here
        response = await show(
            self.call,
            f"console/{template}",
            words=_words(self.call),
            place=place,
            desk=self,
            me=self.me,
            may=self.may,
            section=section,
            **shown,
        )
        response.headers["content-security-policy"] = POLICY
        return response

    @property
    def here(self) -> str:
        """The path of this page."""
        return (self.call.facts.route or "/").format_map(self.call.path_params)

    def done(self, page: str, notice: str) -> Response:
        """A redirect after an act."""
        return see_other(self.call, page, notice=notice)

    def confirm(self, back: str) -> Response:
        """Leads to the page that asks for the password, and from there back."""
        return see_other(self.call, "/account/confirm", back=back)


Working: TypeAlias = Callable[[Any, Desk], Awaitable[Response]]


def at_the_desk(handle: Working) -> Handle:
    """Handles the requests of people who may see a section. Those without a session are led to the login.

    Errors: `Forbidden` for all others.
    """

    @wraps(handle)
    async def guarded(self: Any, call: Call) -> Response:
        actor = await call.visitor()
        if actor is not None:
            try:
                desk = Desk(call, actor, await call.ubr.get_me(actor=actor))
                if not entitled(desk.me.permissions):
                    raise Forbidden("Your account has none of the permissions that the console is for")
                return await handle(self, desk)
            except InvalidToken:  # the session has ended meanwhile
                call.take_cookie()
        return see_other(call, "/login", notice="login-needed", back=_back(call))

    return guarded


def _back(call: Call) -> str | None:
    if call.method != "GET":
        return None
    path = (call.facts.route or "/").format_map(call.path_params)
    query = call.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _words(call: Call) -> Words:
    """The English words of all pages, and those of the console."""
    english = site_of(call).languages[FALLBACK]
    return Words(FALLBACK, {**english.messages, **TEXTS}, english.details, english.problems)
