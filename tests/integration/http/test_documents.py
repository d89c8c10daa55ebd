"""The OpenAPI document says what the server does, and the page says what the document does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar.routes import HTTPRoute

from tests.integration.http.kit import Service
from tests.integration.http.routes import ROUTES, Route
from ubr.application.app import Application
from ubr.domain.errors import UbrError
from ubr.domain.role import MOST_PERMISSIONS
from ubr.domain.user import MOST_ROLES
from ubr.entrypoints.http.document import described, document
from ubr.entrypoints.http.problem import problems, status_of


async def test_every_route_of_the_server_is_described(service: Service) -> None:
    assert service.edge is not None
    served = {
        (method, route.path_format)
        for route in service.edge.app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    }
    assert served == {(route.method, route.template) for route in ROUTES}
    paths = described()["paths"]
    assert served == {(method.upper(), path) for path, methods in paths.items() for method in methods}


def refs(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {value["$ref"]} if "$ref" in value else set().union(*map(refs, value.values()))
    return set().union(*map(refs, value)) if isinstance(value, list) else set()


def test_the_document_is_whole() -> None:
    told = described()
    schemas = told["components"]["schemas"]
    assert {ref.rpartition("/")[2] for ref in refs(told)} <= set(schemas)
    operations = [each for methods in told["paths"].values() for each in methods.values()]
    names = [each["operationId"] for each in operations]
    assert len(names) == len(set(names))
    assert {tag for each in operations for tag in each["tags"]} == {tag["name"] for tag in told["tags"]}
    assert document().endswith("}\n")


def test_operations_are_called_what_their_use_cases_are() -> None:
    fields = set(Application.__annotations__)
    other = {route.name for route in ROUTES} - fields
    assert other == {
        "list_own_sessions",
        "get_me",
        "patch_user",
        "check_liveness",
        "check_readiness",
        "get_openapi",
        "get_docs",
        "get_reset_password_page",
        "get_verify_email_page",
        "get_undo_email_page",
        "get_page_script",
        "get_page_style",
    }


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_an_operation_is_told_in_full(route: Route) -> None:
    told = described()["paths"][route.template][route.method.lower()]
    assert told["summary"]
    assert (told.get("security") == []) == route.operation.public
    assert ("requestBody" in told) == (route.operation.body is not None)
    assert len([status for status in told["responses"] if status.startswith("2")]) == 1
    for status, response in told["responses"].items():
        assert response["description"]
        if status >= "400":
            assert list(response["content"]) == ["application/problem+json"]
    if not route.operation.public:
        assert {"401", "403"} <= set(told["responses"])
    named = {each["name"] for each in told.get("parameters", ()) if each["in"] == "path"}
    assert named == set(re.findall(r"{(\w+)}", route.template))


def test_bodies_take_no_more_than_their_fields() -> None:
    schemas = described()["components"]["schemas"]
    for route in ROUTES:
        if route.operation.body is not None:
            assert schemas[route.operation.body.__name__]["additionalProperties"] is False
            assert schemas[route.operation.body.__name__]["examples"]


def answered() -> dict[str, Any]:
    """Every schema that an answer can be made of."""
    told = described()
    schemas: dict[str, Any] = told["components"]["schemas"]
    found: set[str] = set()
    new = refs([each["responses"] for methods in told["paths"].values() for each in methods.values()])
    while new:
        names = {ref.rpartition("/")[2] for ref in new} - found
        found |= names
        new = refs([schemas[name] for name in names])
    return {name: schemas[name] for name in found}


def test_what_is_always_sent_is_required() -> None:
    optional = {
        (name, field)
        for name, schema in answered().items()
        for field, member in schema.get("properties", {}).items()
        if field not in schema.get("required", ()) or "default" in member
    }
    assert optional == {("ProblemDetails", "errors")}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/users", {"limit": (1, 200)}),
        ("/api/logs", {"limit": (1, 200)}),
        ("/api/revocations", {"since": (0, 2**63 - 1), "wait": (0, 300)}),
    ],
)
def test_numbers_in_queries_say_their_range(path: str, expected: dict[str, tuple[int, int]]) -> None:
    parameters = described()["paths"][path]["get"]["parameters"]
    numbers = {each["name"]: each["schema"] for each in parameters if each["schema"].get("type") == "integer"}
    assert {name: (each["minimum"], each["maximum"]) for name, each in numbers.items()} == expected


def texts(value: Any) -> Iterator[str]:
    """Everything in the document that is written for people."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name in {"description", "summary"} and isinstance(member, str):
                yield member
            else:
                yield from texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from texts(member)


PYTHON = re.compile(r"\b(None|True|False|repr|Python|tuple|dict|JSON texts?)\b|Errors:|`[A-Z][a-z]+[A-Z]\w*`|__")


def test_nothing_that_is_published_speaks_of_python() -> None:
    published = list(texts(described()))
    assert len(published) > 100
    assert [text for text in published if PYTHON.search(text)] == []


def test_lists_in_bodies_say_how_long_they_may_be() -> None:
    schemas = described()["components"]["schemas"]
    for name, field, most in (
        ("CreateUserCommand", "roles", MOST_ROLES),
        ("CreateRoleCommand", "permissions", MOST_PERMISSIONS),
        ("RoleChanges", "permissions", MOST_PERMISSIONS),
    ):
        assert schemas[name]["properties"][field]["maxItems"] == most
    assert "maxItems" not in schemas["RoleResult"]["properties"]["permissions"]


async def test_the_page_loads_nothing(service: Service) -> None:
    answer = await service.client.get("/api/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in answer.text
    assert re.findall(r'(?:src|href)="([^"]*)"', answer.text) == ["/api/openapi.json"]
    for route in ROUTES:
        assert f'id="{route.name}"' in answer.text
    style = answer.text.partition("<style>")[2].partition("</style>")[0]
    assert " style=" not in answer.text
    assert style
    assert "'unsafe-inline'" not in answer.headers["content-security-policy"]


def test_every_problem_is_in_the_table() -> None:
    found = {problem.slug: problem for problem in problems()}
    for slug, status in (
        ("invalid-input", 400),
        ("invalid-credentials", 401),
        ("wrong-password", 403),
        ("user-not-found", 404),
        ("method-not-allowed", 405),
        ("last-admin", 409),
        ("precondition-failed", 412),
        ("body-too-large", 413),
        ("unsupported-media-type", 415),
        ("rate-limited", 429),
        ("internal-error", 500),
        ("busy", 503),
    ):
        assert found[slug].status == status
    assert all(problem.title for problem in found.values())
    used = {error for route in ROUTES for error in route.operation.problems}
    assert {error.code for error in used} <= set(found)
    assert all(isinstance(status_of(error), int) and issubclass(error, UbrError) for error in used)
