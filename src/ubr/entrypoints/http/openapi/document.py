"""The OpenAPI document of all routes. No application is needed for it."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache, lru_cache, partial
from typing import Any

from ubr.domain.accounts.user_fields import UserFields
from ubr.entrypoints.http.files import Described
from ubr.entrypoints.http.openapi.assembly import assemble
from ubr.entrypoints.http.openapi.operations import operations
from ubr.entrypoints.http.routes import CONTROLLERS
from ubr.entrypoints.http.selection import Selection, select


@cache
def described() -> dict[str, Any]:
    """The document as plain values."""
    return assemble(CONTROLLERS)


@lru_cache(64)
def describing(selection: Selection, user_fields: UserFields) -> Described:
    """Makes the document of the selected routes, with the fields that the host declares."""
    if selection is None and not user_fields:
        return described
    return cache(partial(assemble, CONTROLLERS, selection, user_fields))


def selection_of(names: Collection[str] | None) -> Selection:
    """The routes with these tags or names. Errors: `ValueError` for an unknown name."""
    return select(names, (operation for _, _, operation in operations(CONTROLLERS)))


def document() -> str:
    """The document as a text to keep in a file."""
    return json.dumps(described(), indent=2, ensure_ascii=False) + "\n"
