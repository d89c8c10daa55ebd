"""Assembles the parts of the document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.entrypoints.http.browser import COOKIE, DEVELOPMENT_COOKIE
from ubr.entrypoints.http.openapi.headers import HEADERS
from ubr.entrypoints.http.openapi.operations import described_operation, operations
from ubr.entrypoints.http.openapi.responses import example_name
from ubr.entrypoints.http.openapi.schemas import Json, Schemas
from ubr.entrypoints.http.problems.advice import example
from ubr.entrypoints.http.problems.catalogue import problems
from ubr.entrypoints.http.routing import Controller
from ubr.entrypoints.http.selection import Selection, is_selected

_TAGS: Final = {
    "auth": "Registration, login, logout and passwords.",
    "sessions": "One's own sessions, and revocations for verifiers in other services.",
    "users": "Users, their sessions and their roles.",
    "roles": "Names for sets of permissions.",
    "machines": "Accounts for programs, their keys, and their login.",
    "logs": "The audit log: actions, actors and proofs.",
    "service": "Keys, health and this document.",
}

_ABOUT: Final = """\
Users, roles, sessions and an audit log.

- Every error is an `application/problem+json` (RFC 9457). Its `type` is also the path of a page with the remedy.
- A request with an undescribed field or parameter is rejected; pages, health, keys and documents ignore undescribed
  parameters. Later versions may add fields to answers: read the fields that you know, and ignore the rest.
- `Location` and `Link` are relative to the path of the request.
- Every answer has an `X-Request-ID`. A request may send its own (at most 64 letters, digits, dots, dashes and
  underscores), which the service then uses.
- Lists have pages: `next_cursor` of one page is the `cursor` of the next, and null on the last.
- `PUT` and `PATCH` keep the omitted fields.
- Every path that supports GET supports HEAD.
"""

API_VERSION: Final = "0.1.0"
"""Version of the interface. It changes only with the interface, independently of ubr's own version."""


def assemble(
    controllers: Iterable[type[Controller]], selection: Selection = None, user_fields: UserFields = NO_FIELDS
) -> Json:
    """The document of the selected routes, built from the controllers and the fields of the host alone."""
    routes = [route for route in operations(controllers) if route[2].described and is_selected(route[2], selection)]
    schemas = Schemas([operation for _, _, operation in routes], user_fields)
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
        "servers": [{"url": ".."}],
        "security": [{"bearer": []}, {"cookie": []}],
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
                    "description": "The access token of `POST /api/auth/login` or `POST /api/auth/token` (RFC 9068).",
                },
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE,
                    "description": (
                        "The cookie of `POST /api/auth/login/browser`, for pages of the service. It counts only "
                        "without `Authorization`. A service without TLS names it `" + DEVELOPMENT_COOKIE + "`."
                    ),
                },
                "key": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The id of a machine and one of its keys (RFC 6749, 2.3.1).",
                },
            },
        },
    }
