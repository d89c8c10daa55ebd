"""`GET /api/users?q=…`: what is found, what is refused, and that a cursor is good for its own search alone."""

from urllib.parse import quote

import pytest

from tests.integration.http.kit import ADMIN, Service, assert_problem, bearer

pytestmark = pytest.mark.anyio


async def found(service: Service, query: str) -> list[str]:
    """The e-mails, page by page."""
    admin, url, emails = await service.admin(), f"/api/users?{query}", []
    while url:
        answer = await service.client.get(url, headers=admin)
        assert answer.status_code == 200, answer.text
        emails += [item["email"] for item in answer.json()["items"]]
        url = answer.links["next"]["url"] if "next" in answer.links else ""
    return emails


async def test_the_beginning_of_an_email_or_a_name(each_service: Service) -> None:
    admin = await each_service.admin()
    people = [("Ada@Example.org", "Grace Hopper"), ("grace@example.org", "Ada Lovelace"), ("a_b@example.org", "100 %")]
    for email, full_name in people:
        made = await each_service.client.post(
            "/api/users", json={"email": email, "full_name": full_name}, headers=admin
        )
        assert made.status_code == 201
    assert await found(each_service, "q=ada&sort=email&limit=1") == ["Ada@Example.org", "grace@example.org"]
    assert await found(each_service, "q=ADA+L") == ["grace@example.org"]
    assert await found(each_service, "q=a&sort=-email&limit=2&role=user&status=active") == [
        "grace@example.org",
        ADMIN,
        "Ada@Example.org",
        "a_b@example.org",
    ]
    assert await found(each_service, "q=a&role=admin") == [ADMIN]
    assert await found(each_service, "q=a&status=disabled") == []
    assert await found(each_service, "q=a_") == ["a_b@example.org"]
    for query in ("%25", "_", "*", "100+%25%25", "example.org", "a%27"):
        assert await found(each_service, f"q={query}") == []
    assert await found(each_service, "q=100+%25") == ["a_b@example.org"]


@pytest.mark.parametrize("q", ["", " ", "x" * 255, "a\x00", "a\x1f", "a\x7f", "a\x85", "\n"])
async def test_an_invalid_prefix_is_refused(service: Service, q: str) -> None:
    answer = await service.client.get(f"/api/users?q={quote(q)}", headers=await service.admin())
    assert [flaw["pointer"] for flaw in assert_problem(answer, 400)["errors"]] == ["/q"]


async def test_the_longest_allowed_prefix_is_accepted(service: Service) -> None:
    for q in ("x" * 254, "\ufdfa" * 254, "\U0010ffff" * 254, "@", "a@é.@", "%_*"):
        assert await found(service, f"q={quote(q)}") == []


async def test_a_cursor_is_good_for_its_own_search_alone(service: Service) -> None:
    for number in range(3):
        await service.register(f"ada{number}@example.org")
    admin = await service.admin()
    page = await service.client.get("/api/users?q=ada&limit=1", headers=admin)
    cursor = page.json()["next_cursor"]
    for query in ("q=ad", "q=ada0", "", "q=ada&sort=email", "q=ada&role=user", "q=ada&status=active"):
        other = await service.client.get(f"/api/users?limit=1&cursor={cursor}&{query}".rstrip("&"), headers=admin)
        assert assert_problem(other, 400)["type"] == "/problems/invalid-cursor"
    same = await service.client.get(f"/api/users?q=ADA&limit=1&cursor={cursor}", headers=admin)
    assert [item["email"] for item in same.json()["items"]] == ["ada1@example.org"]


async def test_it_is_for_those_who_may_read_users(service: Service) -> None:
    await service.register("somebody@example.org")
    somebody = bearer(await service.logged_in("somebody@example.org"))
    assert_problem(await service.client.get("/api/users?q=some", headers=somebody), 403)
    assert_problem(await service.client.get("/api/users?q=some"), 401)
