"""The list of keys over HTTP, while keys come and go under a service that runs."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.integration.http.kit import Service, assert_problem, bearer
from ubr.application.keys.revoke_signing_key import RevokeSigningKeyCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import StoreUnavailable
from ubr.domain.keys.signing_key import JWKS_CACHE, NOTICE, OVERLAP


async def ask(service: Service, etag: str | None = None) -> httpx.Response:
    headers = {} if etag is None else {"if-none-match": etag}
    answer = await service.client.get("/.well-known/jwks.json", headers=headers)
    assert answer.headers["cache-control"] == f"public, max-age={JWKS_CACHE.seconds}"
    return answer


def kids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return [key["kid"] for key in json.loads(answer.content)["keys"]]


async def test_a_client_that_sends_no_cache_gets_no_earlier_answer(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.ubr is not None
    keys = service.ubr.get_public_keys.keys
    await keys.ensure_recent()

    async def out_of_reach() -> None:
        raise StoreUnavailable

    monkeypatch.setattr(keys, "ensure_recent", out_of_reach)
    for asked, status in (("max-age=0", 200), ("no-cache", 503), ("No-Store, NO-CACHE", 503)):
        answer = await service.client.get("/.well-known/jwks.json", headers={"cache-control": asked})
        assert answer.status_code == status


async def test_the_list_changes_with_the_keys_and_not_otherwise(each_service: Service) -> None:
    service = each_service
    assert service.ubr is not None
    assert service.clock is not None
    first = await ask(service)
    [old] = kids(first)
    assert (await ask(service, first.headers["etag"])).status_code == 304

    service.clock.move(seconds=1)
    new = (await service.ubr.rotate_signing_key(actor=SYSTEM)).kid
    second = await ask(service, first.headers["etag"])
    assert kids(second) == [new, old]
    for span in (NOTICE, OVERLAP):
        unchanged = await ask(service, second.headers["etag"])
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        service.clock.move(seconds=span.total_seconds())
    third = await ask(service, second.headers["etag"])
    assert kids(third) == [new]
    assert len({answer.headers["etag"] for answer in (first, second, third)}) == 3


async def test_a_token_of_a_revoked_key_is_refused(each_service: Service) -> None:
    service = each_service
    assert service.ubr is not None
    await service.register("member@example.org")
    tokens = await service.logged_in("member@example.org")
    assert (await service.client.get("/api/users/me", headers=bearer(tokens))).status_code == 200
    before = await ask(service)
    [old] = kids(before)
    await service.ubr.revoke_signing_key(RevokeSigningKeyCommand(kid=old), actor=SYSTEM)
    answer = await service.client.get("/api/users/me", headers=bearer(tokens))
    assert assert_problem(answer, 401)["type"] == "/problems/invalid-token"
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert old not in kids(await ask(service, before.headers["etag"]))
    again = await service.client.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert again.status_code == 200
    assert (await service.client.get("/api/users/me", headers=bearer(again.json()))).status_code == 200
