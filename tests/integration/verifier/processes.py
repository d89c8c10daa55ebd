"""An example as a process of its own, beside a real service."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.commands import PATIENCE
from tests.support.servers import free_port
from tests.support.service import UbrProcess

EXAMPLES = Path(__file__).parents[3] / "examples"
FOLLOWER = "notes@example.org"
PASSWORD = "a long enough password"


def follower_key(url: str, access_token: str) -> str:
    """The key of a new machine that may follow revocations and nothing else, made by an administrator."""
    with httpx.Client(base_url=url, timeout=20, headers={"authorization": f"Bearer {access_token}"}) as admin:

        def made(path: str, body: dict[str, Any]) -> dict[str, Any]:
            answer = admin.post(path, json=body)
            assert answer.status_code == 201, answer.text
            new: dict[str, Any] = answer.json()
            return new

        made("/api/roles", {"name": "follower", "permissions": ["revocations:read"]})
        machine = made("/api/machines", {"name": "notes", "roles": ["follower"]})
        return str(made(f"/api/machines/{machine['id']}/keys", {"name": "production"})["client_secret"])


@contextmanager
def running_beside(
    name: str, folder: Path, service: UbrProcess, key: str, *, issuer: str | None = None
) -> Iterator[str]:
    """An example as a process, by its URL. The issuer is that of the service's tokens, where it is not its URL."""
    port = free_port()
    settings = {
        "USERS_URL": service.url,
        "USERS_ISSUER": issuer or service.url,
        "USERS_KEY": key,
    }
    with (folder / f"{name}.log").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - what it runs is ours
            [
                *(str(Path(sys.executable).with_name("granian")), "--interface", "asgi", "--loop", "asyncio"),
                *("--host", "127.0.0.1", "--port", str(port), "--working-dir", str(EXAMPLES), f"{name}:app"),
            ],
            cwd=folder,
            env={**os.environ, **settings, "PYTHONWARNINGS": "error"},  # noqa: TID251 - it is handed on
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/notes")
                break
            except httpx.TransportError:
                assert process.poll() is None, (folder / f"{name}.log").read_text()
                assert time.monotonic() < deadline, (folder / f"{name}.log").read_text()
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/notes"
    finally:
        process.terminate()
        process.wait(timeout=30)
