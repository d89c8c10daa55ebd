"""The OpenAPI 3.1 document, made from the operations that the routes declare and the types they speak in."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import msgspec
from litestar import Controller
from litestar.handlers import HTTPRouteHandler

from ubr.application.kernel.paging import MAX_LIMIT
from ubr.application.revocation.follow_revocations import MAX_NUMBER, MAX_WAIT_MS
from ubr.domain.accounts.email import MAX_EMAIL_LENGTH
from ubr.domain.accounts.passwords import MAX_PASSWORD_LENGTH
from ubr.domain.accounts.user import MAX_FULL_NAME_LENGTH
from ubr.domain.errors import (
    Forbidden,
    IdempotencyKeyReused,
    Invalid,
    InvalidToken,
    NotFound,
    PreconditionFailed,
    StoreUnavailable,
    UbrError,
    Unauthenticated,
    WeakPassword,
)
from ubr.domain.roles.grant import MAX_ROLES
from ubr.domain.roles.role import MAX_DESCRIPTION_LENGTH, MAX_PERMISSIONS
from ubr.entrypoints.http import body, conditional, problem, problem_advice
from ubr.entrypoints.http.call import NOT_KEPT, Operation
from ubr.entrypoints.http.problem import (
    BodyTooLarge,
    InternalError,
    MalformedBody,
    Problem,
    ProblemDetails,
    RequestTimeout,
    UnsupportedMediaType,
    UriTooLong,
    status_of,
)

Json: TypeAlias = dict[str, Any]

API_VERSION: Final = "0.1.0"
"""Of the interface, not of ubr: it changes when the interface does, and two commits with one interface say the same."""

_REF: Final = "#/components/schemas/{name}"
_ROLE_NAME: Final = {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,49}$"}
_PERMISSION: Final = {"type": "string", "pattern": r"^(\*|[a-z][a-z0-9_-]{0,49}:[a-z][a-z0-9_-]{0,49})$"}
_CANONICAL_ID: Final = {
    "type": "string",
    "format": "uuid",
    "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
}
_SLUG: Final = {"type": "string", "pattern": "^[a-z][a-z0-9-]*$"}
_NO_CONTROLS: Final = r"^[^\u0000-\u001f\u007f-\u009f]*$"
_NO_CONTROLS_OF_ASCII: Final = r"^[^\u0000-\u001f]*$"
"""Of a text about which nothing else is known: no JSON text and no query with one is taken, wherever it stands."""
MIN_PASSWORD_LENGTH: Final = 8
"""Below this no setting lets the least length of a new password go."""

_TAGS: Final = {
    "auth": "Signing up, in and out.",
    "sessions": "One's own sessions, and what ends for verifiers in other services.",
    "users": "Users, their sessions and their roles.",
    "roles": "Names for sets of permissions.",
    "logs": "What happened, and who did it.",
    "service": "Keys, health and this document.",
    "pages": "What links in mails lead to.",
}

# What the domain asks of a text, and of how many there are in a list, for the fields of request bodies.
_BOUNDS: Final[Mapping[str, Json]] = {
    "email": {"format": "email", "maxLength": MAX_EMAIL_LENGTH},
    "password": {"format": "password", "minLength": 1, "maxLength": MAX_PASSWORD_LENGTH, "pattern": _NO_CONTROLS},
    "current_password": {
        "format": "password",
        "minLength": 1,
        "maxLength": MAX_PASSWORD_LENGTH,
        "pattern": _NO_CONTROLS,
    },
    "new_password": {"format": "password", "minLength": 1, "maxLength": MAX_PASSWORD_LENGTH, "pattern": _NO_CONTROLS},
    "full_name": {"minLength": 1, "maxLength": MAX_FULL_NAME_LENGTH, "pattern": _NO_CONTROLS},
    "description": {"minLength": 1, "maxLength": MAX_DESCRIPTION_LENGTH, "pattern": _NO_CONTROLS},
    "name": {"pattern": _ROLE_NAME["pattern"]},
    "roles": {"maxItems": MAX_ROLES, "items": _ROLE_NAME},
    "permissions": {"maxItems": MAX_PERMISSIONS, "items": _PERMISSION},
}
# What is asked of a text in a query.
_TEXTS: Final[Mapping[str, Json]] = {"q": {"minLength": 1, "maxLength": MAX_EMAIL_LENGTH, "pattern": _NO_CONTROLS}}
# What is asked of a number in a query.
_RANGES: Final[Mapping[str, Json]] = {
    "limit": {"minimum": 1, "maximum": MAX_LIMIT},
    "since": {"minimum": 0, "maximum": MAX_NUMBER},
    "wait": {"minimum": 0, "maximum": MAX_WAIT_MS},
}
_MOMENTS: Final = ("timestamp", "since", "until")
# What is asked of a text in a path or a query, where it is not an id.
_PATH: Final[Mapping[str, Json]] = {"name": _ROLE_NAME, "slug": _SLUG}
_QUERY: Final[Mapping[str, Json]] = {"role": {"pattern": _ROLE_NAME["pattern"]}}

# What people are told of a parameter, and how one looks.
_TOLD: Final[Mapping[str, str]] = {
    "limit": "How many there are on a page, at most.",
    "cursor": "`next_cursor` of the page before, with the same filters and the same sort.",
    "sort": "By what the list is sorted; a `-` in front turns it round.",
    "role": "Only those who have this role.",
    "status": "Only those with this status.",
    "level": "Only entries of this level.",
    "action": "Only entries of this action.",
    "actor_id": "Only what this user did.",
    "target_id": "Only what was done to the thing with this id.",
    "until": "The first moment that does not count any more.",
    "verifier": "An id that the verifier's process has made up.",
    "epoch": "`epoch` of the answer before.",
    "wait": "For how many milliseconds the call is held where there is nothing to tell.",
    "name": "The name of a role.",
    "slug": "The last part of a problem's `type`.",
}
_SHOWN: Final[Mapping[str, Any]] = {
    "limit": 20,
    "role": "editor",
    "action": "user.registered",
    "verifier": "01926e5c-7b0e-4f3a-9c55-0d2f6f1c8a10",
    "name": "editor",
    "slug": "invalid-input",
}

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
_REFRESH_TOKEN: Final = "ubr_rt_" + "example" * 6 + "A"
_LINK_TOKEN: Final = "ubr_link_" + "example" * 6 + "A"
_HASH: Final = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
_NOTE: Final = f"ubr.example.org/log/3e32012da7780fca\n5\n{_HASH}\n\n— ubr.example.org/log/3e32012da7780fca {_HASH}\n"
_EXAMPLES: Final[Mapping[str, Json]] = {
    "RegisterUserCommand": {"email": "ada@example.org", "password": _PASSWORD, "full_name": "Ada Lovelace"},
    "LogInCommand": {"email": "ada@example.org", "password": _PASSWORD},
    "RefreshSessionCommand": {"refresh_token": _REFRESH_TOKEN},
    "ChangePasswordCommand": {"current_password": _PASSWORD, "new_password": "staple battery horse correct"},
    "RequestPasswordResetCommand": {"email": "ada@example.org"},
    "ResetPasswordCommand": {"token": _LINK_TOKEN, "new_password": "staple battery horse correct"},
    "RequestEmailChangeCommand": {"email": "countess@example.org", "current_password": _PASSWORD},
    "VerifyEmailCommand": {"token": _LINK_TOKEN, "password": _PASSWORD},
    "ResendVerificationCommand": {"email": "ada@example.org"},
    "UndoEmailChangeCommand": {"token": _LINK_TOKEN},
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
        "access_token": "eyJhbGciOi….eyJpc3MiOi….c2lnbmF0dXJl…",
        "token_type": "Bearer",
        "expires_in": 600,
        "refresh_token": _REFRESH_TOKEN,
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
    "ProofResult": {
        "entry_id": _ID,
        "index": 4,
        "size": 5,
        "leaf_hash": _HASH,
        "hashes": [_HASH],
        "content": None,
        "checkpoint": _NOTE,
    },
    "KeySetResult": {
        "keys": [{"kty": "OKP", "crv": "Ed25519", "kid": _HASH[:43], "use": "sig", "alg": "EdDSA", "x": _HASH[:43]}]
    },
    "HealthResult": {"status": "ok"},
    "ProblemDetails": problem_advice.example(Problem(Invalid.code, status_of(Invalid), Invalid.title)),
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

# --- headers of answers ----------------------------------------------------------------------------------------------


def _header(text: str, *, required: bool = True, **schema: Any) -> Json:
    return {"description": text, "required": required, "schema": {"type": "string", **schema}}


_HEADERS: Final[Mapping[str, Json]] = {
    "X-Request-ID": _header(
        "The id of this request, in every log line and log entry of it.", pattern="^[A-Za-z0-9._-]{1,64}$"
    ),
    "ETag": _header("The revision, to be sent back when the thing is changed or read again.", pattern='^"[^"]+"$'),
    "Location": _header("The path of what was made.", format="uri-reference"),
    "Link": _header('The next page, as `rel="next"`, where there is one.', required=False),
    "WWW-Authenticate": _header(
        "`Bearer`, and what is wrong with the token where one was sent (RFC 6750).", pattern="^Bearer"
    ),
    "Retry-After": {
        "description": "After how many seconds it is worth trying again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "Accept": _header("The media types that are taken."),
    # What is counted for an account is told to nobody, so these may be missing where that was too much.
    "RateLimit-Policy": _header(
        "How many tries (`q`) a client IP has in so many seconds (`w`): draft-ietf-httpapi-ratelimit-headers-11.",
        required=False,
    ),
    "RateLimit": _header(
        "How many of them are left (`r`), and in how many seconds there will be more (`t`).", required=False
    ),
    "Cache-Control": _header("The answer is not kept.", const=NOT_KEPT),
}
_LIMITS: Final = ("RateLimit-Policy", "RateLimit")
_OF_STATUS: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    415: ("Accept",),
    429: ("Retry-After", *_LIMITS),
    503: ("Retry-After",),
}


def _headers(*names: str, cache_control: str = NOT_KEPT) -> Json:
    """These, and those of every answer."""
    named: Json = {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", "Cache-Control", *names)}
    if cache_control != NOT_KEPT:
        named["Cache-Control"] = _header("How long the answer may be kept.", const=cache_control)
    return named


# --- the document ----------------------------------------------------------------------------------------------------


def document(controllers: Iterable[type[Controller]]) -> Json:
    """The whole description, from the controllers alone: no application is needed for it."""
    routes = [route for route in operations(controllers) if route[2].described]
    schemas = _schemas(operation for _, _, operation in routes)
    paths: dict[str, Json] = {}
    for path, method, operation in routes:
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, operation, schemas)
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
            "headers": _HEADERS,
            "examples": {
                _example_name(row.slug, row.status): {
                    "summary": row.title,
                    "value": problem_advice.example(row),
                }
                for row in problem.problems()
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
        self.asked: set[str] = set()

    def ref(self, type_: Any) -> Json:
        return dict(self._refs[type_])

    def published(self) -> dict[str, Json]:
        """Without those of queries, whose fields are parameters."""
        return {name: schema for name, schema in self.components.items() if name not in self.asked}


def _schemas(declared: Iterable[Operation]) -> _Schemas:
    types: list[Any] = [ProblemDetails]
    bodies, setting, asked = set(), set(), set()
    for operation in declared:
        if operation.body is not None:
            bodies.add(operation.body.__name__)
            if WeakPassword in operation.problems:
                setting.add(operation.body.__name__)
        if operation.query is not None:
            asked.add(operation.query.__name__)
        for type_ in (operation.body, operation.answer, operation.query):
            if type_ is not None and type_ not in types:
                types.append(type_)
    schemas = _Schemas(types)
    schemas.asked = asked - bodies
    for name, schema in schemas.components.items():
        _refine(schema, sent=name in bodies | asked, bounds=_BOUNDS if name in bodies else _QUERY)
        if name in bodies:
            _leave_out_empty_defaults(schema)
        elif name not in asked:
            _require_what_is_sent(schema)
        if name in setting:
            _ask_for_a_good_password(schema)
        if name in _EXAMPLES:
            schema["examples"] = [_EXAMPLES[name]]
    return schemas


def _refine(schema: Json, *, sent: bool, bounds: Mapping[str, Json]) -> None:
    """Say what the types leave out: which texts are times, and how long texts and lists in requests may be."""
    _name_the_type(schema)
    for name, member in schema.get("properties", {}).items():
        for part in (member, *member.get("anyOf", ())):
            _name_the_type(part)
            if part.get("type") not in {"string", "array"}:
                continue
            if name.endswith("_at") or name in _MOMENTS:
                part["format"] = "date-time"
            elif sent:
                part.update(bounds.get(name, {}))
            if sent and part["type"] == "string" and not {"format", "pattern", "enum"} & part.keys():
                part["pattern"] = _NO_CONTROLS_OF_ASCII


def _name_the_type(schema: Json) -> None:
    """Some generators of clients do not look at the values of an enumeration."""
    if "enum" in schema and all(isinstance(value, str) for value in schema["enum"]):
        schema["type"] = "string"


def _leave_out_empty_defaults(schema: Json) -> None:
    """Nothing and no default are the same in a body, and generators of clients ask for what has one."""
    for member in schema["properties"].values():
        if member.get("default", "") in (None, []):
            del member["default"]


def _ask_for_a_good_password(schema: Json) -> None:
    """Login takes passwords of before. Where one is set, each has to be as long as the least strict setting has it."""
    for name in {"password", "new_password"} & schema["properties"].keys():
        member = schema["properties"][name]
        for part in (member, *member.get("anyOf", ())):
            if part.get("type") == "string":
                part["minLength"] = MIN_PASSWORD_LENGTH
                part["description"] = (
                    "Its least length is a setting of the service: 15 unless the operator decides otherwise."
                )


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
        types = [body.JSON, body.MERGE_PATCH] if method == "PATCH" else [body.JSON]
        described["requestBody"] = {
            "required": not operation.body_optional,
            "content": {type_: {"schema": schemas.ref(operation.body)} for type_ in types},
        }
    deferred = {"202": _deferred()} if operation.deferred else {}
    unchanged = {"304": _unchanged(operation)} if cached else {}
    described["responses"] = {
        str(operation.status): _success(operation, schemas),
        **deferred,
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
        schema = _PATH.get(name, _CANONICAL_ID)
        yield {"name": name, "in": "path", "required": True, **_told(name, schema), "schema": schema}


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
        if shown.get("format") == "uuid":
            shown = _CANONICAL_ID
        shown = {**shown, **_TEXTS.get(parameter, {})}
        told = _told(parameter, shown)
        yield {"name": parameter, "in": "query", "required": parameter in required, **told, "schema": shown}


def _told(name: str, schema: Json) -> Json:
    """What people are told of a parameter, as far as anything is."""
    example = _SHOWN.get(name, _ID if schema.get("format") == "uuid" else None)
    told = {"description": _TOLD.get(name), "example": example}
    return {key: value for key, value in told.items() if value is not None}


def _header_parameters(operation: Operation, *, cached: bool) -> Iterator[Json]:
    tags = {"type": "string", "maxLength": conditional.LONGEST, "pattern": conditional.PATTERN}
    told = {"in": "header", "required": False, "schema": tags}
    if operation.conditional:
        text = "Entity tags of the revisions that may be changed; without it the last write wins."
        yield {"name": "If-Match", **told, "description": text, "example": '"3"'}
    if operation.keyed:
        text = "Names this call: tried again with the same body within a day, it is answered as before, done once."
        key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        yield {"name": "Idempotency-Key", **told, "schema": key, "description": text}
    if cached:
        yield {"name": "If-None-Match", **told, "description": "Entity tags of what the caller has already."}


def _success(operation: Operation, schemas: _Schemas) -> Json:
    names = []
    if operation.tagged:
        names.append("ETag")
    if operation.located:
        names.append("Location")
    if operation.limited:
        names += _LIMITS
    if operation.query is not None and "cursor" in operation.query.__struct_fields__:
        names.append("Link")
    response: Json = {
        "description": HTTPStatus(operation.status).phrase,
        "headers": _headers(*names, cache_control=operation.cache_control),
    }
    if operation.answer is not None:
        content: Json = {"schema": schemas.ref(operation.answer)}
        if operation.example is not None:
            content["example"] = operation.example
        response["content"] = {operation.media_type: content}
    return response


def _deferred() -> Json:
    return {"description": "A mail decides, where the service is set so", "headers": _headers()}


def _unchanged(operation: Operation) -> Json:
    headers = _headers("ETag", cache_control=operation.cache_control)
    return {"description": HTTPStatus.NOT_MODIFIED.phrase, "headers": headers}


def _problems(path: str, operation: Operation) -> Json:
    found: dict[int, set[str]] = {}
    for error in (*_usual(path, operation), *operation.problems):
        found.setdefault(status_of(error), set()).add(error.code)
    return {
        str(status): {
            "description": ", ".join(f"`{slug}`" for slug in sorted(slugs)),
            "headers": _headers(*_OF_STATUS.get(status, ())),
            "content": {
                problem.MEDIA_TYPE: {
                    "schema": {"$ref": _REF.format(name="ProblemDetails")},
                    "examples": {
                        slug: {"$ref": f"#/components/examples/{_example_name(slug, status)}"} for slug in sorted(slugs)
                    },
                }
            },
        }
        for status, slugs in sorted(found.items())
    }


def _example_name(slug: str, status: int) -> str:
    return f"{slug}.{status}"


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
    if operation.keyed:
        yield IdempotencyKeyReused
    if "{" in path:
        yield NotFound
