"""The OpenAPI document of all routes. No application is needed for it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from ubr.entrypoints.http.openapi.assembly import assemble
from ubr.entrypoints.http.routes import CONTROLLERS


@cache
def described() -> dict[str, Any]:
    """The document as plain values."""
    return assemble(CONTROLLERS)


def document() -> str:
    """The document as a text to keep in a file."""
    return json.dumps(described(), indent=2, ensure_ascii=False) + "\n"
