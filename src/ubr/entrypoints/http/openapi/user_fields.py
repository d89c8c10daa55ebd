"""The fields of the host in the document. Without a declaration, the document has no trace of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ubr.application.kernel.fields import NO_CONTROLS
from ubr.domain.accounts.user_field import Access, FieldKind, UserField
from ubr.domain.accounts.user_fields import UserFields
from ubr.entrypoints.http.query import FIELD

_RESULTS: Final = ("UserResult", "MeResult")
_BODIES: Final = {
    "RegisterUserCommand": Access.USER,
    "CreateUserCommand": Access.ADMINS,
    "UserChanges": Access.ADMINS,
}
"""The bodies with fields, and the highest level that their callers have."""
_QUERIES: Final = ("ListUsersCommand",)
_MEMBER: Final = "fields"


def describe_fields(components: dict[str, Any], user_fields: UserFields) -> Mapping[str, Mapping[str, Any]]:
    """Describe the fields in the schemas of users. Returns the parameters of searches, by the name of the query."""
    seen = [field for field in user_fields.declared.values() if field.read <= Access.ADMINS]
    for name in (*_RESULTS, *_BODIES, *_QUERIES):
        if name in components:
            components[name]["properties"].pop(_MEMBER, None)
    if not seen:
        return {}
    for name in _RESULTS:
        if name in components:
            # Not required: machines have no fields.
            components[name]["properties"][_MEMBER] = _object(seen, _shown)
    for name, level in _BODIES.items():
        written = [field for field in seen if field.write <= level]
        if name in components and written:
            components[name]["properties"][_MEMBER] = _object(written, _written) | {"additionalProperties": False}
    searched = {f"{FIELD}{field.name}": _sought(field) for field in seen if field.searchable}
    return {name: searched for name in _QUERIES if name in components}


def _object(fields: list[UserField], described: Callable[[UserField], dict[str, Any]]) -> dict[str, Any]:
    members = {field.name: described(field) for field in fields}
    return {
        "type": "object",
        "properties": members,
        "examples": [{field.name: _example(field) for field in fields}],
    }


def _shown(field: UserField) -> dict[str, Any]:
    # Without bounds: a stored value may be older than they are. Fields that this reader may not see are absent.
    return {"anyOf": [_plain(field), {"type": "null"}], **_told(field)}


def _written(field: UserField) -> dict[str, Any]:
    default = {} if field.default is None else {"default": field.default}
    value = _plain(field) | _bounds(field)
    return {**(value if field.required else {"anyOf": [value, {"type": "null"}]}), **default, **_told(field)}


def _sought(field: UserField) -> dict[str, Any]:
    value = _plain(field) | _bounds(field)
    return {**(value["items"] if field.kind is FieldKind.STRINGS else value), **_told(field)}


def _told(field: UserField) -> dict[str, Any]:
    return {} if field.description is None else {"description": field.description}


def _plain(field: UserField) -> dict[str, Any]:
    match field.kind:
        case FieldKind.INTEGER | FieldKind.BOOLEAN | FieldKind.STRING:
            return {"type": str(field.kind)}
        case FieldKind.DATE:
            return {"type": "string", "format": "date"}
        case FieldKind.ENUM:
            return {"type": "string", "enum": list(field.choices)}
        case FieldKind.STRINGS:
            return {"type": "array", "items": {"type": "string"}}


def _bounds(field: UserField) -> dict[str, Any]:
    least, most = field.bounds
    match field.kind:
        case FieldKind.INTEGER:
            return {"minimum": least, "maximum": most}
        case FieldKind.STRING:
            return {"minLength": least, "maxLength": most, "pattern": NO_CONTROLS}
        case FieldKind.STRINGS:
            return {
                "minItems": least,
                "maxItems": most,
                "items": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": NO_CONTROLS},
            }
        case _:
            return {}


def _example(field: UserField) -> Any:
    least, most = field.bounds
    examples = {
        FieldKind.INTEGER: max(least, min(1, most)),
        FieldKind.BOOLEAN: True,
        FieldKind.DATE: "2026-01-31",
        FieldKind.ENUM: next(iter(field.choices), None),
    }
    if field.default is not None:
        return field.default
    if field.kind is FieldKind.STRING:
        return "text".ljust(least, "t")[:most]
    if field.kind is FieldKind.STRINGS:
        return ["text"] * min(most, max(1, least))
    return examples[field.kind]
