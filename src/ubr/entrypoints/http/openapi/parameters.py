"""Parameters of paths, queries and headers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ubr.application.kernel.fields import Id, RoleNameStr
from ubr.entrypoints.http import conditional
from ubr.entrypoints.http.call import Operation
from ubr.entrypoints.http.openapi.schemas import Json, Schemas, member

_CANONICAL_ID: Final = {
    "type": "string",
    "format": "uuid",
    "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
}
"""An id outside a body. Only its canonical spelling is accepted."""

_IN_PATHS: Final[Mapping[str, Any]] = {
    "name": Annotated[RoleNameStr, Meta(description="The name of a role.", examples=["editor"])],
    "slug": Annotated[
        str,
        Meta(
            description="The last part of a problem's `type`.",
            extra_json_schema={"pattern": "^[a-z][a-z0-9-]*$"},
            examples=["invalid-input"],
        ),
    ],
}
"""The path parameters that are not ids."""


def parameters(path: str, operation: Operation, schemas: Schemas, *, cached: bool) -> list[Json]:
    """The parameters of an operation. A `cached` operation supports `If-None-Match`."""
    return [
        *_path_parameters(path),
        *_query_parameters(operation, schemas),
        *_header_parameters(operation, cached=cached),
    ]


def _path_parameters(path: str) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", path):
        schema = msgspec.json.schema(_IN_PATHS.get(name, Id))
        yield _parameter(name, "path", member(schema, sent=True), required=True)


def _query_parameters(operation: Operation, schemas: Schemas) -> Iterator[Json]:
    if operation.query is not None:
        query = schemas.components[operation.query.__name__]
        for name, schema in query["properties"].items():
            yield _parameter(name, "query", schema, required=name in query.get("required", ()))
        for name, schema in schemas.parameters.get(operation.query.__name__, {}).items():
            yield _parameter(name, "query", schema, required=False)


def _parameter(name: str, place: str, schema: Json, *, required: bool) -> Json:
    """A field as a parameter: the description and the example move to the parameter, and it is never null."""
    told: Json = {"description": schema["description"]} if "description" in schema else {}
    if "examples" in schema:
        told["example"] = schema["examples"][0]
    shown = next((part for part in schema.get("anyOf", ()) if part != {"type": "null"}), schema)
    if shown.get("format") == "uuid":
        shown = _CANONICAL_ID
    shown = {key: value for key, value in shown.items() if key not in {"description", "examples"}}
    return {"name": name, "in": place, "required": required, **told, "schema": shown}


def _header_parameters(operation: Operation, *, cached: bool) -> Iterator[Json]:
    tags = {"type": "string", "maxLength": conditional.LONGEST, "pattern": conditional.PATTERN}
    told = {"in": "header", "required": False, "schema": tags}
    if operation.conditional:
        text = "Entity tags of the accepted revisions; without it the last write wins."
        yield {"name": "If-Match", **told, "description": text, "example": '"3"'}
    if operation.keyed:
        text = "Identifies this call: a retry with the same body within a day only returns the stored answer."
        key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        yield {"name": "Idempotency-Key", **told, "schema": key, "description": text}
    if cached:
        yield {
            "name": "If-None-Match",
            **told,
            "description": "Entity tags of the caller's cached revisions.",
        }
