"""The operations of the routes, and their descriptions."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator

from ubr.entrypoints.http import body
from ubr.entrypoints.http.call import Operation
from ubr.entrypoints.http.openapi.parameters import parameters
from ubr.entrypoints.http.openapi.responses import responses
from ubr.entrypoints.http.openapi.schemas import Json, Schemas
from ubr.entrypoints.http.routing import Controller


def operations(controllers: Iterable[type[Controller]]) -> Iterator[tuple[str, str, Operation]]:
    """The path, the method and the operation of every declared route."""
    for controller in controllers:
        for path, route in controller.routes():
            yield path, route.method, route.operation


def described_operation(path: str, method: str, operation: Operation, schemas: Schemas) -> Json:
    """The description of one operation."""
    described: Json = {"operationId": operation.name, "tags": [operation.tag], "summary": operation.summary}
    if text := _description(operation):
        described["description"] = text
    cached = operation.tagged and method == "GET"
    if found := parameters(path, operation, schemas, cached=cached):
        described["parameters"] = found
    if operation.body is not None:
        types = [body.FORM] if operation.form else [body.JSON, body.MERGE_PATCH] if method == "PATCH" else [body.JSON]
        described["requestBody"] = {
            "required": not operation.body_optional,
            "content": {type_: {"schema": schemas.ref(operation.body)} for type_ in types},
        }
    described["responses"] = responses(path, method, operation, schemas, cached=cached)
    if operation.by_cookie:
        described["security"] = [{"cookie": []}]
    elif operation.public:
        described["security"] = [{"key": []}, {}] if operation.form else []
    elif operation.for_programs:
        described["security"] = [{"bearer": []}]
    return described


def _description(operation: Operation) -> str:
    text = inspect.getdoc(operation.use_case) if operation.use_case else None
    # The section on errors is for Python callers. Here the responses describe them.
    return (text or "").split("\n\nErrors:")[0].strip()
