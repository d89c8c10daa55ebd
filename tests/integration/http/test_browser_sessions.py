"""Sessions of browsers: a cookie instead of tokens, with the same rights and the same ends."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.integration.http.kit import (
    ANOTHER_PASSWORD,
    PASSWORD,
    Service,
    assert_problem,
    bearer,
    in_process,
    memory_settings,
)
from ubr.entrypoints.http.app import HttpOptions

EMAIL = "target@example.org"
CLEARED = "__Host-ubr=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure"
ME = "/api/users/me"


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with in_process(memory_settings()) as made:
        await made.register(EMAIL)
        yield made


def cookie_of(answer: httpx.Response) -> str:
    """The value of the cookie that an answer sets."""
    [told] = answer.headers.get_list("set-cookie")
    found = re.fullmatch(
        r"__Host-ubr=(ubr_bs_[A-Za-z0-9_-]{128}); Max-Age=7776000; Path=/; HttpOnly; SameSite=Lax; Secure", told
    )
    assert found is not None, told
    return found[1]


def sent(*values: str, **more: str) -> dict[str, str]:
    """The header of a browser with these cookies."""
    return {"cookie": "; ".join(f"__Host-ubr={value}" for value in values), **more}


async def logged_in(service: Service, password: str = PASSWORD, **headers: str) -> str:
    body = {"email": EMAIL, "password": password}
    answer = await service.client.post("/api/auth/login/browser", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return cookie_of(answer)


async def status(service: Service, *cookies: str) -> int:
    return (await service.client.get(ME, headers=sent(*cookies))).status_code


async def test_a_login_gives_a_cookie_and_no_secret_to_scripts(service: Service) -> None:
    body = {"email": EMAIL, "password": PASSWORD}
    answer = await service.client.post("/api/auth/login/browser", json=body)
    told = answer.json()
    assert told["user"]["email"] == EMAIL
    assert (set(told), told["expires_in"]) == ({"session_id", "expires_in", "user"}, 14 * 24 * 3600)
    assert cookie_of(answer) not in answer.text
    assert answer.headers["cache-control"] == "no-store"


async def test_the_cookie_is_a_login_to_every_route(service: Service) -> None:
    cookie = await logged_in(service)
    me = await service.client.get(ME, headers=sent(cookie))
    assert me.json()["email"] == EMAIL
    assert (me.headers["cache-control"], me.headers["vary"]) == ("no-store", "Cookie")
    assert "set-cookie" not in me.headers
    path = f"/api/users/{me.json()['id']}"
    changed = await service.client.patch(path, headers=sent(cookie), json={"full_name": "Target"})
    assert (changed.status_code, changed.json()["full_name"]) == (200, "Target")
    assert_problem(await service.client.get("/api/users", headers=sent(cookie)), 403)


async def test_it_is_listed_as_a_browser_with_its_device(service: Service) -> None:
    tokens = await service.logged_in(EMAIL)
    await logged_in(service, **{"user-agent": "Browser/1.0"})
    answer = await service.client.get("/api/auth/sessions", headers=bearer(tokens))
    kinds = [(each["kind"], each["user_agent"], each["current"]) for each in answer.json()["items"]]
    assert kinds == [("browser", "Browser/1.0", False), ("tokens", kinds[1][1], True)]


async def test_a_logout_ends_it_and_takes_the_cookie_away(service: Service) -> None:
    cookie = await logged_in(service)
    out = await service.client.post("/api/auth/logout", headers=sent(cookie))
    assert (out.status_code, out.headers["set-cookie"]) == (204, CLEARED)
    for again in (
        await service.client.get(ME, headers=sent(cookie)),
        await service.client.post("/api/auth/logout", headers=sent(cookie)),
    ):
        assert assert_problem(again, 401)["type"] == "/problems/invalid-token"
        assert again.headers["set-cookie"] == CLEARED


async def test_a_value_from_before_a_login_is_never_adopted(service: Service) -> None:
    stranger = await service.register("stranger@example.org")
    body = {"email": stranger["email"], "password": PASSWORD}
    planted = cookie_of(await service.client.post("/api/auth/login/browser", json=body))
    cookie = await logged_in(service, **sent(planted))
    assert cookie != planted
    assert await status(service, planted) == 401  # the browser has left that session, which ends
    assert (await service.client.get(ME, headers=sent(cookie))).json()["email"] == EMAIL


@pytest.mark.parametrize("given", ["", "x", "ubr_bs_" + "A" * 128, "x" * 9_000])
async def test_a_login_overwrites_whatever_was_there(service: Service, given: str) -> None:
    cookie = await logged_in(service, **sent(given))
    assert await status(service, cookie) == 200
    cookie = await logged_in(service, **sent(cookie, given))
    assert await status(service, cookie) == 200


async def test_another_login_ends_the_session_before_it(service: Service) -> None:
    first = await logged_in(service)
    second = await logged_in(service, **sent(first))
    assert [await status(service, each) for each in (first, second)] == [401, 200]
    wrong = await service.client.post(
        "/api/auth/login/browser", json={"email": EMAIL, "password": ANOTHER_PASSWORD}, headers=sent(second)
    )
    assert_problem(wrong, 401)
    assert await status(service, second) == 200


async def test_a_changed_password_changes_the_cookie(service: Service) -> None:
    other, cookie = await logged_in(service), await logged_in(service)
    body = {"current_password": PASSWORD, "new_password": ANOTHER_PASSWORD}
    changed = await service.client.post("/api/auth/password", json=body, headers=sent(cookie))
    assert changed.status_code == 204
    newer = cookie_of(changed)
    assert [await status(service, each) for each in (other, cookie, newer)] == [401, 401, 200]


async def test_a_session_with_tokens_gets_no_cookie_by_a_changed_password(service: Service) -> None:
    tokens = await service.logged_in(EMAIL)
    body = {"current_password": PASSWORD, "new_password": ANOTHER_PASSWORD}
    changed = await service.client.post("/api/auth/password", json=body, headers=bearer(tokens))
    assert (changed.status_code, "set-cookie" in changed.headers) == (204, False)


async def test_a_page_gets_a_token_for_other_services(service: Service) -> None:
    cookie = await logged_in(service)
    answer = await service.client.post("/api/auth/token/browser", headers=sent(cookie))
    told = answer.json()
    assert set(told) == {"access_token", "token_type", "expires_in", "session_id"}
    assert (told["token_type"], told["expires_in"]) == ("Bearer", 600)
    assert (await service.client.get(ME, headers=bearer(told))).json()["email"] == EMAIL
    # It is not exchanged for another one, alone or with the cookie.
    for headers in (bearer(told), {**bearer(told), **sent(cookie)}, {}):
        assert_problem(await service.client.post("/api/auth/token/browser", headers=headers), 401)
    await service.client.post("/api/auth/logout", headers=sent(cookie))
    assert_problem(await service.client.get(ME, headers=bearer(told)), 401)
    assert_problem(await service.client.post("/api/auth/token/browser", headers=sent(cookie)), 401)


@pytest.mark.parametrize("wrong", ["Bearer forged", "Basic dGFyZ2V0", "Bearer", ""])
async def test_a_good_cookie_does_not_rescue_a_bad_token(service: Service, wrong: str) -> None:
    cookie = await logged_in(service)
    answer = await service.client.get(ME, headers=sent(cookie, authorization=wrong))
    assert_problem(answer, 401)
    assert "set-cookie" not in answer.headers


async def test_a_good_token_makes_the_cookie_irrelevant(service: Service) -> None:
    tokens, cookie = await service.logged_in(EMAIL), await logged_in(service)
    for other in (cookie, "forged"):
        # Not even a page of another origin is asked for its origin: its token is not a thing that browsers send.
        headers = sent(other, **bearer(tokens), **{"sec-fetch-site": "cross-site", "origin": "https://evil.example"})
        answer = await service.client.patch(f"/api/users/{tokens['user']['id']}", headers=headers, json={})
        assert (answer.status_code, answer.headers.get("vary")) == (200, None)
    await service.client.post("/api/auth/logout", headers=sent(cookie, **bearer(tokens)))
    assert await status(service, cookie) == 200


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "ubr_bs_",
        "ubr_bs_" + "A" * 128,
        "ubr_bs_" + "A" * 127,
        '"{}"',
        "{}=",
        "{}x",
        "x{}",
        "\xe9",
        "x" * 9_000,
    ],
)
async def test_a_malformed_value_is_refused_and_taken_away(service: Service, value: str) -> None:
    cookie = await logged_in(service)
    headers: Any = {"cookie": f"__Host-ubr={value.format(cookie)}".encode("latin-1")}
    answer = await service.client.get(ME, headers=headers)
    assert assert_problem(answer, 401)["type"] == "/problems/invalid-token"
    assert answer.headers["set-cookie"] == CLEARED


async def test_every_changed_character_makes_it_invalid(service: Service) -> None:
    cookie = await logged_in(service)
    for at in range(len(cookie)):
        other = "B" if cookie[at] == "A" else "A"
        assert await status(service, cookie[:at] + other + cookie[at + 1 :]) == 401, at
    assert await status(service, cookie) == 200


async def test_two_cookies_are_refused_even_if_one_is_good(service: Service) -> None:
    cookie = await logged_in(service)
    for pair in ([cookie, cookie], [cookie, "x"], ["x", cookie]):
        answer = await service.client.get(ME, headers=sent(*pair))
        assert_problem(answer, 401)
        assert answer.headers["set-cookie"] == CLEARED


@pytest.mark.parametrize(
    "fields",
    [
        ["a=b; __Host-ubr={}"],
        ["__Host-ubr={}; a=b"],
        ["a; ;; \t__Host-ubr={}\t;=c"],
        ["a=b", "__Host-ubr={}"],
    ],
)
async def test_other_cookies_do_not_matter(service: Service, fields: list[str]) -> None:
    cookie = await logged_in(service)
    headers: Any = [("cookie", field.format(cookie)) for field in fields]
    assert (await service.client.get(ME, headers=headers)).status_code == 200


@pytest.mark.parametrize("name", ["__host-ubr", "__Host-ubr ", "ubr", "ubr-dev", "__Host-ubr-x", "x__Host-ubr", ""])
async def test_other_names_are_no_login(service: Service, name: str) -> None:
    cookie = await logged_in(service)
    answer = await service.client.get(ME, headers={"cookie": f"{name}={cookie}"})
    assert assert_problem(answer, 401)["type"] == "/problems/unauthenticated"


async def test_verifiers_need_a_token(service: Service) -> None:
    body = {"email": "admin@example.org", "password": PASSWORD}
    cookie = cookie_of(await service.client.post("/api/auth/login/browser", json=body))
    for method in ("GET", "DELETE"):
        path = "/api/revocations?verifier=01926e5c-7b0e-4f3a-9c55-0d2f6f1c8a10"
        assert_problem(await service.client.request(method, path, headers=sent(cookie)), 401)


async def test_without_tls_the_cookie_has_another_name() -> None:
    options = HttpOptions(public_url="http://localhost:8000")
    async with in_process(memory_settings(), options) as service:
        await service.register(EMAIL)
        body = {"email": EMAIL, "password": PASSWORD}
        answer = await service.client.post("/api/auth/login/browser", json=body)
        told = answer.headers["set-cookie"]
        assert re.fullmatch(r"ubr-dev=ubr_bs_\S{128}; Max-Age=7776000; Path=/; HttpOnly; SameSite=Lax", told)
        pair = told.partition(";")[0]
        assert (await service.client.get(ME, headers={"cookie": pair})).status_code == 200
        other = pair.replace("ubr-dev", "__Host-ubr")
        assert (await service.client.get(ME, headers={"cookie": other})).status_code == 401


async def test_the_log_says_how_one_logged_in(service: Service) -> None:
    assert service.ubr is not None
    await service.logged_in(EMAIL)
    cookie = await logged_in(service)
    await service.client.post("/api/auth/logout", headers=sent(cookie))
    admin = await service.admin()
    entries = (await service.client.get("/api/logs", headers=admin)).json()["items"]
    told = [(each["action"], each["data"].get("kind"), each["data"].get("cause")) for each in entries]
    assert told[1:4] == [
        ("session.revoked", None, "log_out"),
        ("session.opened", "browser", None),
        ("session.opened", "tokens", None),
    ]
    assert all(cookie not in str(entry) for entry in entries)
