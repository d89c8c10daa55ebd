"""Over HTTP: what shows that the log is the one that was written, and what became of requests that were turned away."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import httpx
import pytest

from tests.integration.http.kit import ADMIN, PASSWORD, UNKNOWN, Service, assert_problem, bearer, memory_settings
from tests.support import notes
from tests.unit.audit.test_checkpoints import led_to
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.app import Application
from ubr.application.audit.denials import DenialRecorder
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.bootstrap import open_environment
from ubr.bootstrap.memory import MemoryContainer
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Busy, RateLimited, StoreUnavailable
from ubr.entrypoints.http.app import HttpOptions, create_app
from ubr.testing import MovableClock

JSON = {"content-type": "application/json"}
CHECKPOINT = "/api/logs/checkpoint"


async def key_of(service: Service) -> str:
    assert service.ubr is not None
    return (await service.ubr.list_log_keys(actor=SYSTEM))[0].key


async def some_entry(service: Service, headers: dict[str, str]) -> dict[str, Any]:
    entries = (await service.client.get("/api/logs?limit=200", headers=headers)).json()["items"]
    found: dict[str, Any] = entries[-1]
    return found


# --- the newest checkpoint -------------------------------------------------------------------------------------------


async def test_a_checkpoint_is_a_note_as_text(each_service: Service) -> None:
    headers = await each_service.admin()
    answer = await each_service.client.get(CHECKPOINT, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    key = await key_of(each_service)
    origin, size, _ = notes.checkpoint(answer.content, key)
    assert key.startswith(f"{origin}+")
    await each_service.register("ada@example.org")
    again = await each_service.client.get(CHECKPOINT, headers=headers)
    assert notes.checkpoint(again.content, key)[1] > size, "it covers what was answered"


async def test_a_checkpoint_requires_logs_read(service: Service) -> None:
    await service.register("ada@example.org")
    plain = bearer(await service.logged_in("ada@example.org"))
    for headers, status, slug in (
        ({}, 401, "unauthenticated"),
        ({"authorization": "Bearer forged"}, 401, "invalid-token"),
        (plain, 403, "forbidden"),
    ):
        answer = await service.client.get(CHECKPOINT, headers=headers)
        assert assert_problem(answer, status)["type"] == f"/problems/{slug}"
    odd = await service.client.get(f"{CHECKPOINT}?size=1", headers=plain)
    assert assert_problem(odd, 400)["errors"][0]["pointer"] == "/size"
    for method in ("POST", "PUT", "DELETE"):
        assert_problem(await service.client.request(method, CHECKPOINT, headers=await service.admin()), 405)


# --- proofs ----------------------------------------------------------------------------------------------------------


async def test_a_proof_leads_from_the_entry_to_the_signed_root(each_service: Service) -> None:
    headers = await each_service.admin()
    for number in range(5):
        await each_service.register(f"member{number}@example.org")
    key = await key_of(each_service)
    for entry in (await each_service.client.get("/api/logs?limit=200", headers=headers)).json()["items"]:
        answer = await each_service.client.get(f"/api/logs/{entry['id']}/proof", headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.headers["cache-control"] == "no-store"
        proof = answer.json()
        assert set(proof) == {"entry_id", "index", "size", "leaf_hash", "hashes", "content", "checkpoint"}
        assert proof["entry_id"] == entry["id"]
        _, size, root = notes.checkpoint(proof["checkpoint"], key)
        leaf, content = b64decode(proof["leaf_hash"]), b64decode(proof["content"])
        assert proof["size"] == size
        assert led_to(leaf, proof["index"], size, list(map(b64decode, proof["hashes"]))) == root
        assert sha256(b"\x00" + content).digest() == leaf
        for field in (entry["id"], entry["action"], entry["message"]):
            assert field.encode() in content, "it is the entry that was listed"


async def test_a_proof_requires_logs_read(service: Service) -> None:
    admin = await service.admin()
    await service.register("ada@example.org")
    plain = bearer(await service.logged_in("ada@example.org"))
    entry = await some_entry(service, admin)
    for entry_id in (entry["id"], UNKNOWN):
        path = f"/api/logs/{entry_id}/proof"
        for headers, status, slug in (
            ({}, 401, "unauthenticated"),
            ({"authorization": "Bearer forged"}, 401, "invalid-token"),
            (plain, 403, "forbidden"),
        ):
            answer = await service.client.get(path, headers=headers)
            assert assert_problem(answer, status)["type"] == f"/problems/{slug}"


async def test_what_names_no_entry(service: Service) -> None:
    admin = await service.admin()
    entry_id = (await some_entry(service, admin))["id"]
    for wrong in (
        UNKNOWN,
        "checkpoint",
        "0",
        entry_id.replace("-", ""),
        f"%7B{entry_id}%7D",
        f"urn:uuid:{entry_id}",
        f"{entry_id}%20",
        "00000000-0000-0000-0000-000000000000",
    ):
        answer = await service.client.get(f"/api/logs/{wrong}/proof", headers=admin)
        assert assert_problem(answer, 404)["type"] == "/problems/log-entry-not-found", wrong
    for path in (f"/api/logs/{entry_id}", f"/api/logs/{entry_id}/proof/", "/api/logs/proof"):
        answer = await service.client.get(path, headers=admin)
        assert assert_problem(answer, 404)["type"] == "/problems/not-found", path
    odd = await service.client.get(f"/api/logs/{entry_id}/proof?size=1", headers=admin)
    assert assert_problem(odd, 400)["errors"][0]["pointer"] == "/size"


async def test_the_reader_of_a_proof_and_their_origin_are_in_the_log(service: Service) -> None:
    admin = await service.admin()
    entry_id = (await some_entry(service, admin))["id"]
    headers = {**admin, "x-request-id": "proof-1"}
    assert (await service.client.get(f"/api/logs/{entry_id}/proof", headers=headers)).status_code == 200
    [entry] = (await service.client.get("/api/logs?action=log.entry_read", headers=admin)).json()["items"]
    assert (entry["request_id"], entry["ip"], entry["target"]["id"]) == ("proof-1", "127.0.0.1", entry_id)


async def test_a_log_that_does_not_match_its_signature_proves_nothing() -> None:
    container = MemoryContainer(settings=memory_settings())
    ubr, store = container.application(), container.store()
    await ubr.initialize()
    await ubr.create_admin(CreateAdminCommand(email=ADMIN, password=PASSWORD), actor=SYSTEM)
    async with over(ubr, HttpOptions()) as service:
        admin = await service.admin()
        entry_id = (await some_entry(service, admin))["id"]
        assert (await service.client.get(CHECKPOINT, headers=admin)).status_code == 200
        size, note = max(store.log_checkpoints.values())
        store.log_checkpoints[size] = (size, note.replace(f"\n{size}\n", f"\n{size + 1}\n"))
        await service.register("ada@example.org")  # it goes on
        for path in (CHECKPOINT, f"/api/logs/{entry_id}/proof"):
            answer = await service.client.get(path, headers=admin)
            assert assert_problem(answer, 503)["type"] == "/problems/log-damaged"


# --- what was turned away --------------------------------------------------------------------------------------------


@asynccontextmanager
async def over(ubr: Application, options: HttpOptions) -> AsyncIterator[Service]:
    """A service with options of its own, over this application."""
    edge = create_app(ubr, options=options)
    transport = httpx.ASGITransport(edge, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://ubr.test") as client:
        yield Service(client, ubr, edge)


@dataclass
class Counting:
    service: Service
    denials: DenialRecorder

    async def counted(self) -> list[dict[str, int]]:
        """What entries say was turned away."""
        assert self.service.ubr is not None
        command = ListLogsCommand(action="requests.rejected")
        return [entry.data["counts"] for entry in (await self.service.ubr.list_logs(command, actor=SYSTEM)).items]


@pytest.fixture
async def counting() -> AsyncIterator[Counting]:
    async with open_environment(memory_settings(), clock=MovableClock()) as environment:
        ubr = environment.application
        await ubr.create_admin(CreateAdminCommand(email=ADMIN, password=PASSWORD), actor=SYSTEM)
        async with over(ubr, HttpOptions(rejected=environment.denials.reject)) as service:
            yield Counting(service, environment.denials)


async def test_rejected_requests_become_one_entry_with_counts(counting: Counting) -> None:
    client, admin = counting.service.client, await counting.service.admin()
    login = "/api/auth/login"
    for status, slug, answer in (
        (400, "invalid-input", await client.get("/api/users?x=1", headers=admin)),
        (400, "invalid-input", await client.post(login, headers=JSON, content=b"[]")),
        (400, "invalid-input", await client.get("/health/live", headers=[("host", "a b")])),
        (400, "malformed-body", await client.post(login, headers=JSON, content=b"{")),
        (400, "weak-password", await client.post("/api/auth/register", json={"email": ADMIN, "password": "x"})),
        (400, "invalid-cursor", await client.get("/api/users?cursor=AAAA", headers=admin)),
        (401, "unauthenticated", await client.get("/api/users")),
        (401, "invalid-token", await client.get("/api/users", headers={"authorization": "Bearer forged"})),
        (401, "invalid-token", await client.post("/api/auth/refresh", json={"refresh_token": "ubr_rt_" + "A" * 43})),
        (413, "body-too-large", await client.post(login, headers=JSON, content=b" " * 70_000)),
        (413, "body-too-large", await client.post("/api/auth/logout", headers=admin, content=b" " * 70_000)),
        (414, "uri-too-long", await client.get("/api/users?cursor=" + "A" * 9000, headers=admin)),
        (415, "unsupported-media-type", await client.post(login, content=b"a=b")),
    ):
        assert assert_problem(answer, status)["type"] == f"/problems/{slug}"
    assert await counting.counted() == []
    await counting.denials.settle(everything=True)
    assert await counting.counted() == [
        {
            "body-too-large": 2,
            "invalid-cursor": 1,
            "invalid-input": 3,
            "invalid-token": 2,
            "malformed-body": 1,
            "unauthenticated": 1,
            "unsupported-media-type": 1,
            "uri-too-long": 1,
            "weak-password": 1,
        }
    ]


async def test_what_is_in_the_log_or_was_answered_is_not_counted(counting: Counting) -> None:
    client, admin = counting.service.client, await counting.service.admin()
    await counting.service.register("ada@example.org")
    plain = bearer(await counting.service.logged_in("ada@example.org"))
    good = {"email": "ada@example.org", "password": PASSWORD}
    for status, answer in (
        (200, await client.get("/api/users", headers=admin)),
        (401, await client.post("/api/auth/login", json={**good, "password": "not the right one"})),
        (401, await client.post("/api/auth/login", json={**good, "email": "nobody@example.org"})),
        (403, await client.get("/api/users", headers=plain)),
        (404, await client.get(f"/api/users/{UNKNOWN}", headers=admin)),
        (404, await client.get("/api/nothing")),
        (405, await client.put("/api/auth/login", json=good)),
        (409, await client.post("/api/auth/register", json=good)),
        (412, await client.delete(f"/api/roles/{await a_role(client, admin)}", headers={**admin, "if-match": '"9"'})),
    ):
        assert answer.status_code == status, answer.text
    await counting.denials.settle(everything=True)
    assert await counting.counted() == []
    entries = (await client.get("/api/logs?limit=200", headers=admin)).json()["items"]
    actions = [entry["action"] for entry in entries]
    assert (actions.count("session.login_failed"), actions.count("act.refused")) == (2, 3)


async def a_role(client: httpx.AsyncClient, admin: dict[str, str]) -> str:
    made = await client.post("/api/roles", headers=admin, json={"name": "editor"})
    return str(made.json()["id"])


async def test_a_refusal_over_http_names_the_act_and_the_call(counting: Counting) -> None:
    client, admin = counting.service.client, await counting.service.admin()
    user = await counting.service.register("ada@example.org")
    headers = {**bearer(await counting.service.logged_in("ada@example.org")), "x-request-id": "refused-1"}
    assert (await client.get(CHECKPOINT, headers=headers)).status_code == 403
    [entry] = (await client.get("/api/logs?action=act.refused", headers=admin)).json()["items"]
    assert (entry["actor_id"], entry["request_id"], entry["ip"]) == (user["id"], "refused-1", "127.0.0.1")
    assert entry["data"] == {"act": "get_checkpoint", "problem": "forbidden", "count": 1}


async def test_too_many_tries_are_counted_and_faults_of_our_own_are_not() -> None:
    errors: list[Exception] = [RateLimited(42), StoreUnavailable(), Busy(), ZeroDivisionError()]

    class Failing:
        def __getattr__(self, name: str) -> Any:
            async def fail(*_: Any, **__: Any) -> None:
                raise errors.pop(0)

            return fail

    told: list[str] = []
    async with over(cast("Application", Failing()), HttpOptions(rejected=told.append)) as service:
        statuses = [(await service.client.get("/health/ready")).status_code for _ in range(4)]
    assert statuses == [429, 503, 503, 500]
    assert told == ["rate-limited"]


async def test_what_is_counted_is_named_in_the_line_of_the_request(
    counting: Counting, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing that was sent is."""
    sent = {"authorization": "Bearer canary.canary.canary"}
    await counting.service.client.get("/api/users?canary=1", headers=sent)
    await counting.denials.settle(everything=True)
    assert json.dumps(await counting.counted()) == '[{"invalid-token": 1}]'
    line = capsys.readouterr().err
    assert "invalid-token" in line
    assert "canary" not in line
