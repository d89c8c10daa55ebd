"""Two workers, a verifier in another process, and many ends: no token is accepted after the answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.verifier.processes import PASSWORD, follower_key, running_beside
from tests.support.plugin import NewDatabase
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, on_postgres, serving

pytestmark = pytest.mark.system

PEOPLE = 4


class Campaign:
    """People who are logged in, lose something, and come back."""

    def __init__(self, ubr: httpx.AsyncClient, notes: httpx.AsyncClient, ends: int) -> None:
        self.ubr = ubr
        self.notes = notes
        self.left = ends
        self.told: Counter[str] = Counter()
        self.answered_in: list[float] = []
        self.admin: dict[str, Any] = {}

    async def log_in(self, email: str, password: str = PASSWORD) -> dict[str, Any]:
        answer = await self.ubr.post("/api/auth/login", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    async def as_admin(self, method: str, path: str, **options: Any) -> None:
        answer = await self.ubr.request(method, path, headers=_bearer(self.admin), **options)
        if answer.status_code == 401:  # it has expired
            self.admin = await self.log_in(ADMIN_EMAIL, ADMIN_PASSWORD)
            answer = await self.ubr.request(method, path, headers=_bearer(self.admin), **options)
        assert answer.is_success, answer.text

    async def prepare(self) -> None:
        self.admin = await self.log_in(ADMIN_EMAIL, ADMIN_PASSWORD)
        await self.as_admin("POST", "/api/roles", json={"name": "editor", "permissions": ["notes:edit"]})
        for number in range(PEOPLE):
            await self.as_admin("POST", "/api/users", json={"email": _email(number), "password": PASSWORD})

    async def status(self, tokens: dict[str, Any]) -> int:
        return (await self.notes.get("/notes", headers=_bearer(tokens))).status_code

    async def person(self, number: int) -> None:
        dice = random.Random(number)  # noqa: S311 - no secret
        tokens = await self.log_in(_email(number))
        while self.left > 0:
            self.left -= 1
            before = await self.status(tokens)
            assert before in {200, 503}, before
            self.told[f"good: {before}"] += 1
            asking = asyncio.create_task(self._keep_asking(tokens))
            tokens, ended = await self._end(tokens, dice, number)
            after = [await self.status(ended) for _ in range(2)]
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            self.told.update(f"ended: {status}" for status in after)

    async def _keep_asking(self, tokens: dict[str, Any]) -> None:
        while True:
            await self.status(tokens)

    async def _end(
        self, tokens: dict[str, Any], dice: random.Random, number: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """End something; new tokens, and those that are good no more."""
        grant = f"/api/users/{tokens['user']['id']}/roles/editor"
        what = dice.choices(["granted", "taken", "logged out"], [4, 4, 1])[0]
        began = time.monotonic()
        if what == "logged out":
            answer = await self.ubr.post("/api/auth/logout", headers=_bearer(tokens))
            assert answer.status_code == 204
            self.answered_in.append(time.monotonic() - began)
            return await self._log_in_again(number, tokens)
        # A grant that is there already, or not there, changes nothing: it is made to be a change.
        held = "editor" in tokens["user"]["roles"]
        await self.as_admin("DELETE" if held else "PUT", grant)
        self.answered_in.append(time.monotonic() - began)
        assert await self.status(tokens) != 200
        answer = await self.ubr.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert answer.status_code == 200, answer.text
        return answer.json(), tokens

    async def _log_in_again(self, number: int, ended: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        assert await self.status(ended) != 200
        return await self.log_in(_email(number)), ended


def _email(number: int) -> str:
    return f"person{number}@example.org"


def _bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {tokens['access_token']}"}


@pytest.mark.parametrize(
    ("short_way", "ends"),
    [
        (True, 15),
        pytest.param(False, 15, marks=pytest.mark.long),
        pytest.param(True, 2_000, marks=pytest.mark.long),
        pytest.param(False, 2_000, marks=pytest.mark.long),
    ],
)
@pytest.mark.system(seconds=15)
async def test_nothing_is_accepted_after_the_answer(
    tmp_path: Path, new_database: NewDatabase, redis_url: str, ends: int, short_way: bool
) -> None:
    environment = on_postgres(new_database(), redis_url if short_way else None, workers=2)
    environment["UBR_PERMISSIONS"] = "notes:edit"
    with serving(tmp_path, environment) as service:
        async with httpx.AsyncClient(base_url=service.url, timeout=20) as ubr:
            preparing = Campaign(ubr, ubr, 0)
            await preparing.prepare()
            key = await asyncio.to_thread(follower_key, service.url, preparing.admin["access_token"])
            with running_beside("fastapi_service", tmp_path, service, key) as url:
                async with httpx.AsyncClient(base_url=url.removesuffix("/notes"), timeout=20) as notes:
                    campaign = Campaign(ubr, notes, ends if short_way or ends > 1_000 else ends // 3)
                    campaign.admin = preparing.admin
                    await asyncio.gather(*(campaign.person(number) for number in range(PEOPLE)))
    taken = sorted(campaign.answered_in)
    print(f"{campaign.told} median {taken[len(taken) // 2]:.3f} s, longest {taken[-1]:.3f} s")  # noqa: T201
    assert campaign.told["ended: 200"] == 0
    assert campaign.told["ended: 401"] >= ends / 4
    assert campaign.told["good: 200"] > 0
