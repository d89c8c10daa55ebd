"""Thousands of requests that a machine makes from the OpenAPI document: the service answers as the document says,
never with a fault of its own, and never with what is another's.

Twice: as an administrator, and as somebody without a role, beside whom another has data of their own. How many there
are in all the environment's `FUZZ_REQUESTS` says. A run that finds something prints how to send the request again.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.environments import FUZZ_REQUESTS, ROOT, programs_of, ran
from tests.support.service import UbrProcess, serving

OPERATIONS = 40
"""About as many as there are. How many requests each gets depends on its parameters: rounds go on until enough."""

ADMIN = "fuzz-admin@example.org"
SOMEBODY = "somebody@example.net"
ANOTHER = "another@example.net"
PASSWORD = "known to the fuzzer alone, and to nobody else"

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
CONFIGURATION = """
hooks = {hooks!r}

[checks.positive_data_acceptance]
# That a revision is of another time is not in the schema, nor that a key was said with another body.
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "412", "422", "429", "503"]

[auth.dynamic.openapi.bearer]
path = "/api/auth/login"
payload = {{ email = "{email}", password = "{password}" }}
extract_selector = "/access_token"
retry_on = [401]
{links}"""

# Nor that nobody was sent a link with this token.
LINK = """
[[operations]]
include-path = "{path}"

[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "409", "429", "503"]
"""
LINKS = ("/api/auth/password/reset", "/api/auth/email/verify", "/api/auth/email/undo")

pytestmark = pytest.mark.long


class Fuzzed:
    """A service that is being fuzzed, from a folder with what Schemathesis is told."""

    def __init__(self, service: UbrProcess, folder: Path) -> None:
        self.service = service
        self.folder = folder

    def request(self, method: str, path: str, body: Any = None, *, token: str = "") -> Any:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = httpx.request(method, self.service.url + path, json=body, headers=headers, timeout=30)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def logged_in(self, email: str) -> Any:
        return self.request("POST", "/api/auth/login", {"email": email, "password": PASSWORD})

    def register(self, email: str, full_name: str) -> Any:
        body = {"email": email, "password": PASSWORD, "full_name": full_name}
        return self.request("POST", "/api/auth/register", body)

    def prepare(self, email: str, known: dict[str, Any]) -> None:
        (self.folder / "known.json").write_text(json.dumps(known))
        configuration = CONFIGURATION.format(
            hooks=str(HOOKS), email=email, password=PASSWORD, links="".join(LINK.format(path=path) for path in LINKS)
        )
        (self.folder / "schemathesis.toml").write_text(configuration)

    def run(self, wanted: int) -> None:
        """Rounds until there were so many requests. Errors: `AssertionError` with what was found."""
        seed = 1
        while (made := sum(self.answers().values())) < wanted:
            each = max(10, min(200, (wanted - made) // OPERATIONS))
            done = ran(
                *(programs_of("campaigns") / "st", "run", f"{self.service.url}/api/openapi.json"),
                *("--checks", "all", "--max-examples", str(each), "--continue-on-failure", "--no-color"),
                *("--seed", str(seed), "--generation-database", "none", "--request-timeout", "30"),
                cwd=self.folder,
                PYTHONPATH=str(ROOT / "src"),
            )
            sys.stderr.write(f"seed {seed}: {sum(self.answers().values())} answers of {wanted}\n")
            assert done.returncode == 0, done.stdout
            assert sum(self.answers().values()) > made, done.stdout
            seed += 1

    def answers(self) -> Counter[str]:
        """How many answers of each status there were to each operation."""
        path = self.folder / "answers"
        return Counter(path.read_text().splitlines()) if path.exists() else Counter()


@pytest.fixture
def fuzzed(tmp_path: Path) -> Any:
    environment = {
        "UBR_ADMIN_EMAIL": ADMIN,
        "UBR_ADMIN_PASSWORD": PASSWORD,
        "UBR_LOGIN_RATE_LIMIT": "off",
        "UBR_PASSWORD_MIN_LENGTH": "8",  # What the document says is the least.
        "UBR_LOG_LEVEL": "warning",
    }
    with serving(tmp_path, environment) as service:
        fuzzed = Fuzzed(service, tmp_path)
        yield fuzzed
        # What the service logs from warnings on: it met nothing that it did not know.
        assert not re.findall(r'(?m)^{.*"level":"(?:error|critical)".*$', service.log)


def statuses(answers: Counter[str]) -> set[int]:
    return {int(line[:3]) for line in answers}


def test_an_administrator_meets_nothing_unforeseen(fuzzed: Fuzzed) -> None:
    admin = fuzzed.logged_in(ADMIN)
    fuzzed.prepare(ADMIN, {"self": [admin["user"]["id"]], "foreign": {}, "secrets": []})
    fuzzed.run(FUZZ_REQUESTS // 2)
    # It was more than being turned away.
    assert {200, 201, 204, 400, 404} <= statuses(fuzzed.answers())


def test_nobody_meets_what_is_anothers(fuzzed: Fuzzed) -> None:
    somebody = fuzzed.register(SOMEBODY, "Somebody")
    another = fuzzed.register(ANOTHER, "Another Name To Look For")
    session = fuzzed.logged_in(ANOTHER)
    admin = fuzzed.logged_in(ADMIN)["access_token"]
    role = fuzzed.request("POST", "/api/roles", {"name": "seldom-seen", "permissions": ["logs:read"]}, token=admin)
    fuzzed.request("PUT", f"/api/users/{another['id']}/roles/seldom-seen", token=admin)
    entry = fuzzed.request("GET", "/api/logs?limit=1", token=admin)["items"][0]
    fuzzed.prepare(
        SOMEBODY,
        {
            "self": [somebody["id"]],
            "foreign": {
                "user_id": another["id"],
                "session_id": session["session_id"],
                "role_id": role["id"],
                "entry_id": entry["id"],
            },
            "secrets": [ANOTHER, another["full_name"], session["refresh_token"], "seldom-seen"],
        },
    )
    fuzzed.run(FUZZ_REQUESTS // 2)
    assert {200, 204, 400, 403} <= statuses(fuzzed.answers())
    # It was another's that was asked for, and it is all still there.
    assert fuzzed.request("GET", f"/api/users/{another['id']}", token=admin_again(fuzzed))["roles"] == [
        "seldom-seen",
        "user",
    ]
    assert fuzzed.request("POST", "/api/auth/refresh", {"refresh_token": session["refresh_token"]})


def admin_again(fuzzed: Fuzzed) -> str:
    return str(fuzzed.logged_in(ADMIN)["access_token"])


def test_what_is_anothers_would_be_seen(fuzzed: Fuzzed) -> None:
    """The same, where somebody has a role that shows them another: it is found."""
    somebody = fuzzed.register(SOMEBODY, "Somebody")
    another = fuzzed.register(ANOTHER, "Another Name To Look For")
    admin = admin_again(fuzzed)
    fuzzed.request("POST", "/api/roles", {"name": "reader", "permissions": ["users:read"]}, token=admin)
    fuzzed.request("PUT", f"/api/users/{somebody['id']}/roles/reader", token=admin)
    known = {"self": [somebody["id"]], "foreign": {"user_id": another["id"]}, "secrets": [another["full_name"]]}
    fuzzed.prepare(SOMEBODY, known)
    with pytest.raises(AssertionError, match="tells \\['Another Name To Look For'\\]"):
        fuzzed.run(100)
