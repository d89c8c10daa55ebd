"""The examples, run as they stand, beside a real service: what has ended is refused by both after the answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.verifier.processes import PASSWORD, follower_key, running_beside
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, serving

pytestmark = pytest.mark.system


class Talk:
    """What an administrator and a reader say to ubr."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.admin = self.log_in(ADMIN_EMAIL, ADMIN_PASSWORD)

    def log_in(self, email: str, password: str = PASSWORD) -> dict[str, Any]:
        answer = self.client.post("/api/auth/login", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    def as_admin(self, method: str, path: str, **body: Any) -> Any:
        headers = {"authorization": f"Bearer {self.admin['access_token']}"}
        sent = {"json": body} if body else {}
        answer = self.client.request(method, path, headers=headers, **sent)  # type: ignore[arg-type]
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


@contextmanager
def talking(service: UbrProcess) -> Iterator[Talk]:
    with httpx.Client(base_url=service.url, timeout=20) as client:
        yield Talk(client)


def status(method: str, url: str, tokens: dict[str, Any] | None = None) -> int:
    headers = {} if tokens is None else {"authorization": f"Bearer {tokens['access_token']}"}
    return httpx.request(method, url, headers=headers).status_code


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UbrProcess]:
    environment = {"UBR_ADMIN_EMAIL": ADMIN_EMAIL, "UBR_ADMIN_PASSWORD": ADMIN_PASSWORD, "UBR_LOG_LEVEL": "warning"}
    environment["UBR_PERMISSIONS"] = "notes:edit"
    with serving(tmp_path_factory.mktemp("ubr"), environment) as made:
        with talking(made) as talk:
            talk.as_admin("POST", "/api/roles", name="editor", permissions=["notes:edit"])
            talk.as_admin("POST", "/api/users", email="reader@example.org", password=PASSWORD)
        yield made


@pytest.fixture(scope="module")
def key(service: UbrProcess) -> str:
    with talking(service) as talk:
        return follower_key(service.url, talk.admin["access_token"])


@pytest.mark.parametrize("name", ["litestar_service", pytest.param("fastapi_service", marks=pytest.mark.long)])
@pytest.mark.system(seconds=5)
def test_an_example(name: str, tmp_path: Path, service: UbrProcess, key: str) -> None:
    with talking(service) as talk, running_beside(name, tmp_path, service, key) as notes:
        reader, other = talk.log_in("reader@example.org"), talk.log_in("reader@example.org")
        assert status("GET", notes) == 401
        assert status("GET", notes, {"access_token": "forged"}) == 401
        assert status("GET", notes, reader) == 200
        assert status("POST", notes, reader) == 403

        assert status("POST", notes, talk.log_in(ADMIN_EMAIL, ADMIN_PASSWORD)) == 200, "everything includes it"
        user = f"/api/users/{reader['user']['id']}"
        talk.as_admin("PUT", f"{user}/roles/editor")
        assert status("POST", notes, reader) == 401, "a token of before"
        editing = talk.log_in("reader@example.org")
        assert status("POST", notes, editing) == 200
        talk.as_admin("DELETE", f"{user}/roles/editor")
        assert status("POST", notes, editing) == 401

        reader, other = talk.log_in("reader@example.org"), talk.log_in("reader@example.org")
        assert [status("GET", notes, each) for each in (reader, other)] == [200, 200]
        talk.client.post("/api/auth/logout", headers={"authorization": f"Bearer {reader['access_token']}"})
        assert [status("GET", notes, each) for each in (reader, other)] == [401, 200]
        talk.as_admin("DELETE", f"{user}/sessions")
        assert [status("GET", notes, each) for each in (reader, other)] == [401, 401]
    written = (tmp_path / f"{name}.log").read_text()
    assert "Traceback" not in written, written
