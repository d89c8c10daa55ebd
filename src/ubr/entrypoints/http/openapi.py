"""The OpenAPI 3.1 document, made from the operations that the routes declare and the types they speak in."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, TypeAlias

import msgspec
from litestar import Controller
from litestar.handlers import HTTPRouteHandler

from ubr.application.paging import MOST
from ubr.application.use_cases.follow_revocations import LARGEST_NUMBER, LONGEST_WAIT
from ubr.domain.errors import (
    Forbidden,
    Invalid,
    InvalidToken,
    NotFound,
    PreconditionFailed,
    RateLimited,
    StoreUnavailable,
    UbrError,
    Unauthenticated,
)
from ubr.domain.policy import PASSWORD_LENGTH
from ubr.domain.role import MOST_PERMISSIONS
from ubr.domain.user import MOST_ROLES
from ubr.domain.values import DESCRIPTION_LENGTH, EMAIL_LENGTH, FULL_NAME_LENGTH
from ubr.entrypoints.http import body, problem
from ubr.entrypoints.http.call import Operation
from ubr.entrypoints.http.problem import (
    BodyTooLarge,
    InternalError,
    MalformedBody,
    ProblemDetails,
    RequestTimeout,
    UnsupportedMediaType,
    UriTooLong,
    status_of,
)

Json: TypeAlias = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_ROLE_NAME: Final = {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,49}$"}

_TAGS: Final = {
    "auth": "Signing up, in and out.",
    "sessions": "One's own sessions, and what ends for verifiers in other services.",
    "users": "Users, their sessions and their roles.",
    "roles": "Names for sets of permissions.",
    "logs": "What happened, and who did it.",
    "service": "Keys, health and this document.",
}

# What the domain asks of a text, and of how many there are in a list, for the fields of request bodies.
_BOUNDS: Final[Mapping[str, Json]] = {
    "email": {"format": "email", "maxLength": EMAIL_LENGTH},
    "password": {"format": "password", "minLength": 1, "maxLength": PASSWORD_LENGTH},
    "current_password": {"format": "password", "minLength": 1, "maxLength": PASSWORD_LENGTH},
    "new_password": {"format": "password", "minLength": 1, "maxLength": PASSWORD_LENGTH},
    "full_name": {"minLength": 1, "maxLength": FULL_NAME_LENGTH},
    "description": {"minLength": 1, "maxLength": DESCRIPTION_LENGTH},
    "name": {"pattern": _ROLE_NAME["pattern"]},
    "roles": {"maxItems": MOST_ROLES},
    "permissions": {"maxItems": MOST_PERMISSIONS},
}
# What is asked of a number in a query.
_RANGES: Final[Mapping[str, Json]] = {
    "limit": {"minimum": 1, "maximum": MOST},
    "since": {"minimum": 0, "maximum": LARGEST_NUMBER},
    "wait": {"minimum": 0, "maximum": LONGEST_WAIT},
}
_MOMENTS: Final = ("timestamp", "since", "until")

_ID: Final = "01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"
_WHEN: Final = "2026-01-31T12:00:00Z"
_USER: Final[Json] = {
    "id": _ID,
    "email": "ada@example.org",
    "full_name": "Ada Lovelace",
    "status": "active",
    "email_verified": False,
    "roles": ["user"],
    "created_at": _WHEN,
    "updated_at": _WHEN,
}
_PASSWORD: Final = "correct horse battery staple"
_EXAMPLES: Final[Mapping[str, Json]] = {
    "RegisterUserCommand": {"email": "ada@example.org", "password": _PASSWORD, "full_name": "Ada Lovelace"},
    "LogInCommand": {"email": "ada@example.org", "password": _PASSWORD},
    "RefreshSessionCommand": {"refresh_token": "Jx1v8c…"},
    "ChangePasswordCommand": {"current_password": _PASSWORD, "new_password": "staple battery horse correct"},
    "CreateUserCommand": {"email": "grace@example.org", "password": _PASSWORD, "roles": ["editor"]},
    "UserChanges": {"full_name": "Ada King"},
    "GrantTerms": {"expires_at": "2026-12-31T00:00:00Z"},
    "CreateRoleCommand": {"name": "editor", "description": "May edit notes", "permissions": ["users:read"]},
    "RoleChanges": {"description": None, "permissions": ["users:read", "logs:read"]},
    "UserResult": _USER,
    "RoleResult": {
        "id": _ID,
        "name": "editor",
        "description": "May edit notes",
        "permissions": ["users:read"],
        "built_in": False,
        "created_at": _WHEN,
        "updated_at": _WHEN,
    },
    "SessionResult": {
        "id": _ID,
        "user_id": _ID,
        "created_at": _WHEN,
        "last_seen_at": _WHEN,
        "expires_at": "2026-02-14T12:00:00Z",
        "ip": "192.0.2.1",
        "user_agent": "curl/8.5.0",
        "current": True,
    },
    "GrantResult": {"role": "editor", "granted_by": _ID, "granted_at": _WHEN, "expires_at": None},
    "LogEntryResult": {
        "id": _ID,
        "level": "info",
        "action": "user.registered",
        "message": "A user registered",
        "timestamp": _WHEN,
        "actor_id": _ID,
        "target": {"type": "user", "id": _ID},
        "ip": "192.0.2.1",
        "request_id": "0b8d5f0f3c1e4a52",
        "data": {},
    },
    "TokensResult": {
        "access_token": "eyJhbGciOi…",
        "token_type": "Bearer",
        "expires_in": 600,
        "refresh_token": "Jx1v8c…",
        "refresh_expires_in": 1209600,
        "session_id": _ID,
        "user": _USER,
    },
    "RevocationsResult": {
        "epoch": "5f70bf18a0860070",
        "number": 4711,
        "rows": [{"number": 4711, "kind": "session", "id": _ID}],
        "fresh_for_ms": 1000,
    },
    "ProblemDetails": {
        "type": "/problems/invalid-input",
        "title": "The input is not valid",
        "status": 400,
        "detail": "is required",
        "instance": "/api/auth/register",
        "request_id": "0b8d5f0f3c1e4a52",
        "errors": [{"pointer": "/email", "detail": "is required"}],
    },
}


def document(controllers: Iterable[type[Controller]]) -> Json:
    """The whole description, from the controllers alone: no application is needed for it."""
    routes = list(operations(controllers))
    schemas = _schemas(operation for _, _, operation in routes)
    paths: dict[str, Json] = {}
    for path, method, operation in routes:
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ubr",
            "version": version("ubr"),
            "description": "Users, roles, sessions and a log. Errors are `application/problem+json` (RFC 9457).",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
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


def operations(controllers: Iterable[type[Controller]]) -> Iterator[tuple[str, str, Operation]]:
    """Every route that is declared: path, method, and what it is."""
    for controller in controllers:
        prefix = controller.__dict__["path"]
        for handler in vars(controller).values():
            if isinstance(handler, HTTPRouteHandler):
                for path in handler.paths:
                    joined = f"{prefix}/{path}".replace("//", "/").replace("//", "/").rstrip("/")
                    for method in handler.http_methods:
                        yield re.sub(r":str}", "}", joined), str(method), handler.opt["operation"]


class _Schemas:
    """The types that operations speak in, by reference."""

    def __init__(self, types: list[Any]) -> None:
        refs, self.components = msgspec.json.schema_components(types, ref_template=_REF)
        self._refs = dict(zip(types, refs, strict=True))

    def ref(self, type_: Any) -> Json:
        return dict(self._refs[type_])


def _schemas(declared: Iterable[Operation]) -> _Schemas:
    types: list[Any] = [ProblemDetails]
    bodies, asked = set(), set()
    for operation in declared:
        if operation.body is not None:
            bodies.add(operation.body.__name__)
        if operation.query is not None:
            asked.add(operation.query.__name__)
        for type_ in (operation.body, operation.answer, operation.query):
            if type_ is not None and type_ not in types:
                types.append(type_)
    schemas = _Schemas(types)
    for name, schema in schemas.components.items():
        _refine(schema, bounded=name in bodies)
        if name not in bodies | asked:
            _require_what_is_sent(schema)
        if name in _EXAMPLES:
            schema["examples"] = [_EXAMPLES[name]]
    return schemas


def _refine(schema: Json, *, bounded: bool) -> None:
    """Say what the types leave out: which texts are times, and how long texts and lists in requests may be."""
    for name, member in schema.get("properties", {}).items():
        for part in (member, *member.get("anyOf", ())):
            if part.get("type") not in {"string", "array"}:
                continue
            if name.endswith("_at") or name in _MOMENTS:
                part["format"] = "date-time"
            elif bounded and name in _BOUNDS:
                part.update(_BOUNDS[name])


def _require_what_is_sent(schema: Json) -> None:
    """In an answer a field with a default is there all the same."""
    required = schema.get("required", ())
    sent = [name for name, member in schema.get("properties", {}).items() if name in required or "default" in member]
    for name in sent:
        schema["properties"][name].pop("default", None)
    if sent:
        schema["required"] = sent


def _operation(path: str, method: str, operation: Operation, schemas: _Schemas) -> Json:
    described: Json = {"operationId": operation.name, "tags": [operation.tag], "summary": operation.summary}
    if text := _description(operation):
        described["description"] = text
    cached = operation.tagged and method == "GET"
    if parameters := [
        *_path_parameters(path),
        *_query_parameters(operation, schemas),
        *_header_parameters(operation, cached=cached),
    ]:
        described["parameters"] = parameters
    if operation.body is not None:
        types = [body.JSON, body.MERGE_PATCH] if operation.name.startswith("patch_") else [body.JSON]
        described["requestBody"] = {
            "required": not operation.body_optional,
            "content": {type_: {"schema": schemas.ref(operation.body)} for type_ in types},
        }
    unchanged = {"304": {"description": HTTPStatus.NOT_MODIFIED.phrase}} if cached else {}
    described["responses"] = {
        str(operation.status): _success(operation, schemas),
        **unchanged,
        **_problems(path, operation),
    }
    if operation.public:
        described["security"] = []
    return described


def _description(operation: Operation) -> str:
    text = inspect.getdoc(operation.use_case) if operation.use_case else None
    # What a Python caller catches is told by the responses here.
    return (text or "").split("\n\nErrors:")[0].strip()


def _path_parameters(path: str) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", path):
        schema = _ROLE_NAME if name == "name" else {"type": "string", "format": "uuid"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(operation: Operation, schemas: _Schemas) -> Iterator[Json]:
    if operation.query is None:
        return
    name = operation.query.__name__
    required = schemas.components[name].get("required", ())
    for parameter, schema in schemas.components[name]["properties"].items():
        shown = {key: value for key, value in schema.items() if value is not None}
        shown = next((part for part in schema.get("anyOf", ()) if part != {"type": "null"}), shown)
        if shown.get("type") == "integer":
            shown = {**shown, **_RANGES[parameter]}
        yield {"name": parameter, "in": "query", "required": parameter in required, "schema": shown}


def _header_parameters(operation: Operation, *, cached: bool) -> Iterator[Json]:
    told = {"in": "header", "required": False, "schema": {"type": "string"}}
    if operation.conditional:
        text = "Entity tags of the revisions that may be changed; without it the last write wins."
        yield {"name": "If-Match", **told, "description": text}
    if cached:
        yield {"name": "If-None-Match", **told, "description": "Entity tags of what the caller has already."}


def _success(operation: Operation, schemas: _Schemas) -> Json:
    response: Json = {"description": HTTPStatus(operation.status).phrase}
    headers = {"X-Request-ID": _header("The id of this request, in every log line and log entry of it.")}
    if operation.tagged:
        headers["ETag"] = _header("The revision, for If-Match.")
    if operation.located:
        headers["Location"] = _header("The path of what was made.")
    if operation.limited:
        headers |= _LIMITS
    if operation.query is not None and "cursor" in operation.query.__struct_fields__:
        headers["Link"] = _header('The next page, as `rel="next"`, where there is one.')
    response["headers"] = headers
    if operation.answer is not None:
        response["content"] = {operation.media_type: {"schema": schemas.ref(operation.answer)}}
    return response


def _header(text: str) -> Json:
    return {"description": text, "schema": {"type": "string"}}


_TOO_MANY: Final = status_of(RateLimited)
_RETRY_AFTER: Final[Json] = {
    "description": "The seconds after which a try is accepted.",
    "schema": {"type": "integer", "minimum": 1},
}
# What is counted for an account is told to nobody, so these may be missing where that was too much.
_LIMITS: Final[Json] = {
    "RateLimit-Policy": _header(
        "How many tries (`q`) a client IP has in so many seconds (`w`): draft-ietf-httpapi-ratelimit-headers-11."
    ),
    "RateLimit": _header("How many of them are left (`r`), and in how many seconds there will be more (`t`)."),
}


def _problems(path: str, operation: Operation) -> Json:
    found: dict[int, set[str]] = {}
    for error in (*_usual(path, operation), *operation.problems):
        found.setdefault(status_of(error), set()).add(error.code)
    return {
        str(status): {
            "description": ", ".join(f"`{slug}`" for slug in sorted(slugs)),
            **({"headers": {"Retry-After": _RETRY_AFTER, **_LIMITS}} if status == _TOO_MANY else {}),
            "content": {problem.MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="ProblemDetails")}}},
        }
        for status, slugs in sorted(found.items())
    }


def _usual(path: str, operation: Operation) -> Iterator[type[UbrError]]:
    yield from (Invalid, UriTooLong, BodyTooLarge, RequestTimeout, InternalError)
    if not operation.public:
        yield from (Unauthenticated, InvalidToken, Forbidden)
    if operation.use_case is not None:
        yield StoreUnavailable
    if operation.body is not None:
        yield from (MalformedBody, UnsupportedMediaType)
    if operation.conditional:
        yield PreconditionFailed
    if "{" in path:
        yield NotFound
