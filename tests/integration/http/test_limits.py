"""What is counted, as a client sees it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.integration.http.kit import ANOTHER_PASSWORD, PASSWORD, Service, in_process, memory_settings
from tests.support.lines import capture_logs
from tests.support.races import rounds
from ubr.entrypoints.http.app import HttpOptions
from ubr.settings import Limit, LoginRateLimit, TrustedProxies
from ubr.settings.groups.network import parse_proxies

MINUTE = timedelta(minutes=1)
LOG_IN = "/api/auth/login"


def settings(account: int = 10, per_ip: int = 100) -> Any:
    return memory_settings(login_rate_limit=LoginRateLimit(Limit(account, MINUTE), Limit(per_ip, MINUTE)))


async def guess(service: Service, email: str, password: str = ANOTHER_PASSWORD, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.client.post(LOG_IN, json={"email": email, "password": password}, headers=sent)


def told(answer: httpx.Response) -> tuple[str | None, str | None]:
    return answer.headers.get("ratelimit-policy"), answer.headers.get("ratelimit")


async def test_existing_and_unknown_accounts_have_the_same_limits() -> None:
    said = []
    for email in ("somebody@example.org", "nobody@example.org"):
        async with in_process(settings()) as service:
            await service.register("somebody@example.org")
            answers = [await guess(service, email, x_request_id="one") for _ in range(12)]
            said.append([(answer.status_code, answer.headers.multi_items(), answer.content) for answer in answers])
    assert said[0] == said[1]
    assert [status for status, _, _ in said[0]] == [401] * 10 + [429] * 2


@rounds(200, 1000)
async def test_however_many_addresses_one_peer_forges_it_is_one_client(rounds: int) -> None:
    async with in_process(settings()) as service:
        answers = [
            await guess(service, f"user{number}@example.org", X_Forwarded_For=f"10.{number // 250}.{number % 250}.1")
            for number in range(rounds)
        ]
        assert [answer.status_code for answer in answers] == [401] * 100 + [429] * (rounds - 100)


@pytest.mark.parametrize(
    ("trusted", "field", "warned"),
    [
        ((), "192.0.2.1", True),
        (parse_proxies("10.0.0.0/8"), "192.0.2.1", True),
        ((), None, False),
        (parse_proxies("127.0.0.0/8"), "192.0.2.1", False),
        (1, "192.0.2.1", False),
    ],
)
async def test_clients_reported_by_an_unknown_proxy_are_a_warning(
    trusted: TrustedProxies, field: str | None, warned: bool
) -> None:
    async with in_process(settings(), HttpOptions(trusted_proxies=trusted)) as service:
        with capture_logs() as lines:
            for _ in range(3):
                await guess(service, "nobody@example.org", **({} if field is None else {"X_Forwarded_For": field}))
    warnings = [line["event"] for line in lines if line["level"] == "warning"]
    assert len(warnings) == (1 if warned else 0)
    assert all("UBR_TRUSTED_PROXIES" in warning for warning in warnings)


async def test_behind_a_trusted_proxy_each_client_has_a_limit_of_its_own() -> None:
    async with in_process(settings(per_ip=3), HttpOptions(trusted_proxies=1)) as service:
        for number in range(3):
            for _ in range(3):
                answer = await guess(service, "nobody@example.org", X_Forwarded_For=f"192.0.2.{number}")
                assert answer.status_code == 401
            answer = await guess(service, "nobody@example.org", X_Forwarded_For=f"192.0.2.{number}")
            assert answer.status_code == 429
        networks = [f"2001:db8::{number:x}" for number in range(1, 5)]
        answers = [await guess(service, "other@example.org", X_Forwarded_For=ip) for ip in networks]
        assert [answer.status_code for answer in answers] == [401] * 3 + [429]


async def test_every_answer_tells_a_client_its_own_limit() -> None:
    policy = '"login-ip";q=4;w=60'
    async with in_process(settings(account=2, per_ip=4)) as service:
        await service.register("somebody@example.org")
        right = await guess(service, "somebody@example.org", PASSWORD)
        assert (right.status_code, *told(right)) == (200, policy, '"login-ip";r=4;t=0')
        wrong = [await guess(service, "somebody@example.org") for _ in range(3)]
        assert [answer.status_code for answer in wrong] == [401, 401, 429]
        left = [f'"login-ip";r={3 - number};t={15 + 15 * number}' for number in range(3)]
        assert [told(answer) for answer in wrong] == [(policy, each) for each in left]
        # That was the account's limit, of which only how long to wait is told. The next is the client's own.
        assert wrong[-1].headers["retry-after"] == "60"
        await guess(service, "nobody@example.org")
        beyond = await guess(service, "nobody@example.org")
        assert (beyond.status_code, beyond.headers["retry-after"]) == (429, "15")
        assert told(beyond) == (policy, '"login-ip";r=0;t=15')
        assert beyond.headers["cache-control"] == "no-store"
        service.clock.move(seconds=15)  # type: ignore[union-attr]
        assert (await guess(service, "nobody@example.org")).status_code == 401


async def test_what_is_not_counted_tells_nothing() -> None:
    async with in_process(settings()) as service:
        admin = await service.admin()
        for answer in (
            await service.client.get("/api/users/me", headers=admin),
            await service.client.get("/health/live"),
            await service.client.post(LOG_IN, json={"email": "no e-mail", "password": "x"}),
            await service.client.post(LOG_IN, content=b"{"),
        ):
            assert told(answer) == (None, None)
    async with in_process(memory_settings()) as service:
        assert told(await guess(service, "nobody@example.org")) == (None, None)


async def test_registrations_and_refreshes_are_limited_too() -> None:
    async with in_process(settings()) as service:
        first = await service.client.post("/api/auth/register", json={"email": "one@example.org", "password": PASSWORD})
        # An e-mail that has to be verified is mailed to.
        policies = '"register-ip";q=60;w=3600, "mail-ip";q=30;w=3600'
        left = '"register-ip";r=59;t=60, "mail-ip";r=29;t=120'
        assert (first.status_code, *told(first)) == (201, policies, left)
        tokens = await service.logged_in("one@example.org")
        bad = [
            await service.client.post("/api/auth/refresh", json={"refresh_token": f"no token {number}"})
            for number in range(101)
        ]
        assert [answer.status_code for answer in bad] == [401] * 100 + [429]
        assert told(bad[-1]) == ('"refresh-ip";q=100;w=60', '"refresh-ip";r=0;t=1')
        assert bad[-1].headers["retry-after"] == "1"
        good = await service.client.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert (good.status_code, *told(good)) == (200, None, None)


async def test_a_changed_password_is_behind_the_same_guard() -> None:
    async with in_process(settings(account=3)) as service:
        await service.register("somebody@example.org")
        token = (await service.logged_in("somebody@example.org"))["access_token"]
        body = {"current_password": ANOTHER_PASSWORD, "new_password": "a third long password"}
        headers = {"authorization": f"Bearer {token}"}
        answers = [await service.client.post("/api/auth/password", json=body, headers=headers) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [403] * 3 + [429]
        assert (await guess(service, "somebody@example.org", PASSWORD)).status_code == 429


@pytest.mark.parametrize("name", ["register", "log_in", "change_password"])
async def test_the_document_tells_what_is_counted(service: Service, name: str) -> None:
    document = (await service.client.get("/api/openapi.json")).json()
    operations = [each for path in document["paths"].values() for each in path.values()]
    wanted = {"register": "register_user"}.get(name, name)
    [operation] = [each for each in operations if each["operationId"] == wanted]
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= set(operation["responses"]["429"]["headers"])
    success = next(said for status, said in operation["responses"].items() if status.startswith("2"))
    assert {"RateLimit", "RateLimit-Policy"} <= set(success["headers"])
    assert re.search("wrong|60 registrations", operation["description"], re.IGNORECASE)
