"""The responses of an operation: its result and every possible problem."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from ubr.domain.errors import (
    Forbidden,
    IdempotencyKeyReused,
    Invalid,
    InvalidToken,
    NotFound,
    PreconditionFailed,
    RateLimited,
    StoreTooSlow,
    StoreUnavailable,
    UbrError,
    Unauthenticated,
)
from ubr.entrypoints.http import body
from ubr.entrypoints.http.call import Operation
from ubr.entrypoints.http.connections import PROBES
from ubr.entrypoints.http.openapi.headers import OF_LIMITS, headers, problem_headers
from ubr.entrypoints.http.openapi.schemas import REF, Json, Schemas
from ubr.entrypoints.http.problems.catalogue import status_of
from ubr.entrypoints.http.problems.errors import (
    BodyTooLarge,
    CrossOriginRequest,
    InternalError,
    MalformedBody,
    RequestTimeout,
    UnsupportedMediaType,
    UriTooLong,
)
from ubr.entrypoints.http.problems.rendering import MEDIA_TYPE, ProblemDetails, oauth_error


def responses(path: str, method: str, operation: Operation, schemas: Schemas, *, cached: bool) -> Json:
    """Every response by its status. `cached` operations may answer that nothing has changed."""
    deferred = {str(HTTPStatus.ACCEPTED.value): _deferred()} if operation.deferred else {}
    unchanged = {str(HTTPStatus.NOT_MODIFIED.value): _unchanged(operation)} if cached else {}
    return {
        str(operation.status): _success(operation, schemas),
        **deferred,
        **unchanged,
        **_problems(path, method, operation),
    }


def example_name(slug: str, status: int) -> str:
    """The name of a problem's example among the components of the document."""
    return f"{slug}.{status}"


def _success(operation: Operation, schemas: Schemas) -> Json:
    names = []
    if operation.tagged:
        names.append("ETag")
    if operation.located:
        names.append("Location")
    if operation.sets_cookie:
        names.append("Set-Cookie")
    if operation.limited:
        names += OF_LIMITS
    if operation.query is not None and "cursor" in operation.query.__struct_fields__:
        names.append("Link")
    response: Json = {
        "description": HTTPStatus(operation.status).phrase,
        "headers": headers(*names, cache_control=operation.cache_control),
    }
    if operation.answer is not None:
        content: Json = {"schema": schemas.ref(operation.answer)}
        if operation.example is not None:
            content["example"] = operation.example
        response["content"] = {operation.media_type: content}
    return response


def _deferred() -> Json:
    return {
        "description": "Accepted: the process continues by mail, if so configured",
        "headers": headers(),
    }


def _unchanged(operation: Operation) -> Json:
    return {
        "description": HTTPStatus.NOT_MODIFIED.phrase,
        "headers": headers("ETag", cache_control=operation.cache_control),
    }


def _problems(path: str, method: str, operation: Operation) -> Json:
    found: dict[int, set[str]] = {}
    named: set[int] = set()
    for error in (*_usual(path, method, operation), *operation.problems):
        found.setdefault(status_of(error), set()).add(error.code)
        if operation.form and oauth_error(error) is not None:
            named.add(status_of(error))
    return {
        str(status): {
            "description": ", ".join(f"`{slug}`" for slug in sorted(slugs)),
            "headers": problem_headers(status),
            "content": {
                (body.JSON if status in named else MEDIA_TYPE): {
                    "schema": {"$ref": REF.format(name=ProblemDetails.__name__)},
                    "examples": {
                        slug: {"$ref": f"#/components/examples/{example_name(slug, status)}"} for slug in sorted(slugs)
                    },
                }
            },
        }
        for status, slugs in sorted(found.items())
    }


def _usual(path: str, method: str, operation: Operation) -> Iterator[type[UbrError]]:
    """The problems of every operation of its kind."""
    yield from (Invalid, UriTooLong, BodyTooLarge, RequestTimeout, InternalError)
    if not path.startswith(PROBES):
        yield RateLimited
    if not operation.public:
        yield from (Unauthenticated, InvalidToken, Forbidden)
    if method != "GET" and (operation.for_browsers or not (operation.public or operation.for_programs)):
        yield CrossOriginRequest
    if operation.use_case is not None:
        yield from (StoreUnavailable, StoreTooSlow)
    if operation.body is not None:
        yield UnsupportedMediaType
        if not operation.form:
            yield MalformedBody
    if operation.conditional:
        yield PreconditionFailed
    if operation.keyed:
        yield IdempotencyKeyReused
    if "{" in path:
        yield NotFound
