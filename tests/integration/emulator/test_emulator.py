"""The double over HTTP: its state, resets, clock, mails and failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest

from tests.integration.http.kit import PASSWORD, bearer, memory_settings, problem
from tests.support.papers import ROOT, blocks_of
from ubr.entrypoints.emulator.app import Emulator
from ubr.entrypoints.emulator.state import State, WrongState, parse_state, read_state, schema

EDITOR = {"email": "editor@example.org", "password": PASSWORD}
STATE: dict[str, Any] = {
    "permissions": ["notes:edit"],
    "roles": [{"name": "editor", "permissions": ["notes:edit"]}],
    "users": [{**EDITOR, "roles": ["editor"], "full_name": "An Editor"}],
}


def state_of(value: Any) -> State:
    return parse_state(msgspec.json.encode(value))


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    emulator = Emulator(memory_settings(), state_of(STATE))
    await emulator.start()
    transport = httpx.ASGITransport(emulator, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8025") as made:
        yield made
    await emulator.stop()


async def logged_in(client: httpx.AsyncClient, who: dict[str, str] = EDITOR) -> dict[str, str]:
    answer = await client.post("/api/auth/login", json=who)
    assert answer.status_code == 200, answer.text
    return bearer(answer.json())


async def test_the_state_is_there_at_the_start(client: httpx.AsyncClient) -> None:
    me = (await client.get("/api/users/me", headers=await logged_in(client))).json()
    assert (me["email"], me["full_name"], me["roles"]) == ("editor@example.org", "An Editor", ["editor", "user"])
    assert me["permissions"] == ["notes:edit"]


async def test_every_answer_says_that_it_is_not_one_of_production(client: httpx.AsyncClient) -> None:
    for path in ("/health/ready", "/nothing", "/_emulator/clock", "/_emulator/nothing"):
        assert (await client.get(path)).headers["ubr-emulator"] == "in memory, for tests only"


async def test_a_reset_brings_the_state_back(client: httpx.AsyncClient) -> None:
    reader = {"email": "reader@example.org", "password": PASSWORD}
    await client.post("/api/auth/register", json=reader)
    headers = await logged_in(client, reader)
    await client.post("/_emulator/clock", json={"seconds": 60})
    await client.put("/_emulator/failure", json={"failure": "slow"})
    assert (await client.post("/_emulator/reset")).status_code == 204
    assert (await client.post("/api/auth/login", json=reader)).status_code == 401
    assert (await client.get("/api/users/me", headers=headers)).status_code == 401
    await logged_in(client)


async def test_a_reset_may_bring_another_state(client: httpx.AsyncClient) -> None:
    other = {"users": [{"email": "other@example.org", "password": PASSWORD}]}
    assert (await client.post("/_emulator/reset", json=other)).status_code == 204
    await logged_in(client, {"email": "other@example.org", "password": PASSWORD})
    assert (await client.post("/api/auth/login", json=EDITOR)).status_code == 401
    assert (await client.post("/_emulator/reset")).status_code == 204
    await logged_in(client)


async def test_a_wrong_state_changes_nothing(client: httpx.AsyncClient) -> None:
    for wrong, part in (
        ({"users": [{"email": "other@example.org", "password": "short"}]}, "other@example.org"),
        ({"users": [{"email": "other@example.org"}]}, "password"),
        ({"people": []}, "people"),
    ):
        answer = await client.post("/_emulator/reset", json=wrong)
        assert answer.json() == problem(400, "invalid-input", "/_emulator/reset")
        assert part in answer.json()["detail"]
    await logged_in(client)


async def test_requests_during_a_reset_are_answered(client: httpx.AsyncClient) -> None:
    logins = [client.post("/api/auth/login", json=EDITOR) for _ in range(10)]
    resets = [client.post("/_emulator/reset") for _ in range(3)]
    answers = await asyncio.gather(*logins[:3], resets[0], *logins[3:6], *resets[1:], *logins[6:])
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [204] * 3


async def test_the_clock_moves_on_request(client: httpx.AsyncClient) -> None:
    headers = await logged_in(client)
    before = datetime.fromisoformat((await client.get("/_emulator/clock")).json()["now"])
    after = datetime.fromisoformat((await client.post("/_emulator/clock", json={"seconds": 3600})).json()["now"])
    assert (after - before).total_seconds() >= 3600
    assert (await client.get("/api/users/me", headers=headers)).status_code == 401
    for wrong in ({"seconds": -1}, {"seconds": "1"}, {"minutes": 1}, {}):
        answer = await client.post("/_emulator/clock", json=wrong)
        assert answer.json() == problem(400, "invalid-input", "/_emulator/clock")


async def test_mails_stay_until_the_reset(client: httpx.AsyncClient) -> None:
    await client.post("/api/auth/password/forgot", json={"email": EDITOR["email"]})
    for _ in range(2):
        [mail] = (await client.get("/_emulator/mails")).json()["items"]
        assert mail["to"] == EDITOR["email"]
        assert "#token=" in mail["text"]
    await client.post("/_emulator/reset")
    assert (await client.get("/_emulator/mails")).json() == {"items": []}


async def test_the_store_fails_on_request(client: httpx.AsyncClient) -> None:
    assert (await client.put("/_emulator/failure", json={"failure": "unreachable"})).status_code == 204
    answer = await client.post("/api/auth/login", json=EDITOR)
    assert answer.json() == problem(503, "store-unavailable", "/api/auth/login")
    assert answer.headers["retry-after"]
    assert (await client.delete("/_emulator/failure")).status_code == 204
    await logged_in(client)
    await client.put("/_emulator/failure", json={"failure": "slow", "times": 1})
    assert [(await client.get("/health/ready")).status_code for _ in range(2)] == [503, 200]
    wrong = await client.put("/_emulator/failure", json={"failure": "tired"})
    assert wrong.json() == problem(400, "invalid-input", "/_emulator/failure")


async def test_a_call_that_does_not_exist(client: httpx.AsyncClient) -> None:
    answer = await client.get("/_emulator/reset")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (await client.get("/_emulator")).json() == problem(404, "not-found", "/_emulator")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "truncated"),
        ('{"users": [{"email": 1}]}', r"\$\.users\[0\]\.email"),
        ('{"user": []}', "unknown field `user`"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text(text)
    with pytest.raises(WrongState, match=message) as raised:
        read_state(file)
    assert str(file) in str(raised.value)


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongState, match=r"absent\.json: No such file"):
        read_state(tmp_path / "absent.json")


async def test_a_role_with_an_unknown_permission_is_named() -> None:
    emulator = Emulator(memory_settings(), state_of({"roles": [{"name": "editor", "permissions": ["notes:edit"]}]}))
    with pytest.raises(WrongState, match="The role 'editor' cannot be made"):
        await emulator.start()
    await emulator.stop()


async def test_users_have_the_fields_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "fields.json"
    file.write_text('{"fields": [{"name": "department", "type": "string", "required": true}]}')
    settings = memory_settings(user_fields_file=str(file))
    without = Emulator(settings, state_of({"users": [EDITOR]}))
    with pytest.raises(WrongState, match="cannot be made: /fields/department is required"):
        await without.start()
    await without.stop()
    state = {"users": [EDITOR | {"fields": {"department": "sales"}}]}
    jsonschema.validate(state, schema())
    emulator = Emulator(settings, state_of(state))
    await emulator.start()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(emulator), base_url="http://127.0.0.1:8025") as client:
        answer = await client.post("/api/auth/login", json=EDITOR)
    assert answer.json()["user"]["fields"] == {"department": "sales"}
    await emulator.stop()


def test_the_schema_describes_the_file() -> None:
    example = msgspec.json.decode((ROOT / "examples" / "emulator.json").read_bytes())
    pages = [msgspec.json.decode(blocks_of(f"docs/{name}.md", "json")[0].text) for name in ("testing", "tutorial")]
    for state in (STATE, example, *pages, {}):
        jsonschema.validate(state, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"people": []}, schema())


# --- web pages in a browser of this machine ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/_emulator/mails", "/_emulator/clock", "/api/users/me", "/health/ready", "/login"])
@pytest.mark.parametrize("host", ["evil.example.org", "127.0.0.1.evil.example.org:8025", "localhost.evil.example", ""])
async def test_a_name_that_leads_here_is_not_answered(host: str, path: str, client: httpx.AsyncClient) -> None:
    """A page of that name would read the answers (DNS rebinding)."""
    answer = await client.get(path, headers={"host": host})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "--allow-host" in answer.json()["detail"]
    assert answer.headers["ubr-emulator"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8025", "app.localhost", "[::1]:8025", "192.0.2.7"])
async def test_this_machine_and_addresses_are_answered(host: str, client: httpx.AsyncClient) -> None:
    assert (await client.get("/_emulator/clock", headers={"host": host})).status_code == 200


async def test_an_allowed_name_is_answered() -> None:
    emulator = Emulator(memory_settings(), state_of({}), names=["Emulator"])
    await emulator.start()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(emulator), base_url="http://emulator:8025") as client:
        assert (await client.get("/_emulator/clock")).status_code == 200
        assert (await client.get("/_emulator/clock", headers={"host": "emulator.example.org"})).status_code == 400
    await emulator.stop()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example.org"},
        {"origin": "null"},
        {"origin": "http://192.0.2.7:8025"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example.org", "sec-fetch-site": "same-origin"},
    ],
)
async def test_a_page_of_another_machine_controls_nothing(headers: dict[str, str], client: httpx.AsyncClient) -> None:
    for method, path in (("POST", "/_emulator/clock"), ("POST", "/_emulator/reset"), ("DELETE", "/_emulator/failure")):
        answer = await client.request(method, path, headers=headers, content=b'{"seconds": 1000000}')
        assert answer.status_code == 403
        assert answer.json()["type"] == "/problems/cross-origin-request"
    before = datetime.fromisoformat((await client.get("/_emulator/clock")).json()["now"])
    assert abs((before - datetime.now(UTC)).total_seconds()) < 1000  # noqa: TID251 - the clock of the machine


@pytest.mark.parametrize("headers", [{}, {"origin": "http://localhost:5173"}, {"sec-fetch-site": "same-site"}])
async def test_a_page_of_this_machine_may_control_it(headers: dict[str, str], client: httpx.AsyncClient) -> None:
    assert (await client.post("/_emulator/reset", headers=headers)).status_code == 204
