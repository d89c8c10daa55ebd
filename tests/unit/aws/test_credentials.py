from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest

from ubr.adapters.aws.credentials import CredentialSource, NoCredentials

_NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Agent:
    """The agent of a container: it gives credentials that end after an hour."""

    def __init__(self) -> None:
        self.now, self.asked, self.status = _NOW, list[str](), 200

    def answer(self, authorization: str) -> bytes:
        self.asked.append(authorization)
        expires = (self.now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return json.dumps(
            {"AccessKeyId": f"key{len(self.asked)}", "SecretAccessKey": "s", "Token": "t", "Expiration": expires}
        ).encode()

    def clock(self) -> datetime:
        return self.now


@pytest.fixture
def agent() -> Iterator[tuple[Agent, str]]:
    agent = Agent()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = agent.answer(self.headers.get("Authorization", ""))
            self.send_response(agent.status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield agent, f"http://127.0.0.1:{server.server_port}/v2/credentials"
        server.shutdown()


async def test_credentials_are_kept_until_shortly_before_their_end(agent: tuple[Agent, str], tmp_path: Path) -> None:
    asked, url = agent
    token = tmp_path / "token"
    token.write_text("let me in\n")
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)}
    source = CredentialSource(environ, asked.clock)
    for minutes, key in ((0, "key1"), (54, "key1"), (56, "key2"), (57, "key2")):
        asked.now = _NOW + timedelta(minutes=minutes)
        assert (await source.current()).key_id == key
    assert asked.asked == ["let me in", "let me in"]


async def test_callers_share_one_request(agent: tuple[Agent, str]) -> None:
    asked, url = agent
    source = CredentialSource({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}, asked.clock)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(source.current)
    assert len(asked.asked) == 1


async def test_while_the_agent_fails_its_credentials_are_good_until_their_end(agent: tuple[Agent, str]) -> None:
    asked, url = agent
    source = CredentialSource({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}, asked.clock)
    await source.current()
    asked.status = 500
    asked.now = _NOW + timedelta(minutes=59)
    assert (await source.current()).key_id == "key1"
    asked.now = _NOW + timedelta(minutes=61)
    with pytest.raises(NoCredentials, match="status 500"):
        await source.current()


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({}, "there are no credentials of AWS"),
        ({"AWS_ACCESS_KEY_ID": "AKIA"}, "without AWS_SECRET_ACCESS_KEY"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://evil.example/"}, "an address of this machine"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "ftp://127.0.0.1/"}, "an address of this machine"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/"}, "does not answer"),
        (
            {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nowhere",
            },
            "cannot be read",
        ),
    ],
)
async def test_missing_credentials_are_named(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(NoCredentials, match=sentence):
        await CredentialSource(environ, lambda: _NOW).current()


def test_a_region_is_needed() -> None:
    assert CredentialSource({"AWS_DEFAULT_REGION": "eu-central-1"}, lambda: _NOW).region == "eu-central-1"
    with pytest.raises(NoCredentials, match="AWS_REGION is not set"):
        _ = CredentialSource({}, lambda: _NOW).region
