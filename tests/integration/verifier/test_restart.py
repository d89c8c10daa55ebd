"""ubr is stopped and started again under a verifier that goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.verifier.processes import FOLLOWER, PASSWORD
from tests.support.service import ADMIN, ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess
from ubr.verifier import Credentials, NotFresh, Refused, Verifier

ENVIRONMENT = {**ADMIN, "UBR_LOG_LEVEL": "warning"}


async def _log_in(ubr: httpx.AsyncClient, email: str, password: str = PASSWORD) -> dict[str, Any]:
    answer = await ubr.post("/api/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


@pytest.mark.long
async def test_what_was_good_and_what_had_ended_stay_so(tmp_path: Path) -> None:
    service = UbrProcess(tmp_path, ENVIRONMENT)
    again: UbrProcess | None = None
    try:
        await asyncio.to_thread(service.wait_until_ready)
        async with httpx.AsyncClient(base_url=service.url, timeout=20) as ubr:
            admin = {"authorization": f"Bearer {(await _log_in(ubr, ADMIN_EMAIL, ADMIN_PASSWORD))['access_token']}"}
            role = {"name": "follower", "permissions": ["revocations:read"]}
            await ubr.post("/api/roles", headers=admin, json=role)
            for email, roles in ((FOLLOWER, ["follower"]), ("reader@example.org", [])):
                user = {"email": email, "password": PASSWORD, "roles": roles}
                await ubr.post("/api/users", headers=admin, json=user)
            kept, ended = [await _log_in(ubr, "reader@example.org") for _ in range(2)]

            async with Verifier(service.url, Credentials(FOLLOWER, PASSWORD), issuer=service.url) as verifier:
                for tokens in (kept, ended):
                    await verifier.verify(tokens["access_token"])
                goodbye = {"authorization": f"Bearer {ended['access_token']}"}
                assert (await ubr.post("/api/auth/logout", headers=goodbye)).status_code == 204
                with pytest.raises(Refused):
                    await verifier.verify(ended["access_token"])

                await asyncio.to_thread(service.stop)
                await asyncio.sleep(1.1)
                for tokens in (kept, ended):
                    with pytest.raises(NotFresh):
                        await verifier.verify(tokens["access_token"])

                again = UbrProcess(tmp_path, ENVIRONMENT, port=service.port)
                await asyncio.to_thread(again.wait_until_ready)
                async with asyncio.timeout(10):
                    while not await _knows(verifier, kept):
                        pass
                with pytest.raises(Refused):
                    await verifier.verify(ended["access_token"])
                goodbye = {"authorization": f"Bearer {kept['access_token']}"}
                assert (await ubr.post("/api/auth/logout", headers=goodbye)).status_code == 204
                with pytest.raises(Refused):
                    await verifier.verify(kept["access_token"])
    finally:
        for each in (service, again):
            if each is not None:
                await asyncio.to_thread(each.stop)


async def _knows(verifier: Verifier, tokens: dict[str, Any]) -> bool:
    try:
        await verifier.verify(tokens["access_token"])
    except NotFresh:  # after a second of waiting
        return False
    return True
