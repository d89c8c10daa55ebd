"""Passwords guessed at four real workers: exactly as many are looked at as the limit says, and nobody is shut out."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.plugin import NewDatabase, PrivateRedis
from tests.support.servers import RedisServer
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, on_postgres, serving

pytestmark = pytest.mark.long

PASSWORD, WRONG = "a long enough password", "another long password"
LIMIT = 10
GUESSES = 500
HOME, ELSEWHERE = "192.0.2.1", "203.0.113.1"


@dataclass(frozen=True)
class Site:
    """Four workers, and the Redis they count in."""

    service: UbrProcess
    redis: RedisServer
    client: httpx.AsyncClient

    async def register(self, email: str) -> None:
        body = {"email": email, "password": PASSWORD}
        answer = await self.client.post("/api/auth/register", json=body, headers={"x-forwarded-for": email_ip(email)})
        assert answer.status_code == 201, answer.text

    async def log_in(self, email: str, password: str, ip: str) -> httpx.Response:
        body = {"email": email, "password": password}
        return await self.client.post("/api/auth/login", json=body, headers={"x-forwarded-for": ip})

    async def guess(self, email: str, times: int) -> list[httpx.Response]:
        """At once, each from another address."""
        tries = (self.log_in(email, WRONG, f"198.18.{number // 250}.{number % 250}") for number in range(times))
        return await asyncio.gather(*tries)

    async def failures(self) -> int:
        """How many logins failed with a password that was looked at."""
        tokens = (await self.log_in(ADMIN_EMAIL, ADMIN_PASSWORD, HOME)).json()
        headers = {"authorization": f"Bearer {tokens['access_token']}"}
        found, cursor = 0, ""
        while True:
            path = f"/api/logs?action=session.login_failed&limit=200{cursor}"
            page: dict[str, Any] = (await self.client.get(path, headers=headers)).json()
            found += len(page["items"])
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"


def email_ip(email: str) -> str:
    """Somewhere for each to register from."""
    return f"198.51.100.{sum(email.encode()) % 250}"


@pytest.fixture
def running(tmp_path: Path, new_database: NewDatabase, private_redis: PrivateRedis) -> Iterator[tuple[UbrProcess, Any]]:
    redis = private_redis()
    environment = {
        **on_postgres(new_database(migrated=False), redis.url(), workers=4),
        "UBR_LOGIN_RATE_LIMIT": f"{LIMIT}/hour,1000/hour",
        "UBR_TRUSTED_PROXIES": "127.0.0.1",
    }
    with serving(tmp_path, environment) as service:
        yield service, redis


@asynccontextmanager
async def site_of(running: tuple[UbrProcess, Any]) -> AsyncIterator[Site]:
    service, redis = running
    # Every request has a connection of its own, so that any worker may be the one to answer it.
    alone = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=service.url, timeout=120, limits=alone) as client:
        yield Site(service, redis, client)


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize("redis", ["there", "killed"])
async def test_exactly_the_limit_of_500_concurrent_guesses_is_verified(running: Any, redis: str) -> None:
    async with site_of(running) as site:
        for email in ("one@example.org", "two@example.org"):
            await site.register(email)
        if redis == "killed":
            site.redis.kill()
        known = await site.log_in("one@example.org", PASSWORD, HOME)
        assert known.status_code == 200
        for number, email in enumerate(("one@example.org", "two@example.org", "nobody@example.org"), 1):
            answers = await site.guess(email, GUESSES)
            assert statuses(answers) == {401: LIMIT, 429: GUESSES - LIMIT}
            for answer in answers:
                if answer.status_code == 429:
                    assert 3500 < int(answer.headers["retry-after"]) <= 3600
            assert (await site.log_in(email, PASSWORD, ELSEWHERE)).status_code == 429
            assert await site.failures() == number * LIMIT
        again = await site.log_in("one@example.org", PASSWORD, HOME)
        assert again.status_code == 200


@pytest.mark.parametrize("redis", ["there", "killed"])
async def test_right_ones_at_once_all_succeed(running: Any, redis: str) -> None:
    async with site_of(running) as site:
        await site.register("one@example.org")
        if redis == "killed":
            site.redis.kill()
        for ip in (HOME, ELSEWHERE, None):
            began = time.monotonic()
            ips = [ip or f"198.18.1.{number}" for number in range(50)]
            answers = await asyncio.gather(*(site.log_in("one@example.org", PASSWORD, each) for each in ips))
            print(f"50 right ones from {ip or 'everywhere'}: {time.monotonic() - began:.2f} s")  # noqa: T201
            assert statuses(list(answers)) == {200: 50}


async def test_the_owner_signs_in_while_a_stranger_guesses(running: Any) -> None:
    async with site_of(running) as site:
        await site.register("one@example.org")
        assert (await site.log_in("one@example.org", PASSWORD, HOME)).status_code == 200
        guessing = asyncio.create_task(site.guess("one@example.org", GUESSES))
        while not guessing.done():
            assert (await site.log_in("one@example.org", PASSWORD, HOME)).status_code == 200
        assert statuses(await guessing) == {401: LIMIT, 429: GUESSES - LIMIT}
