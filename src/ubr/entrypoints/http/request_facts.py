"""The facts about a request that the edge finds and its operation uses, in the state of the request."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar.types import HTTPScope, Scope

from ubr.domain.actor import Actor
from ubr.entrypoints.http.fields import Fields

_FACTS: Final = "facts"


class Facts(msgspec.Struct):
    """`method` is GET for HEAD, and `head` then true. `route` is the template of the path.

    `problem` is the code of the error, if any.

    `cause` says why the service failed, for its log. `actor` is the authenticated actor.
    """

    method: str
    fields: Fields
    route: str | None = None
    problem: str | None = None
    cause: str | None = None
    actor: Actor | None = None
    head: bool = False


def with_facts(scope: HTTPScope, facts: Facts) -> Scope:
    """A copy of the scope for Litestar.

    It has no method: Litestar looks up the parameters of a path by it, and knows none for an ASGI route, which takes
    every method.
    """
    copy = {**scope, "state": {_FACTS: facts}}
    del copy["method"]
    return copy  # type: ignore[return-value]


def facts_of(scope: Scope) -> Facts:
    facts: Facts = scope["state"][_FACTS]
    return facts
