"""A Redis that is there and refuses, and a PostgreSQL that refuses from some moment on.

The service says so, `ubr doctor` says why, and a revocation is answered only when the token is refused everywhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from tests.support import commands
from tests.support.certificates import Authority
from tests.support.commands import PATIENCE, clean_environment
from tests.support.plugin import NewDatabase, PrivatePostgres, PrivateRedis
from tests.support.servers import RedisServer, free_port, run
from tests.support.service import ADMIN, ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, on_postgres, serving

pytestmark = pytest.mark.system(seconds=20)

ME = "/api/users/me"
CONNECTIONS = 12
"""Enough for each of two workers to get some."""


def doctor(folder: Path, environment: dict[str, str], subject: str) -> list[tuple[str, str]]:
    """The levels and sentences about a subject."""
    _, told, _ = commands.run("doctor", "--json", folder=folder, environment=clean_environment(**environment))
    findings = json.loads(told)["findings"]
    return [(each["level"], each["sentence"]) for each in findings if each["subject"] == subject]


def bearer(service: UbrProcess) -> dict[str, str]:
    answer = service.logged_in(ADMIN_EMAIL, ADMIN_PASSWORD)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def revocations_are_true(service: UbrProcess) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=service.url, timeout=30)) for _ in range(CONNECTIONS)]
        for _ in range(3):
            token = bearer(service)
            assert {client.get(ME, headers=token).status_code for client in clients} == {200}
            assert clients[0].post("/api/auth/logout", headers=token).status_code == 204
            assert {client.get(ME, headers=token).status_code for client in clients} == {401}


# --- Redis -----------------------------------------------------------------------------------------------------------


def command(server: RedisServer, *words: str) -> None:
    async def ask() -> None:
        async with Redis.from_url(server.url()) as client:
            await client.execute_command(*words)  # type: ignore[no-untyped-call]

    run(ask())


def a_replica(redis: PrivateRedis, _: Path) -> str:
    primary, replica = redis(), redis()
    command(replica, "REPLICAOF", "127.0.0.1", str(primary.port))
    return replica.url()


def another_authority(redis: PrivateRedis, folder: Path) -> str:
    """A server that wants a certificate, and gets one of an authority that it does not know."""
    authority = Authority(folder)
    authority.sign("server", "server")
    (folder / "other").mkdir()
    Authority(folder / "other").sign("client", "ubr")
    for file in folder.rglob("*.key"):
        file.chmod(0o644)  # the server may be another user
    port = str(free_port())
    redis(
        settings={
            "tls-port": port,
            "tls-cert-file": f"{folder}/server.crt",
            "tls-key-file": f"{folder}/server.key",
            "tls-ca-cert-file": f"{folder}/ca.crt",
            "tls-auth-clients": "yes",
        }
    )
    ours = f"ssl_certfile={folder}/other/client.crt&ssl_keyfile={folder}/other/client.key"
    return f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={folder}/ca.crt&{ours}"


def without(*names: str) -> Callable[[PrivateRedis, Path], str]:
    """A server whose user for ubr may not run some commands."""

    def start(redis: PrivateRedis, _: Path) -> str:
        server = redis()
        less = [f"-{name}" for name in names]
        command(server, "ACL", "SETUSER", "ubr", "reset", "on", ">secret", "~ubr:*", "&ubr:*", "+@all", *less)
        return f"redis://ubr:secret@127.0.0.1:{server.port}/0"

    return start


@pytest.mark.parametrize(
    ("start", "words", "logged"),
    [
        pytest.param(a_replica, "The Redis is a replica", "The Redis is a replica", id="replica"),
        pytest.param(another_authority, "rejects the certificate of ubr", "rejects the certificate of ubr", id="tls"),
        pytest.param(without("publish"), "PUBLISH (NOPERM)", "PUBLISH (NOPERM)", id="publish"),
        pytest.param(without("subscribe"), "SUBSCRIBE (NOPERM)", "The fast path is lost", id="subscribe"),
        pytest.param(without("eval", "evalsha"), "EVALSHA (NOPERM), EVAL", "Redis refused a command", id="eval"),
    ],
)
def test_a_redis_that_refuses_is_done_without(  # noqa: PLR0917 - fixtures
    start: Callable[[PrivateRedis, Path], str],
    words: str,
    logged: str,
    tmp_path: Path,
    new_database: NewDatabase,
    private_redis: PrivateRedis,
) -> None:
    environment = on_postgres(new_database(), start(private_redis, tmp_path))
    del environment["UBR_LOGIN_RATE_LIMIT"]  # a login counts, in Redis if it can
    with serving(tmp_path, environment) as service:
        revocations_are_true(service)
        assert service.status() == 200
        service.wait_for_log(logged)
        [(level, sentence)] = doctor(tmp_path, environment, "redis")
    assert level == "error"
    assert words in sentence


def test_a_cluster_is_refused_with_a_sentence(
    tmp_path: Path, new_database: NewDatabase, private_redis: PrivateRedis
) -> None:
    server = private_redis("redis", settings={"cluster-enabled": "yes", "databases": "1"})
    service = UbrProcess(tmp_path, on_postgres(new_database(), server.url()))
    try:
        assert service.wait() == 2
        assert "UBR_REDIS_URL names a Redis in cluster mode" in service.log
        assert "Traceback" not in service.log
    finally:
        service.kill()


# --- PostgreSQL ------------------------------------------------------------------------------------------------------

END_CONNECTIONS = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'ubr'"
REJECTED = re.compile("The database (rejects the certificate|closed the connection: .* certificate)")
"""The alert of TLS 1.3 comes after the handshake. Where the server has closed the connection before it is read, it is
lost.
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Certificates: of the server, of a client called ubr, and of the same client by another authority."""
    folder = tmp_path / "certificates"
    (folder / "other").mkdir(parents=True)
    authority = Authority(folder)
    authority.sign("server", "server")
    authority.sign("client", "ubr")
    Authority(folder / "other").sign("client", "ubr")
    return folder


def test_a_database_that_rejects_the_certificate(
    files: Path, tmp_path: Path, private_postgres: PrivatePostgres
) -> None:
    """At the start, and from some moment on."""
    server = private_postgres()
    owner = server.data_directory.stat()
    for name in ("ca.crt", "server.crt", "server.key"):
        there = server.data_directory / name
        shutil.copyfile(files / name, there)
        there.chmod(0o600)
        os.chown(there, owner.st_uid, owner.st_gid)
    rules = server.data_directory / "pg_hba.conf"
    usual = rules.read_text()
    rules.write_text(f"hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n{usual}")
    server.restart({"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key", "ssl_ca_file": "ca.crt"})
    server.create_database("ubr")
    url = server.url("ubr").partition("?")[0]

    def environment(folder: Path) -> dict[str, str]:
        options = f"sslmode=require&sslcert={folder}/client.crt&sslkey={folder}/client.key"
        return {**on_postgres(f"{url}?{options}"), **ADMIN}

    stranger = environment(files / "other")
    refused = UbrProcess(tmp_path, stranger)
    try:
        assert refused.wait() == 1
    finally:
        refused.kill()
    assert REJECTED.search(refused.log)
    assert "Traceback" not in refused.log
    [(level, sentence)] = doctor(tmp_path, stranger, "database")
    assert level == "error"
    assert REJECTED.search(sentence)

    with serving(tmp_path, environment(files)) as service:
        revocations_are_true(service)
        token = bearer(service)
        # The server trusts the other authority from now on.
        shutil.copyfile(files / "other" / "ca.crt", server.data_directory / "ca.crt")
        server.query("SELECT pg_reload_conf()")
        deadline = time.monotonic() + PATIENCE
        while server.query(END_CONNECTIONS) or service.status() != 503:
            # A new connection may still come before the server has read its files; an old one takes time to end.
            assert time.monotonic() < deadline
        for _ in range(5):
            assert httpx.post(f"{service.url}/api/auth/logout", headers=token, timeout=30).status_code == 503
        service.wait_for_log("certificate")
