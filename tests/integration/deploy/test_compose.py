"""The installation of deploy/compose.yaml, as plain processes with the settings of that file."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.deploy.kit import DEPLOY, says, tool
from tests.support import commands, compose
from tests.support.servers import PostgresServer, Proxy, RedisServer, find_caddy, find_postgres, free_port, on_path
from tests.support.service import UbrProcess

pytestmark = pytest.mark.system

SERVICES = compose.services()
CLIENT = "127.0.0.77"


@dataclass
class Installation:
    folder: Path
    """A copy of deploy/, with the secrets that `init` wrote."""
    environments: Mapping[str, Mapping[str, str]]
    instances: list[UbrProcess]
    proxy: Proxy
    health_port: int

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text().strip()

    def certificates(self) -> ssl.SSLContext:
        root = self.proxy.folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        return ssl.create_default_context(cafile=str(root))

    def client(self, address: str = CLIENT) -> httpx.Client:
        """A client of the proxy with an address of its own."""
        transport = httpx.HTTPTransport(local_address=address, verify=self.certificates())
        return httpx.Client(base_url=f"https://localhost:{self.proxy.port}", transport=transport, timeout=60)


def init(folder: Path) -> Path:
    """Copies deploy/ and runs its script, with the secrets as the containers would see them."""
    target = folder / "deploy"
    shutil.copytree(DEPLOY, target, ignore=shutil.ignore_patterns("secrets", ".env"))
    says(target / "compose" / "init", compose.VARIABLES["UBR_DOMAIN"], compose.VARIABLES["UBR_ADMIN_EMAIL"])
    return target


@contextmanager
def installed(base: Path) -> Iterator[Installation]:
    folder = init(base)
    secrets = folder / "secrets"
    with ExitStack() as stack:
        postgres = stack.enter_context(
            PostgresServer.start(private=True, settings=compose.options(SERVICES["postgres"]))
        )
        superuser = urlsplit(postgres.dsn())
        says(
            folder / "compose" / "postgres" / "roles.sh",
            PATH=on_path(find_postgres().program),
            PGHOST="127.0.0.1",
            PGPORT=str(postgres.port),
            PGPASSWORD=superuser.password or "",
            POSTGRES_USER=superuser.username or "",
            SECRETS=str(secrets),
        )
        configured = compose.directives(folder / "compose" / "redis.conf")
        configured["aclfile"] = configured["aclfile"].replace("/run/secrets", str(secrets))
        redis = stack.enter_context(
            RedisServer.start(
                "valkey",
                private=True,
                # The test chooses the address and the folder.
                settings={name: value for name, value in configured.items() if name not in {"bind", "port", "dir"}},
            )
        )
        changes = {
            "/run/secrets": str(secrets),
            "172.30.86.2/32": "127.0.0.1/32",
            "/var/backups/ubr": str(base / "backups"),
        }
        for name, host, port in (
            ("database_url", "@postgres:5432/", postgres.port),
            ("migration_database_url", "@postgres:5432/", postgres.port),
            ("redis_url", "@redis:6379/", redis.port),
        ):
            file = secrets / name
            text = file.read_text()
            assert host in text
            file.chmod(0o600)
            file.write_text(text.replace(host, f"@127.0.0.1:{port}/"))
        environments = {
            name: compose.environment(SERVICES[name], changes) for name in ("migrate", "ubr-1", "ubr-2", "backup")
        }
        code, out, err = commands.run(
            *SERVICES["migrate"]["command"],
            folder=base,
            environment=commands.clean_environment(**environments["migrate"]),
        )
        assert code == 0, out + err
        instances = []
        for name in ("ubr-1", "ubr-2"):
            instance = UbrProcess(base, environments[name])
            stack.callback(instance.kill)
            instances.append(instance)
        for instance in instances:
            instance.wait_until_ready()
        health_port = free_port()
        text = (folder / "compose" / "Caddyfile").read_text()
        for name, instance in zip(("ubr-1:8000", "ubr-2:8000"), instances, strict=True):
            assert name in text
            text = text.replace(name, f"127.0.0.1:{instance.port}")

        def caddy(place: Path, port: int) -> list[str]:
            ports = {"HTTP_PORT": free_port(), "HTTPS_PORT": port, "HEALTH_PORT": health_port}
            made = text
            for variable, value in (*ports.items(), ("UBR_DOMAIN", SERVICES["proxy"]["environment"]["UBR_DOMAIN"])):
                default = {"HTTP_PORT": ":80", "HTTPS_PORT": ":443", "HEALTH_PORT": ":2020"}.get(variable, "")
                assert f"{{${variable}{default}}}" in made
                made = made.replace(f"{{${variable}{default}}}", str(value))
            (place / "Caddyfile").write_text(made)
            return ["run", "--adapter", "caddyfile", "--config", str(place / "Caddyfile")]

        proxy = stack.enter_context(Proxy.start(find_caddy(), caddy))
        made = Installation(folder, environments, instances, proxy, health_port)
        deadline = time.monotonic() + commands.PATIENCE
        while True:
            try:  # Caddy makes its certificate, and asks the instances, after it has begun to listen.
                with made.client() as client:
                    if client.get("/api/openapi.json").status_code == 200:
                        break
            except (httpx.HTTPError, OSError):
                pass
            assert time.monotonic() < deadline, proxy.log()
            time.sleep(0.05)
        yield made


def login(client: httpx.Client, email: str, password: str) -> dict[str, str]:
    answer = client.post("/api/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, str] = answer.json()
    return {"authorization": f"Bearer {tokens['access_token']}", "session": tokens["session_id"]}


def a_session_that_ends_on_one_instance_is_dead_on_the_other(installation: Installation) -> None:
    account = {"email": "reader@example.org", "password": "a long enough password"}
    one, two = (httpx.Client(base_url=instance.url, timeout=60) for instance in installation.instances)
    with installation.client() as client, one, two:
        assert client.post("/api/auth/register", json=account).status_code == 201
        mine = login(client, **account)
        headers = {"authorization": mine["authorization"]}
        for each in (client, one, two):
            assert each.get("/api/users/me", headers=headers).status_code == 200
        assert one.delete(f"/api/auth/sessions/{mine['session']}", headers=headers).status_code == 204
        for each in (two, client, one):
            assert each.get("/api/users/me", headers=headers).status_code == 401


def the_first_administrator_has_the_password_of_the_file(installation: Installation) -> None:
    with installation.client() as client:
        mine = login(client, compose.VARIABLES["UBR_ADMIN_EMAIL"], installation.secret("admin_password"))
        me = client.get("/api/users/me", headers={"authorization": mine["authorization"]})
        assert "admin" in me.json()["roles"]


def the_address_of_a_client_is_the_right_one(installation: Installation) -> None:
    """Also if the client claims another one."""
    account = {"email": "traveller@example.org", "password": "a long enough password"}
    with installation.client("127.0.0.88") as client:
        client.headers["x-forwarded-for"] = "192.0.2.1"
        client.headers["x-request-id"] = "chosen-by-the-client"
        answer = client.post("/api/auth/register", json=account)
        assert (answer.status_code, answer.headers["x-request-id"]) == (201, "chosen-by-the-client")
        mine = login(client, **account)
        sessions = client.get("/api/auth/sessions", headers={"authorization": mine["authorization"]}).json()
        assert [session["ip"] for session in sessions["items"]] == ["127.0.0.88"]


def the_proxy_refuses_a_large_body_and_the_paths_of_the_operator(installation: Installation) -> None:
    with installation.client() as client:
        # The connection ends: the proxy does not read the rest of the body.
        large = client.post("/api/auth/register", content=b"x" * 2_000_000, headers={"connection": "close"})
        assert large.status_code == 413
        assert client.get("/metrics").status_code == 404
        assert client.get("/health/ready").status_code == 404
        assert client.get("/api/openapi.json").headers["strict-transport-security"]
    token = {"authorization": f"Bearer {installation.secret('metrics_token')}"}
    for instance in installation.instances:
        assert httpx.get(f"{instance.url}/metrics", headers=token, timeout=60).status_code == 200


def the_connections_of_slow_clients_end(installation: Installation) -> None:
    """One that never finishes its head, and one that never finishes its body."""

    def slow(beginning: bytes) -> bytes:
        context = installation.certificates()
        with (
            socket.create_connection(("127.0.0.1", installation.proxy.port), timeout=commands.PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            secured.sendall(beginning)
            return secured.recv(4096)

    head = b"POST /api/auth/register HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(slow, (head, head + b'Content-Length: 50\r\n\r\n{"')))
    assert ended[0] == b""
    assert ended[1].startswith(b"HTTP/1.1 408 ")


def the_health_checks_pass(installation: Installation) -> None:
    kind, program, *arguments = SERVICES["ubr-1"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "python3")
    for port, healthy in ((installation.instances[0].port, True), (free_port(), False)):
        command = [argument.replace("8000", str(port)) for argument in arguments]
        done = subprocess.run([sys.executable, *command], check=False, capture_output=True)  # noqa: S603
        assert (done.returncode == 0) is healthy
    kind, program, *arguments = SERVICES["proxy"]["healthcheck"]["test"]
    url = arguments[-1].replace("2020", str(installation.health_port))
    assert httpx.get(url, timeout=60).status_code == 200


def a_backup_is_made_and_verified(installation: Installation, tmp_path: Path) -> None:
    script, succeeded = tmp_path / "daily-backup", tmp_path / "succeeded"
    text = (installation.folder / "compose" / "daily-backup").read_text()
    assert "/tmp/succeeded" in text  # noqa: S108 - in the container
    script.write_text(text.replace("/tmp/succeeded", str(succeeded)))  # noqa: S108
    path = on_path(Path(commands.UBR), find_postgres().program)
    settings = {**installation.environments["backup"], "SECOND_PLACE": str(tmp_path / "elsewhere")}
    (tmp_path / "elsewhere").mkdir()
    environment = commands.clean_environment(PATH=path, **settings)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            ["/bin/sh", script], env=environment, stdout=log, stderr=log, start_new_session=True, cwd=tmp_path
        )
    try:
        deadline = time.monotonic() + commands.PATIENCE
        while not succeeded.exists():
            said = (tmp_path / "log").read_text()
            assert process.poll() is None, said
            assert "failed" not in said, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(commands.PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
    for place in (settings["UBR_BACKUP_DIR"], settings["SECOND_PLACE"]):
        assert len([entry for entry in Path(place).iterdir() if entry.is_dir()]) == 1


def the_proxy_uses_the_instance_that_is_left(installation: Installation) -> None:
    installation.instances[0].kill()
    with installation.client() as client:
        assert [client.get("/api/openapi.json").status_code for _ in range(20)] == [200] * 20


@pytest.mark.system(seconds=20)
def test_the_installation(tmp_path: Path) -> None:
    """One test, because every worker of a run would start an installation of its own for a part of it."""
    with installed(tmp_path) as installation, ThreadPoolExecutor() as pool:
        waiting = pool.submit(the_connections_of_slow_clients_end, installation)
        a_session_that_ends_on_one_instance_is_dead_on_the_other(installation)
        the_first_administrator_has_the_password_of_the_file(installation)
        the_address_of_a_client_is_the_right_one(installation)
        the_proxy_refuses_a_large_body_and_the_paths_of_the_operator(installation)
        the_health_checks_pass(installation)
        a_backup_is_made_and_verified(installation, tmp_path)
        waiting.result()
        the_proxy_uses_the_instance_that_is_left(installation)


def test_secrets_are_written_once_with_the_right_modes(tmp_path: Path) -> None:
    folder = init(tmp_path)
    secrets = folder / "secrets"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert set(modes) == {*compose.load()["secrets"], "redis_password"}
    assert set(modes.values()) == {0o444}
    before = {path.name: path.read_text() for path in [*secrets.iterdir(), folder / ".env"]}
    assert len(set(before.values())) == len(before)
    (secrets / "grafana_password").unlink()
    says(folder / "compose" / "init")
    after = {path.name: path.read_text() for path in [*secrets.iterdir(), folder / ".env"]}
    assert {name for name in before if before[name] != after[name]} == {"grafana_password"}


def test_the_files_are_valid() -> None:
    says(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", compose.FILE)
    caddyfile = DEPLOY / "compose" / "Caddyfile"
    caddy = find_caddy().program
    says(caddy, "validate", "--adapter", "caddyfile", "--config", caddyfile, UBR_DOMAIN="users.example.org")
    says(caddy, "fmt", "--diff", caddyfile)
    for script in ("init", "daily-backup", "postgres/roles.sh"):
        says("/bin/sh", "-n", DEPLOY / "compose" / script)
