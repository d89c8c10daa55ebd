"""The schemas of the types in requests and answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgspec

from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.errors import Invalid
from ubr.entrypoints.http.call import Operation
from ubr.entrypoints.http.openapi.user_fields import describe_fields
from ubr.entrypoints.http.problems.advice import example
from ubr.entrypoints.http.problems.catalogue import Problem, status_of
from ubr.entrypoints.http.problems.rendering import ProblemDetails

Json: TypeAlias = dict[str, Any]

REF: Final = "#/components/schemas/{name}"
_NO_CONTROLS_OF_ASCII: Final = r"^[^\u0000-\u001f]*$"
"""The pattern of a text without other rules: control characters are rejected in every JSON text and query."""
_FIRST: Final = ("type", "items", "enum", "default")
"""The keywords of a type, which precede those of the field's annotation."""


class Schemas:
    """The types in requests and answers, by reference.

    `components` has the schema of each type by its name. This includes queries, although their fields are parameters.
    """

    def __init__(self, operations: Iterable[Operation], user_fields: UserFields = NO_FIELDS) -> None:
        types: list[Any] = [ProblemDetails]
        bodies, queries = set(), set()
        for operation in operations:
            if operation.body is not None:
                bodies.add(operation.body.__name__)
            if operation.query is not None:
                queries.add(operation.query.__name__)
            for type_ in (operation.body, operation.answer, operation.query):
                if type_ is not None and type_ not in types:
                    types.append(type_)
        refs, self.components = msgspec.json.schema_components(types, ref_template=REF)
        self._refs = dict(zip(types, refs, strict=True))
        self._queries = queries - bodies
        self.parameters: Final = describe_fields(self.components, user_fields)
        """The further parameters of queries that search fields of the host, by the name of the query."""
        for name, schema in self.components.items():
            _refine(schema, sent=name in bodies | queries)
            if name in bodies:
                _leave_out_empty_defaults(schema)
            elif name not in queries:
                _require_what_is_sent(schema)
        for name, schema in self.published().items():
            if (made := self._example(name)) is not None:
                schema["examples"] = [made]
        for schema in self.published().values():
            for field in schema.get("properties", {}).values():
                _forget_examples(field)
        details = Problem(Invalid.code, status_of(Invalid), Invalid.title)
        self.components[ProblemDetails.__name__]["examples"] = [example(details)]

    def ref(self, type_: Any) -> Json:
        return dict(self._refs[type_])

    def published(self) -> dict[str, Json]:
        """The components without the queries."""
        return {name: schema for name, schema in self.components.items() if name not in self._queries}

    def _example(self, name: str) -> Json | None:
        """The example of a type, made from its fields; None if a required field has no example."""
        schema = self.components[name]
        made = {}
        for field, member in schema.get("properties", {}).items():
            if "examples" in member:
                made[field] = member["examples"][0]
            elif "$ref" in member and (part := self._example(member["$ref"].rpartition("/")[2])) is not None:
                made[field] = part
            elif field in schema.get("required", ()):
                return None
        return made or None


def member(schema: Json, *, sent: bool) -> Json:
    """The schema of a field, with details that the types lack. `sent` fields are part of a request."""
    schema = {key: schema[key] for key in _FIRST if key in schema} | schema
    _name_the_type(schema)
    if "items" in schema:
        schema["items"] = member(schema["items"], sent=sent)
    if "anyOf" in schema:
        schema["anyOf"] = [member(part, sent=sent) for part in schema["anyOf"]]
    if sent and schema.get("type") == "string" and not {"format", "pattern", "enum"} & schema.keys():
        schema["pattern"] = _NO_CONTROLS_OF_ASCII
    return schema


def _refine(schema: Json, *, sent: bool) -> None:
    _name_the_type(schema)
    if "properties" in schema:
        schema["properties"] = {name: member(field, sent=sent) for name, field in schema["properties"].items()}


def _name_the_type(schema: Json) -> None:
    """Add the type of an enumeration, because some client generators do not derive it from the values."""
    if "enum" in schema and all(isinstance(value, str) for value in schema["enum"]):
        schema["type"] = "string"


def _leave_out_empty_defaults(schema: Json) -> None:
    """Remove defaults that are null or empty: they mean an omitted field, but client generators require the field."""
    for field in schema["properties"].values():
        if field.get("default", "") in (None, []):
            del field["default"]


def _require_what_is_sent(schema: Json) -> None:
    """Make fields with a default required, because an answer always has them."""
    required = schema.get("required", ())
    sent = [name for name, field in schema.get("properties", {}).items() if name in required or "default" in field]
    for name in sent:
        schema["properties"][name].pop("default", None)
    if sent:
        schema["required"] = sent


def _forget_examples(schema: Json) -> None:
    """Remove the examples of fields, because the example of the whole type has them."""
    schema.pop("examples", None)
    for part in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        _forget_examples(part)
