"""Who works at the console, and how its pages are shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import msgspec

from ubr.application.accounts.get_me import MeResult
from ubr.domain.actor import Actor
from ubr.domain.errors import Forbidden
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
from ubr.entrypoints.http.pages.entitled import entitled
from ubr.entrypoints.http.pages.page import query_of, see_other, show, site_of, with_login, words_of
from ubr.entrypoints.http.pages.words import Words
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import Handle

LIMIT: Final = 25
"""The number of items of a list on a page."""

SECTIONS: Final[Mapping[str, tuple[str, Permission | None]]] = {
    "overview": ("/console", None),
    "users": ("/console/users", USERS_READ),
    "roles": ("/console/roles", ROLES_READ),
    "machines": ("/console/machines", MACHINES_READ),
    "log": ("/console/log", LOGS_READ),
    "mails": ("/console/mails", EVERYTHING),
    "keys": ("/console/keys", EVERYTHING),
    "health": ("/console/health", EVERYTHING),
}
"""The sections, each with its path, and the permission of those who see it."""


class Desk(msgspec.Struct, frozen=True):
    """A request of a person who works at the console."""

    call: Call
    actor: Actor
    me: MeResult
    own: Permissions
    """Those of the person, for what a page shows: the use cases decide."""
    words: Words
    """The texts in the language of the person."""

    def may(self, *permissions: str) -> bool:
        """True if the person has all of these permissions."""
        return all(self.own.allow(Permission(each)) for each in permissions)

    @property
    def sections(self) -> dict[str, str]:
        """The paths of those that the person sees."""
        return {name: path for name, (path, needed) in SECTIONS.items() if needed is None or self.may(needed)}

    def says(self, key: str, **parameters: object) -> str:
        """A text of the console in the language of the person."""
        return said(self.words, key, **parameters)

    @property
    def query(self) -> dict[str, str]:
        return query_of(self.call)

    def filters(self, *names: str) -> Form:
        """The parameters of these names as a form, to fill its fields and to make a command of it."""
        query = self.query
        return Form([(name, query[name]) for name in names if query.get(name)])

    def links(self, filters: Form, next_cursor: str | None) -> dict[str, str | None]:
        """The queries of the next page of a list, as `more`, and of the first one, as `first`; None for no link."""
        kept = filters.values()
        first = {name: value for name, value in kept.items() if name != "cursor"}
        return {
            "more": urlencode({**first, "cursor": next_cursor}) if next_cursor else None,
            "first": urlencode(first) if "cursor" in kept else None,
        }

    async def show(self, template: str, section: str, *, place: str | None = None, **shown: Any) -> Response:
        """A page of a section. `shown` may contain `form`, `error` and `status`, as for every page."""
        return await show(
            self.call,
            f"console/{template}",
            words=self.words,
            c=self.says,
            place=place or self.here,
            fetches=True,
            desk=self,
            me=self.me,
            may=self.may,
            section=section,
            **shown,
        )

    @property
    def here(self) -> str:
        """The path of this page."""
        return _path(self.call)

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
    async def working(self: Any, call: Call, actor: Actor) -> Response:
        me = await call.ubr.get_me(actor=actor)
        own = Permissions.of(map(Permission, me.permissions))
        if not entitled(own):
            raise Forbidden("Your account has none of the permissions that the console is for")
        await site_of(call).load()
        return await handle(self, Desk(call, actor, me, own, words_of(call)))

    return with_login(working, address=_address)


def _path(call: Call) -> str:
    return (call.facts.route or "/").format_map(call.path_params)


def _address(call: Call) -> str:
    query = call.scope["query_string"].decode("latin-1")
    return f"{_path(call)}?{query}" if query else _path(call)


def said(words: Words, key: str, **parameters: object) -> str:
    """A text of the console. Its key is below `console`."""
    return words(f"console.{key}", **parameters)
