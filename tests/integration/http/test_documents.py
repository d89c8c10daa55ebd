"""The OpenAPI document says what the server does, and the pages about problems say what the document does."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from jsonschema import FormatChecker
from jsonschema.validators import Draft202012Validator

from tests.integration.http.kit import Service, assert_problem
from tests.integration.http.routes import PAGE_PATHS, ROUTES, WITH_BODY, Route
from ubr.application.app import UseCases
from ubr.domain.accounts.passwords import PASSWORD_MIN_LENGTH_FLOOR
from ubr.domain.errors import Conflict, InvalidToken, NotFound, SigningKeyNotFound, UbrError, WeakPassword
from ubr.domain.roles.grant import MAX_ROLES
from ubr.domain.roles.role import MAX_PERMISSIONS
from ubr.entrypoints.http.body import build, parse
from ubr.entrypoints.http.openapi.document import described, document
from ubr.entrypoints.http.problems.advice import ADVICE
from ubr.entrypoints.http.problems.catalogue import Problem, problems, rows, status_of
from ubr.entrypoints.http.problems.pages import ProblemPage, html, markdown
from ubr.settings import Settings, WrongSetting


async def test_every_route_of_the_server_is_described(service: Service) -> None:
    assert service.edge is not None
    served = [route.path_format for route in service.edge.app.routes]
    assert sorted(served) == sorted({route.template for route in ROUTES} | PAGE_PATHS)
    paths = described()["paths"]
    told = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert told == {(route.method, route.template) for route in DESCRIBED}
    assert [route.name for route in ROUTES if route not in DESCRIBED] == ["get_metrics", "get_root", "get_docs_asset"]


DESCRIBED = [route for route in ROUTES if route.operation.described]


def refs(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {value["$ref"]} if "$ref" in value else set().union(*map(refs, value.values()))
    return set().union(*map(refs, value)) if isinstance(value, list) else set()


def test_the_document_is_whole() -> None:
    told = described()
    for ref in refs(told):
        at: Any = told
        for part in ref.removeprefix("#/").split("/"):
            at = at[part]
    operations = [each for methods in told["paths"].values() for each in methods.values()]
    names = [each["operationId"] for each in operations]
    assert len(names) == len(set(names))
    assert {tag for each in operations for tag in each["tags"]} == {tag["name"] for tag in told["tags"]}
    assert document().endswith("}\n")


def test_operations_are_called_what_their_use_cases_are() -> None:
    fields = {field.name for field in dataclasses.fields(UseCases)}
    other = {route.name for route in ROUTES} - fields
    assert other == {
        "list_own_sessions",
        "patch_user",
        "explain_user_login",
        "check_liveness",
        "check_readiness",
        "get_openapi",
        "get_docs",
        "get_docs_asset",
        "get_metrics",
        "get_root",
        "list_problems",
        "get_problem",
    }


@pytest.mark.parametrize("route", DESCRIBED, ids=lambda route: route.name)
def test_an_operation_is_told_in_full(route: Route) -> None:
    told = described()["paths"][route.template][route.method.lower()]
    assert told["summary"]
    assert (told.get("security") == []) == (
        route.operation.public and not route.operation.by_cookie and not route.operation.form
    )
    assert ("requestBody" in told) == (route.operation.body is not None)
    good = [status for status in told["responses"] if status.startswith("2")]
    assert good == [str(route.operation.status), *(["202"] if route.operation.deferred else [])]
    for status, response in told["responses"].items():
        assert response["description"]
        assert {"X-Request-ID", "Cache-Control"} <= set(response["headers"])
        if status >= "400":
            [(media_type, content)] = response["content"].items()
            oauth = route.operation.form and status in {"400", "401"}
            assert media_type == ("application/json" if oauth else "application/problem+json")
            assert content["examples"]
        assert ("WWW-Authenticate" in response["headers"]) == (status == "401")
        assert ("Retry-After" in response["headers"]) == (status in {"429", "503"})
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
        names = {ref.rpartition("/")[2] for ref in new if "/schemas/" in ref} - found
        found |= names
        new = refs([schemas[name] for name in names])
    return {name: schemas[name] for name in found}


def test_fields_that_are_always_sent_are_required() -> None:
    optional = {
        (name, field)
        for name, schema in answered().items()
        for field, member in schema.get("properties", {}).items()
        if field not in schema.get("required", ()) or "default" in member
    }
    # Some are there for bad input alone, or for the login of a machine, others where the question had one.
    assert optional == {
        ("ProblemDetails", "errors"),
        ("ProblemDetails", "error"),
        ("ProblemDetails", "error_description"),
        ("MachineTokenResult", "scope"),
        ("RevocationsResult", "nonce"),
    }


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
        ("CreateUserCommand", "roles", MAX_ROLES),
        ("CreateRoleCommand", "permissions", MAX_PERMISSIONS),
        ("RoleChanges", "permissions", MAX_PERMISSIONS),
    ):
        assert schemas[name]["properties"][field]["maxItems"] == most
    assert "maxItems" not in schemas["RoleResult"]["properties"]["permissions"]


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


def test_a_slug_with_two_statuses_has_two_rows() -> None:
    class Elsewhere(Conflict):
        code = InvalidToken.code
        title = InvalidToken.title

    assert rows([Elsewhere, InvalidToken, SigningKeyNotFound, NotFound]) == [
        Problem("invalid-token", 401, InvalidToken.title),
        Problem("not-found", 404, NotFound.title),
        Problem("invalid-token", 409, InvalidToken.title),
    ]


# --- examples --------------------------------------------------------------------------------------------------------


def examples(told: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every example: where it is, its schema, itself."""
    schemas, named = told["components"]["schemas"], told["components"]["examples"]
    for name, schema in schemas.items():
        for example in schema.get("examples", ()):
            yield name, schema, example
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            for each in operation.get("parameters", ()):
                if "example" in each:
                    yield f"{method} {path} {each['name']}", each["schema"], each["example"]
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    if "example" in content:
                        yield f"{method} {path} {status}", content["schema"], content["example"]
                    for slug, ref in content.get("examples", {}).items():
                        value = named[ref["$ref"].rpartition("/")[2]]["value"]
                        assert (value["status"], value["type"]) == (int(status), f"/problems/{slug}")
                        yield f"{method} {path} {status} {slug}", content["schema"], value


def test_examples_fit_their_schemas() -> None:
    told = described()
    found = list(examples(told))
    assert len(found) > 300
    seen = set()
    for where, schema, example in found:
        if (key := json.dumps([schema, example])) not in seen:
            seen.add(key)
            whole = {**schema, "components": told["components"]}
            errors = list(Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(example))
            assert not errors, (where, errors)


def spoken(which: str) -> list[tuple[Any, dict[str, Any]]]:
    """The types that operations speak in, with the example of each."""
    schemas = described()["components"]["schemas"]
    types = {getattr(route.operation, which) for route in DESCRIBED}
    return [
        (type_, example)
        for type_ in types
        for example in schemas.get(getattr(type_, "__name__", ""), {}).get("examples", ())
    ]


def test_examples_of_bodies_are_taken() -> None:
    found = spoken("body")
    assert {type_ for type_, _ in found} == {route.operation.body for route in ROUTES if route.operation.body}
    for type_, example in found:
        assert build(parse(json.dumps(example).encode()), type_)


def test_examples_of_answers_are_what_is_sent() -> None:
    found = spoken("answer")
    assert len(found) > 6
    for type_, example in found:
        assert json.loads(msgspec.json.encode(msgspec.convert(example, type_))) == example


def test_every_answer_that_is_a_thing_has_an_example() -> None:
    silent = {name for name, schema in answered().items() if "examples" not in schema and schema["type"] == "object"}
    # These are parts of others, or made of others.
    assert {name for name in silent if not name.startswith("Page_")} == {
        "ProblemFlaw",
        "RevocationResult",
        "TargetResult",
    }


def test_a_password_that_is_set_has_the_least_length_that_a_setting_can_ask_for() -> None:
    with pytest.raises(WrongSetting):
        Settings.from_env({"UBR_PASSWORD_MIN_LENGTH": str(PASSWORD_MIN_LENGTH_FLOOR - 1)}, secret=False)
    least = Settings.from_env({"UBR_PASSWORD_MIN_LENGTH": str(PASSWORD_MIN_LENGTH_FLOOR)}, secret=False)
    assert least.password_min_length == PASSWORD_MIN_LENGTH_FLOOR
    schemas = described()["components"]["schemas"]
    assert schemas["RegisterUserCommand"]["properties"]["password"]["minLength"] == PASSWORD_MIN_LENGTH_FLOOR
    assert schemas["LogInCommand"]["properties"]["password"]["minLength"] == 1


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: route.name)
def test_a_password_says_whether_it_is_set(route: Route) -> None:
    """A body whose password can be too weak says how long it has to be, and no other does."""
    assert route.operation.body is not None
    properties = described()["components"]["schemas"][route.operation.body.__name__]["properties"]
    least = {
        part["minLength"]
        for member in properties.values()
        for part in (member, *member.get("anyOf", ()))
        if part.get("format") == "password" and "minLength" in part
    }
    assert (PASSWORD_MIN_LENGTH_FLOOR in least) == (WeakPassword in route.operation.problems)


# --- the pages about problems ----------------------------------------------------------------------------------------


def test_every_problem_has_its_advice() -> None:
    # Tests define errors too, and these are nobody's to explain.
    assert set(ADVICE) == {row.slug for row in problems()}
    for slug, advice in ADVICE.items():
        assert min(len(advice.meaning), len(advice.remedy)) > 20, slug
        assert advice.meaning.endswith(".")
        assert advice.remedy.endswith(".")


async def test_a_problem_has_a_page_at_its_type(service: Service) -> None:
    refused = (await service.client.get("/api/users/me")).json()
    answer = await service.client.get(refused["type"])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert " style=" not in answer.text
    for told in ("unauthenticated", "401", refused["title"], "Remedy", "GET /api/users/me"):
        assert told in answer.text
    assert "GET /health/live" not in answer.text


async def test_there_is_a_page_for_each_and_one_for_all(service: Service) -> None:
    index = await service.client.get("/problems")
    links = re.findall(r'href="(problems/[^"]*)"', index.text)
    assert sorted(links) == sorted(f"problems/{row.slug}" for row in problems())
    for link in set(links):
        answer = await service.client.get(f"/{link}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert 'href="../problems"' in answer.text


async def test_the_names_in_the_list_break_on_a_narrow_screen(service: Service) -> None:
    assert "td { overflow-wrap: anywhere; }" in (await service.client.get("/problems")).text


async def test_there_is_no_page_for_what_is_no_problem(service: Service) -> None:
    for slug in ("nothing", "Invalid-input", "None", "index"):
        assert assert_problem(await service.client.get(f"/problems/{slug}"), 404)["type"] == "/problems/not-found"


def test_a_page_tells_both_statuses_of_a_slug() -> None:
    row = Problem("conflict", 409, "One thing")
    page = ProblemPage("conflict", (row, Problem("conflict", 400, "Another")), ADVICE["conflict"], "Nobody.")
    for text in (html(page), markdown(page)):
        for told in ("409: One thing", "400: Another", '"status": 409', '"status": 400', "Nobody."):
            assert told in text
