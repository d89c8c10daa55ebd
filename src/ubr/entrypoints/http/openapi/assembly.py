"""The parts of the document, put together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from litestar import Controller

from ubr.entrypoints.http.openapi.headers import HEADERS
from ubr.entrypoints.http.openapi.operations import described_operation, operations
from ubr.entrypoints.http.openapi.responses import example_name
from ubr.entrypoints.http.openapi.schemas import Json, Schemas
from ubr.entrypoints.http.problems.advice import example
from ubr.entrypoints.http.problems.catalogue import problems

_TAGS: Final = {
    "auth": "Signing up, in and out.",
    "sessions": "One's own sessions, and what ends for verifiers in other services.",
    "users": "Users, their sessions and their roles.",
    "roles": "Names for sets of permissions.",
    "logs": "What happened, and who did it.",
    "service": "Keys, health and this document.",
    "pages": "What links in mails lead to.",
}

_ABOUT: Final = """\
Users, roles, sessions and a log.

- A refusal is `application/problem+json` (RFC 9457). Its `type` is also the path of a page that says what to do.
- A request with a field or a parameter that is not described is refused. An answer may come to have more fields than
  are described here: read those that you know, and leave the rest alone.
- Every answer has an `X-Request-ID`. Send one (at most 64 letters, digits, dots, dashes and underscores), and it is
  kept.
- A list is read page by page: `next_cursor` of one is `cursor` of the next, and null on the last.
- What is changed by `PUT` and `PATCH` keeps the fields that are left out.
- What takes GET takes HEAD.
"""

API_VERSION: Final = "0.1.0"
"""Version of the interface. It changes when the interface does, whatever ubr's own version is."""


def assemble(controllers: Iterable[type[Controller]]) -> Json:
    """The whole description, from the controllers alone."""
    routes = [route for route in operations(controllers) if route[2].described]
    schemas = Schemas([operation for _, _, operation in routes])
    paths: dict[str, Json] = {}
    for path, method, operation in routes:
        paths.setdefault(path, {})[method.lower()] = described_operation(path, method, operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ubr",
            "version": API_VERSION,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.published().items())),
            "headers": HEADERS,
            "examples": {
                example_name(row.slug, row.status): {"summary": row.title, "value": example(row)} for row in problems()
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The access token of `POST /api/auth/login` (RFC 9068).",
                }
            },
        },
    }
