"""`ubr keys`: beside a service that runs, and with secrets that come and go."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from tests.integration.cli.kit import Run, Serve
from tests.support.service import UbrProcess, serving

OLD, NEW = "old-secret-" * 4, "new-secret-" * 4
DATABASE = "sqlite+aiosqlite:///ubr.db"
QUICK = {"UBR_REVOCATION_POLL": "50ms", "UBR_REVOCATION_BOUND": "200ms"}
"""Between two processes on one file there is no short way: every end waits for the bound."""


@pytest.fixture
def ubr(in_process: Run) -> Run:
    return in_process


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UbrProcess]:
    """A service whose keys these tests change."""
    with serving(tmp_path_factory.mktemp("keys"), QUICK) as service:
        yield service


@pytest.fixture
def running_beside(ubr: Run, running: UbrProcess) -> Run:
    """Run a command beside it."""
    return partial(ubr, folder=running.folder, **QUICK)


def keys_of(ubr: Run, **settings: str) -> dict[str, dict[str, Any]]:
    done = ubr("keys", "list", "--json", **settings)
    assert (done.code, done.err) == (0, "")
    return {key["kid"]: key for key in json.loads(done.out)}


def in_state(keys: dict[str, dict[str, Any]], state: str) -> str:
    [kid] = [kid for kid, key in keys.items() if key["state"] == state]
    return kid


def published(service: UbrProcess) -> set[str]:
    return {key["kid"] for key in httpx.get(f"{service.url}/.well-known/jwks.json").json()["keys"]}


def who_am_i(service: UbrProcess, tokens: dict[str, Any]) -> int:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return httpx.get(f"{service.url}/api/users/me", headers=headers).status_code


# --- beside a service that runs --------------------------------------------------------------------------------------


@pytest.mark.system
def test_keys_are_listed_without_anything_private(running_beside: Run, running: UbrProcess) -> None:
    [key] = keys_of(running_beside).values()
    assert (key["state"], key["algorithm"], key["retired_at"], key["revoked_at"]) == ("signing", "EdDSA", None, None)
    assert set(key) == {"kid", "algorithm", "state", "created_at", "signs_from", "retired_at", "revoked_at"}
    done = running_beside("keys", "list")
    assert (done.code, done.err) == (0, "")
    for word in (key["kid"], "signing", "EdDSA", "signs from"):
        assert word in done.out
    assert "\x1b[" not in done.out


@pytest.mark.system
def test_a_rotation_and_a_revocation_need_no_restart(running_beside: Run, running: UbrProcess) -> None:
    tokens = running.logged_in(*running.credentials).json()
    assert who_am_i(running, tokens) == 200
    old = in_state(keys_of(running_beside), "signing")

    done = running_beside("keys", "rotate")
    assert (done.code, done.err) == (0, "")
    new = in_state(keys_of(running_beside), "published")
    assert done.out.startswith(f"{new} (EdDSA) is published, and signs from 20")
    assert published(running) == {old, new}
    assert who_am_i(running, tokens) == 200
    assert running_beside("keys", "rotate").out == done.out

    done = running_beside("keys", "revoke", old)
    assert (done.code, done.out, done.err) == (0, f"{old} is revoked. {new} (EdDSA) signs.\n", "")
    assert published(running) == {new}
    assert who_am_i(running, tokens) == 401
    refresh = {"refresh_token": tokens["refresh_token"]}
    again = httpx.post(f"{running.url}/api/auth/refresh", json=refresh)
    assert again.status_code == 200
    assert who_am_i(running, again.json()) == 200

    done = running_beside("keys", "revoke", new)
    assert done.code == 0
    assert who_am_i(running, again.json()) == 401
    assert who_am_i(running, running.logged_in(*running.credentials).json()) == 200
    assert running_beside("keys", "revoke", new).out == done.out
    states = [key["state"] for key in keys_of(running_beside).values()]
    assert sorted(states) == ["revoked", "revoked", "signing"]


@pytest.mark.parametrize("kid", ["nope", "-hx", "--help-me"])
@pytest.mark.system
def test_a_key_that_is_not_there(running_beside: Run, running: UbrProcess, kid: str) -> None:
    """A name may begin with a dash."""
    done = running_beside("keys", "revoke", kid)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"Signing key {kid} not found.\n"


@pytest.mark.parametrize(
    "arguments", [("keys", "nope"), ("keys", "revoke"), ("keys", "revoke", "a", "b"), ("keys", "rotate", "a")]
)
def test_wrong_usage(ubr: Run, arguments: tuple[str, ...]) -> None:
    done = ubr(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


def test_in_memory_there_are_no_keys_to_look_after(ubr: Run) -> None:
    done = ubr("keys", "list", UBR_DATABASE_URL="memory:")
    assert (done.code, done.out) == (2, "")
    assert "memory:" in done.err


# --- secrets ---------------------------------------------------------------------------------------------------------


def settings(*secrets: str, **more: str) -> dict[str, str]:
    return {"UBR_DATABASE_URL": DATABASE, "UBR_MIGRATE": "auto", "UBR_SECRET_KEY": ",".join(secrets), **more}


def sentence(kid: str) -> str:
    return (
        f"UBR_SECRET_KEY does not decrypt the signing key {kid}.\n"
        "Append the secret that encrypted it to the list again, or, if it is lost, revoke the key:\n"
        f"  ubr keys revoke --lost-secret {kid}\n"
    )


STARTS = [("serve",), ("keys", "rewrap")]


@pytest.mark.system
def test_a_secret_is_replaced(ubr: Run) -> None:
    assert ubr("keys", "rotate", **settings(OLD)).code == 0
    before = keys_of(ubr, **settings(OLD))
    kid = in_state(before, "published")
    for arguments in STARTS:
        done = ubr(*arguments, **settings(NEW))
        assert (done.code, done.out) == (2, "")
        assert done.err == sentence(kid)
    assert keys_of(ubr, **settings(NEW)) == before

    said = (
        "The first secret of UBR_SECRET_KEY decrypts every key: {} of 3 rewrapped.\n"
        "Password hashes rewrapped: 0.\nKeys of machines rewrapped: 0.\n"
    )
    for expected in (3, 0):
        done = ubr("keys", "rewrap", **settings(NEW, OLD))
        assert (done.code, done.out, done.err) == (0, said.format(expected), "")
    assert ubr("keys", "rotate", **settings(NEW)).code == 0
    assert ubr("keys", "rotate", **settings(OLD)).err == sentence(kid)


MISMATCH = "UBR_SECRET_KEY decrypts none of the keys in use"


def test_with_a_wrong_secret_nothing_is_done(ubr: Run) -> None:
    assert ubr("keys", "rotate", **settings(OLD)).code == 0
    before, key = keys_of(ubr, **settings(OLD)), ubr("audit", "key", **settings(OLD))
    kid = in_state(before, "signing")
    for arguments in (("keys", "revoke", kid), ("audit", "rotate-key"), ("after-restore", "--yes")):
        done = ubr(*arguments, **settings(NEW))
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(MISMATCH)
        assert "--lost-secret" in done.err
    for line in ("keys rotate", "keys rewrap", "audit key", "audit prune --keep=1d --yes"):
        assert ubr(*line.split(), **settings(NEW)).code == 2
    assert keys_of(ubr, **settings(OLD)) == before
    assert ubr("audit", "key", **settings(OLD)) == key
    assert ubr("audit", "verify", **settings(OLD)).code == 0


@pytest.mark.system
def test_no_key_is_sealed_and_no_lock_looked_for_with_a_wrong_secret(ubr: Run) -> None:
    administrator = "admin@example.org"
    ubr("admin", "create", "--email", administrator, "--generate", **settings(OLD))
    machine = json.loads(ubr("machines", "create", "report", "--json", **settings(OLD)).out)["id"]
    made = ubr("machines", "create-key", machine, "--name", "host", "--json", **settings(OLD))
    keys = ubr("machines", "list-keys", machine, "--json", **settings(OLD))
    for arguments in (
        ("machines", "create-key", machine, "--name", "other"),
        ("machines", "rotate-key", machine, json.loads(made.out)["key"]["id"], "--overlap", "0s"),
        ("users", "unlock", administrator),
    ):
        done = ubr(*arguments, **settings(NEW))
        assert (done.code, done.out) == (2, "")
        assert "UBR_SECRET_KEY" in done.err
    assert ubr("machines", "list-keys", machine, "--json", **settings(OLD)) == keys
    assert ubr("users", "unlock", administrator, **settings(OLD)).code == 0


@pytest.mark.system
def test_an_instance_is_not_ready_while_no_key_signs(ubr: Run, serve: Serve) -> None:
    service = serve(**settings(OLD))
    service.wait_until_ready()
    kid = in_state(keys_of(ubr, **settings(OLD)), "signing")
    assert ubr("keys", "revoke", kid, **settings(NEW)).code == 2
    assert httpx.get(f"{service.url}/health/ready").status_code == 200
    assert ubr("keys", "revoke", "--lost-secret", kid, **settings(NEW)).code == 0
    answer = httpx.get(f"{service.url}/health/ready")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/no-signing-key")
    wrong = in_state(keys_of(ubr, **settings(OLD)), "signing")
    assert ubr("keys", "revoke", "--lost-secret", wrong, **settings(OLD)).code == 0
    assert httpx.get(f"{service.url}/health/ready").status_code == 200
    assert ubr("audit", "rotate-key", "--lost-secret", **settings(NEW)).code == 0
    answer = httpx.get(f"{service.url}/health/ready")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/log-key-locked")


def test_the_keys_can_be_given_up_if_every_secret_is_lost(ubr: Run) -> None:
    assert ubr("keys", "rotate", **settings(OLD)).code == 0
    found = keys_of(ubr, **settings(NEW))
    signing, waiting = in_state(found, "signing"), in_state(found, "published")
    for kid in (waiting, signing):
        assert ubr("keys", "revoke", "--lost-secret", kid, **settings(NEW)).code == 0
    done = ubr("keys", "rotate", **settings(NEW))
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("if it is lost, create a new key:\n  ubr audit rotate-key --lost-secret\n")
    assert ubr("audit", "rotate-key", **settings(NEW)).code == 2
    assert ubr("audit", "rotate-key", "--lost-secret", **settings(NEW)).code == 0
    done = ubr("keys", "rotate", **settings(NEW))
    assert (done.code, done.err) == (0, "")
    done = ubr("audit", "verify", **settings(NEW))
    assert (done.code, done.err) == (0, "")


def test_another_algorithm_comes_with_the_next_rotation(ubr: Run) -> None:
    assert ubr("keys", "rotate", **settings(OLD)).code == 0
    done = ubr("keys", "rotate", **settings(OLD, UBR_JWT_ALGORITHM="ES256"))
    assert "(ES256) is published" in done.out
    found = keys_of(ubr, **settings(OLD))
    assert sorted((key["state"], key["algorithm"]) for key in found.values()) == [
        ("published", "ES256"),
        ("published", "EdDSA"),
        ("signing", "EdDSA"),
    ]
