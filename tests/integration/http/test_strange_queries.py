"""Parameters that somebody adds to a URL: mail programs, people, probes and caches."""

from __future__ import annotations

import pytest

from tests.integration.http.kit import Service, assert_problem
from tests.integration.http.routes import BY_NAME, ROUTES, Route

LENIENT_OR_ROOT = [route for route in ROUTES if not route.operation.strict]
LENIENT = [route for route in LENIENT_OR_ROOT if route.name not in {"get_metrics", "get_root"}]
STRICT = [route for route in ROUTES if route.operation.strict]
ADDED = ("utm_source=mail", "fbclid=1&fbclid=2", "v=1", "x=%zz", "%ff", "=&&", "probe=1&x=%00")


def test_the_routes_that_ignore_parameters() -> None:
    assert {route.name for route in LENIENT_OR_ROOT} == {
        "check_liveness",
        "check_readiness",
        "get_docs",
        "get_docs_asset",
        "get_metrics",
        "get_openapi",
        "get_problem",
        "get_public_keys",
        "get_root",
        "list_problems",
    }
    assert all(route.method == "GET" and route.operation.public for route in LENIENT_OR_ROOT)
    assert all(route.template.startswith("/api/") for route in STRICT)


@pytest.mark.parametrize("route", LENIENT, ids=lambda route: route.name)
async def test_a_page_or_document_ignores_what_somebody_added(standing: Service, route: Route) -> None:
    plain = await standing.client.get(route.path())
    assert plain.status_code == 200
    for query in ADDED:
        answer = await standing.client.get(f"{route.path()}?{query}")
        assert (answer.status_code, answer.content) == (200, plain.content), query


@pytest.mark.parametrize("name", ["list_users", "list_logs", "get_me", "list_own_sessions"])
async def test_the_interface_for_programs_refuses_them(service: Service, name: str) -> None:
    admin = await service.admin()
    for query in ADDED:
        assert_problem(await service.client.get(f"{BY_NAME[name].path()}?{query}", headers=admin), 400)
