"""examples/notes as processes: with ubr in its own process, over HTTP, and with the verifier and a key."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.commands import clean_environment
from tests.support.servers import free_port
from tests.support.service import ADMIN, ADMIN_EMAIL, ADMIN_PASSWORD, SECRET_KEY, serving

pytestmark = pytest.mark.system(seconds=20)

ROOT = Path(__file__).parents[2]
PASSWORD = "a long enough password"


@contextmanager
def notes(folder: Path, **settings: str) -> Iterator[httpx.Client]:
    """A client of the service, when it answers."""
    port, log = free_port(), folder / "notes.log"
    program = Path(sys.executable).with_name("granian")
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - what it runs is ours
            [program, "--interface", "asgi", "--loop", "asyncio", "--port", str(port), "examples.notes.main:app"],
            cwd=folder,
            env={**os.environ, **settings, "PYTHONPATH": str(ROOT)},  # noqa: TID251 - it is handed on
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            deadline = time.monotonic() + 60
            while True:
                try:
                    client.get("/notes")
                    break
                except httpx.TransportError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def bearer(users: httpx.Client, prefix: str, email: str, password: str) -> dict[str, str]:
    answer = users.post(f"{prefix}/api/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


def share_a_note(service: httpx.Client, writer: dict[str, str]) -> None:
    """A note is written, and read by its writer only, until a person without an account is invited to it."""
    made = service.post("/notes", json={"text": "a note"}, headers=writer)
    assert made.status_code == 201, made.text
    path = f"/notes/{made.json()['id']}/readers"
    shared = service.post(path, json={"email": "new@example.org"}, headers=writer)
    assert shared.status_code == 204, shared.text
    assert [note["text"] for note in service.get("/notes", headers=writer).json()] == ["a note"]


@pytest.mark.parametrize("framework", ["fastapi", "litestar"])
def test_ubr_in_another_process(framework: str, tmp_path: Path) -> None:
    with (
        serving(tmp_path, {**ADMIN, "UBR_PERMISSIONS": "notes:edit"}) as ubr,
        httpx.Client(base_url=ubr.url, timeout=30) as users,
    ):
        admin = bearer(users, "", ADMIN_EMAIL, ADMIN_PASSWORD)
        role = {"name": "notes-service", "permissions": ["users:read", "users:write", "revocations:read"]}
        assert users.post("/api/roles", json=role, headers=admin).status_code == 201
        machine = users.post("/api/machines", json={"name": "notes", "roles": [role["name"]]}, headers=admin).json()
        keys = f"/api/machines/{machine['id']}/keys"
        key = users.post(keys, json={"name": "production"}, headers=admin).json()["client_secret"]
        for way in ("http", "verifier"):
            database = f"sqlite+aiosqlite:///{tmp_path / way}.db"
            settings = {"NOTES_WAY": way, "NOTES_DATABASE": database, "USERS_URL": ubr.url}
            with notes(tmp_path, NOTES_FRAMEWORK=framework, USERS_KEY=key, **settings) as service:
                writer = bearer(users, "", ADMIN_EMAIL, ADMIN_PASSWORD)
                share_a_note(service, writer)
                assert users.post("/api/auth/logout", headers=writer).status_code == 204
                assert service.get("/notes", headers=writer).status_code == 401
        found = users.get("/api/users", params={"q": "new@example.org"}, headers=admin).json()["items"]
        assert [user["email"] for user in found] == ["new@example.org"]


@pytest.mark.parametrize("framework", ["fastapi", "litestar"])
def test_ubr_in_this_process(framework: str, tmp_path: Path) -> None:
    database = tmp_path / "notes.db"
    settings = {
        "UBR_DATABASE_URL": f"sqlite:///{database}",
        "UBR_PERMISSIONS": "notes:edit",
        "UBR_SECRET_KEY": SECRET_KEY,
        "NOTES_DATABASE": f"sqlite+aiosqlite:///{database}",
        "NOTES_FRAMEWORK": framework,
        "NOTES_WAY": "library",
    }
    for arguments in (["migrate"], ["admin", "create", "--email", ADMIN_EMAIL, "--password-stdin"]):
        subprocess.run(  # noqa: S603 - what it runs is ours
            [Path(sys.executable).with_name("ubr"), *arguments],
            cwd=tmp_path,
            env=clean_environment(**settings),
            input=ADMIN_PASSWORD,
            capture_output=True,
            text=True,
            check=True,
        )
    with notes(tmp_path, **settings) as service:
        reader = {"email": "reader@example.org", "password": PASSWORD}
        assert service.post("/users/api/auth/register", json=reader).status_code == 201
        headers = bearer(service, "/users", **reader)
        assert service.get("/notes", headers=headers).json() == []
        assert service.post("/notes", json={"text": "no"}, headers=headers).status_code == 403
        share_a_note(service, bearer(service, "/users", ADMIN_EMAIL, ADMIN_PASSWORD))
        invited = service.post("/users/api/auth/register", json={**reader, "email": "new@example.org"})
        assert (invited.status_code, invited.json()["type"]) == (409, "/problems/email-taken")
