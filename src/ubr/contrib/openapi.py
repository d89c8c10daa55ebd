"""The OpenAPI document of a program, with the parts of ubr: the security scheme, the problems, the mounted routes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from typing import Any, Final, TypeAlias

import msgspec

from ubr.domain.accounts.user_fields import UserFields
from ubr.domain.errors import Forbidden, InvalidToken, UbrError, Unauthenticated, Unavailable
from ubr.entrypoints.http.problems.catalogue import status_of
from ubr.entrypoints.http.problems.rendering import MEDIA_TYPE, ProblemDetails, ProblemFlaw

Document: TypeAlias = dict[str, Any]

SCHEME: Final = "ubr"
"""The name of the security scheme: a program may have another one that is called `bearer`."""
BEARER: Final[Document] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "An access token of ubr (RFC 9068).",
}
_HEADERS: Final = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}},
    503: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "required": True}},
}


def secure(
    document: Document,
    operation: Document,
    permissions: Sequence[str],
    *,
    optional: bool = False,
    others: Sequence[Document] = (),
) -> None:
    """Describe that an operation takes a token, and answers problems. `others` are further security requirements.

    The permissions stand beside the scheme, as OpenAPI 3.1 allows.
    """
    components = document.setdefault("components", {})
    components.setdefault("securitySchemes", {})[SCHEME] = BEARER
    problem = _add_problem(components.setdefault("schemas", {}))
    operation["security"] = [{SCHEME: list(permissions)}, *([{}] if optional else []), *others]
    errors: list[type[UbrError]] = [InvalidToken, Unavailable]
    errors += [] if optional else [Unauthenticated]
    errors += [Forbidden] if permissions else []
    responses = operation.setdefault("responses", {})
    for status in sorted({status_of(error) for error in errors}):
        slugs = sorted({error.code for error in errors if status_of(error) == status})
        responses.setdefault(
            str(status),
            {
                "description": ", ".join(f"`{slug}`" for slug in slugs),
                **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
                "content": {MEDIA_TYPE: {"schema": {"$ref": problem}}},
            },
        )


def with_mounted(document: Document, path: str, routes: Collection[str] | None, user_fields: UserFields) -> None:
    """Add the mounted routes below this path. A component of the program with the same name keeps it."""
    from ubr.entrypoints.http.openapi.document import describing, selection_of  # noqa: PLC0415 - as in `Mounted`

    ours = deepcopy(describing(selection_of(routes), user_fields)())
    document.setdefault("components", {}).setdefault("securitySchemes", {})[SCHEME] = BEARER
    del ours["components"]["securitySchemes"]
    names: dict[str, str] = {}
    for kind, members in ours["components"].items():
        theirs = document["components"].setdefault(kind, {})
        for name, member in members.items():
            names[_ref(kind, name)] = _ref(kind, _free(theirs, name, member))
    for kind, members in ours["components"].items():
        for name, member in members.items():
            new = names[_ref(kind, name)].rpartition("/")[2]
            document["components"][kind][new] = _renamed(member, names)
    for each, item in ours["paths"].items():
        described = _renamed(item, names)
        for operation in described.values():
            operation["security"] = operation.get("security", [{SCHEME: []}])
        document.setdefault("paths", {})[f"{path.rstrip('/')}{each}"] = described
    known = {tag["name"] for tag in document.get("tags", ())}
    used = {tag for item in ours["paths"].values() for operation in item.values() for tag in operation["tags"]}
    tags = [tag for tag in ours["tags"] if tag["name"] in used - known]
    if tags:
        document["tags"] = [*document.get("tags", ()), *tags]


def _add_problem(theirs: Document) -> str:
    """Add the schemas of a problem, and return a reference to it."""
    _, ours = msgspec.json.schema_components([ProblemDetails], ref_template=_ref("schemas", "{name}"))
    names = {_ref("schemas", name): _ref("schemas", _free(theirs, name, schema)) for name, schema in ours.items()}
    for name, schema in ours.items():
        theirs.setdefault(names[_ref("schemas", name)].rpartition("/")[2], _renamed(schema, names))
    return names[_ref("schemas", ProblemDetails.__name__)]


def _free(theirs: Document, name: str, member: Document) -> str:
    """The name for a component of ubr. One of the program itself with this name keeps it."""
    while name in theirs and theirs[name] != member and not _is_problem(name, theirs[name], member):
        name = f"Ubr{name}"
    return name


def _is_problem(name: str, one: Document, other: Document) -> bool:
    """True for the schema of a problem, which the document of the service describes in more detail."""
    alike = one.get("properties", {}).keys() == other.get("properties", {}).keys()
    return alike and name in {ProblemDetails.__name__, ProblemFlaw.__name__}


def _ref(kind: str, name: str) -> str:
    return f"#/components/{kind}/{name}"


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """The value, with references to the new names."""
    if isinstance(value, dict):
        return {key: names.get(each, each) if key == "$ref" else _renamed(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    return value
