"""`ubr serve`: what it prepares, what it says, how it ends."""

import fcntl
import json
import os
import pty
import re
import signal
import sqlite3
import stat
import struct
import subprocess
import termios
import time
from collections import Counter
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

import anyio
import httpx
import pytest

from tests.integration.cli.kit import Run, Serve
from tests.support.commands import PATIENCE, UBR, clean_environment
from tests.support.plugin import NewDatabase
from tests.support.servers import free_port
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, on_postgres
from ubr import SYSTEM, ListLogsCommand, RegisterUserCommand, Settings, connect
from ubr.bootstrap import open_environment

pytestmark = pytest.mark.system

KEY = "0123456789abcdef" * 4
PASSWORD = "correct horse battery staple"


def eventually_answers(url: str) -> httpx.Response:
    """Ask until there is an answer: a worker's socket goes with it, and comes with the next."""
    with anyio.from_thread.start_blocking_portal() as portal:
        return portal.call(_ask, url)


async def _ask(url: str) -> httpx.Response:
    with anyio.fail_after(15):
        async with httpx.AsyncClient() as client:
            while True:
                try:
                    return await client.get(url)
                except httpx.TransportError:
                    await anyio.sleep(0.02)


async def _nobody_listens(port: int) -> None:
    with anyio.fail_after(15), suppress(OSError):
        while True:
            stream = await anyio.connect_tcp("127.0.0.1", port)
            await stream.aclose()
            await anyio.sleep(0.02)


# --- one service for these -------------------------------------------------------------------------------------------


def test_it_says_what_there_is_to_know(service: UbrProcess) -> None:
    email, password = service.credentials
    said = [json.loads(line) for line in service.said]
    assert [line.pop("level") for line in said] == ["info"] * 3
    assert all(re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{6}Z", line.pop("timestamp")) for line in said), "as in the log"
    assert said == [
        {"event": "starting", "version": f"ubr {version('ubr')}", "database": "SQLite, var/ubr.db"},
        {"event": "first administrator", "email": email, "password": password},
        {
            "event": "serving",
            "service": service.url,
            "login": f"{service.url}/login",
            "docs": f"{service.url}/api/docs",
        },
    ]


def test_it_says_so_in_text_if_that_is_wanted(serve: Serve) -> None:
    service = serve(UBR_LOG_FORMAT="text").wait_until_ready()
    first, title, email, password, *places = service.said
    assert first == f"ubr {version('ubr')} on SQLite, var/ubr.db"
    assert title == "The first administrator, whose password is shown this once:"
    assert email == "  e-mail    admin@ubr.localhost"
    assert re.fullmatch(r"  password  [a-z0-9-]{29}", password)
    assert places == [
        f"  service   {service.url}",
        f"  login     {service.url}/login",
        f"  docs      {service.url}/api/docs",
    ]
    assert service.status("/health/live") == 200
    log = service.wait_for_log("/health/live")
    assert re.search(r"^\d\d:\d\d:\d\d info    200 GET  +[\d.]+ ms  /health/live", log, re.MULTILINE)
    assert "\x1b" not in log, "no colours, since it is not a terminal"


def test_it_answers(service: UbrProcess) -> None:
    for path in ("/health/live", "/health/ready", "/api/docs", "/api/openapi.json"):
        assert httpx.get(service.url + path).status_code == 200


def test_the_credentials_sign_in_an_administrator(service: UbrProcess) -> None:
    answer = service.logged_in(*service.credentials)
    assert answer.status_code == 200
    assert answer.json()["user"]["roles"] == ["admin", "user"]


def test_the_password_is_on_standard_output_alone(service: UbrProcess) -> None:
    _, password = service.credentials
    service.logged_in(*service.credentials)
    assert password not in service.wait_for_log("/api/auth/login")
    for path in service.folder.rglob("*"):
        assert path.is_dir() or password.encode() not in path.read_bytes()


def test_what_it_keeps_is_for_its_owner(service: UbrProcess) -> None:
    assert stat.S_IMODE((service.folder / "var").stat().st_mode) == 0o700
    assert stat.S_IMODE((service.folder / "var/secret_key").stat().st_mode) == 0o600


def test_every_line_of_the_log_is_json(service: UbrProcess) -> None:
    httpx.get(f"{service.url}/health/live")
    assert all(json.loads(line)["event"] for line in service.log.splitlines())


def test_the_printed_document_is_the_served_one(service: UbrProcess, ubr: Run) -> None:
    printed = ubr("openapi")
    assert (printed.code, printed.err) == (0, "")
    assert json.loads(printed.out) == httpx.get(f"{service.url}/api/openapi.json").json()


def test_a_port_in_use(service: UbrProcess, ubr: Run, tmp_path: Path) -> None:
    done = ubr("serve", UBR_PORT=str(service.port))
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"Another process already listens on 127.0.0.1, port {service.port}: stop it, or set UBR_PORT.\n"
    )
    assert not (tmp_path / "var/ubr.db").exists()


# --- a life of their own ---------------------------------------------------------------------------------------------


@pytest.mark.long
def test_log_lines_from_before_the_workers_are_json_too(serve: Serve) -> None:
    service = serve(UBR_REDIS_URL="redis://127.0.0.1:1").wait_until_ready()
    lines = [json.loads(line)["event"] for line in service.log.splitlines()]
    assert "The fast path is lost (ConnectionError): a revocation takes up to the bound" in lines


@pytest.mark.system(seconds=5)
def test_it_stops_and_starts_again(serve: Serve) -> None:
    first = serve(script=True).wait_until_ready()
    credentials = first.credentials
    assert first.stop(signal.SIGTERM) == 0
    assert len(first.said) == 3

    second = serve(script=True).wait_until_ready()
    assert len(second.said) == 2
    assert credentials[1] not in "".join(second.said)
    assert second.logged_in(*credentials).status_code == 200
    assert second.stop(signal.SIGINT) == 0


def test_a_request_under_way_is_answered_before_it_stops(serve: Serve) -> None:
    service = serve().wait_until_ready()
    port = service.port
    body = json.dumps(dict(zip(("email", "password"), service.credentials, strict=True))).encode()
    lines = [
        "POST /api/auth/login HTTP/1.1",
        "Host: h",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Expect: 100-continue",  # said when the body is asked for: then the request is under way
    ]
    head = "\r\n".join(lines) + "\r\n\r\n"

    async def talk() -> bytes:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(head.encode())
            assert await stream.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
            service.process.send_signal(signal.SIGTERM)
            await _nobody_listens(port)
            await stream.send(body)
            return await stream.receive()

    assert anyio.run(talk).startswith(b"HTTP/1.1 200 ")
    assert service.wait() == 0


def test_an_orderly_stop_writes_what_its_workers_have_counted(serve: Serve, new_database: NewDatabase) -> None:
    url = new_database()
    service = serve(**on_postgres(url)).wait_until_ready()
    account = {"email": "member@example.org", "password": PASSWORD}
    assert httpx.post(f"{service.url}/api/auth/register", json=account).status_code == 201
    token = service.logged_in(**account).json()["access_token"]
    for _ in range(5):
        denied = httpx.get(f"{service.url}/api/users", headers={"Authorization": f"Bearer {token}"})
        assert denied.status_code == 403
        rejected = httpx.get(f"{service.url}/api/users", headers={"Authorization": "Bearer none"})
        assert rejected.status_code == 401
    body = b'{"name": "editor"}'
    lines = [
        "POST /api/roles HTTP/1.1",
        "Host: h",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Expect: 100-continue",
    ]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"

    async def denied_twice() -> None:
        """By one worker, and the second time after the signal: the request was under way before."""
        async with await anyio.connect_tcp("127.0.0.1", service.port) as stream:
            for stopping in (False, True):
                await stream.send(head)
                assert await stream.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
                if stopping:
                    service.process.send_signal(signal.SIGTERM)
                    await _nobody_listens(service.port)
                await stream.send(body)
                assert (await stream.receive()).startswith(b"HTTP/1.1 403 ")

    anyio.run(denied_twice)
    assert service.wait() == 0

    async def recorded() -> tuple[Counter[str], Counter[str]]:
        denials, rejections = Counter[str](), Counter[str]()
        settings = Settings.memory(database_url=url)
        async with open_environment(settings, prepared=False, following=False) as environment:
            page = await environment.application.list_logs(ListLogsCommand(limit=200), actor=SYSTEM)
            for entry in page.items:
                if entry.action == "act.refused":
                    denials[entry.data["act"]] += entry.data["count"]
                if entry.action == "requests.rejected":
                    rejections.update(entry.data["counts"])
        return denials, rejections

    assert anyio.run(recorded) == ({"list_users": 5, "create_role": 2}, {"invalid-token": 5})


def test_after_sigterm_it_is_not_ready_and_goes_on_answering(serve: Serve) -> None:
    service = serve(UBR_SHUTDOWN_DELAY="10m").wait_until_ready()
    service.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while service.status() == 200:
        assert time.monotonic() < deadline, "it is still ready"
    not_ready = httpx.get(f"{service.url}/health/ready")
    assert (not_ready.status_code, not_ready.json()["type"]) == (503, "/problems/unavailable")
    assert '"cause":"The service is shutting down"' in service.wait_for_log('"reason":"unavailable"')
    for _ in range(3):
        alive = httpx.get(f"{service.url}/health/live")
        assert (alive.status_code, alive.headers["connection"]) == (200, "close")
    assert service.logged_in(*service.credentials).status_code == 200
    assert service.stop(signal.SIGTERM) == 0, "a second one ends the wait"


def test_ctrl_c_does_not_wait(serve: Serve) -> None:
    service = serve(UBR_SHUTDOWN_DELAY="10m").wait_until_ready()
    assert service.stop(signal.SIGINT) == 0


def test_a_worker_that_dies_is_replaced(serve: Serve) -> None:
    service = serve().wait_until_ready()
    (worker,) = service.workers()
    os.kill(worker, signal.SIGKILL)
    assert eventually_answers(f"{service.url}/health/ready").status_code == 200
    assert worker not in service.workers()
    assert service.stop() == 0
    assert "Unexpected exit from worker-1" in service.log


@pytest.mark.parametrize(
    ("settings", "status"),
    [({}, 200), ({"UBR_HOST": "0.0.0.0"}, 404), ({"UBR_TRUSTED_PROXIES": "192.0.2.0/24"}, 404)],  # noqa: S104
    ids=["alone", "for-others", "behind-a-proxy"],
)
def test_metrics_are_for_this_machine_while_no_other_reaches_the_service(
    serve: Serve, settings: dict[str, str], status: int
) -> None:
    service = serve(**settings).wait_until_ready()
    assert service.status("/metrics") == status


def test_workers_go_with_their_supervisor(serve: Serve) -> None:
    service = serve().wait_until_ready()
    service.process.kill()
    anyio.run(_nobody_listens, service.port)


def test_a_person_at_a_terminal_sees_text_that_fits(tmp_path: Path) -> None:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    port = free_port()
    process = subprocess.Popen(  # noqa: S603 - our own program
        [UBR, "serve"],
        cwd=tmp_path,
        env=clean_environment(TERM="xterm-256color", UBR_PORT=str(port)),
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    seen = b""

    def read_until(text: str) -> None:
        nonlocal seen
        while text.encode() not in seen:
            chunk = os.read(ours, 65536)
            assert chunk, seen
            seen += chunk

    try:
        read_until("/api/docs")
        assert httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/{'x/' * 200}y").status_code == 404
        read_until("reason=not-found")
        read_until("ip=127.0.0.1")
    finally:
        process.terminate()
        with suppress(OSError):  # how a terminal ends whose program has gone
            while chunk := os.read(ours, 65536):
                seen += chunk
        os.close(ours)
        assert process.wait(PATIENCE) == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", seen.decode())
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= 100
    assert "The first administrator, whose password is shown this once:" in lines
    assert any(re.fullmatch(r"  password  [a-z0-9-]{29}", line) for line in lines)
    assert any(re.match(r"\d\d:\d\d:\d\d info    200 GET  +[\d.]+ ms  /health/live", line) for line in lines)
    assert "\x1b[32m200\x1b[0m" in seen.decode()
    assert not any(line.startswith("{") for line in lines)


# --- who the first administrator is ----------------------------------------------------------------------------------


def test_an_administrator_by_settings(serve: Serve) -> None:
    settings = {"UBR_ADMIN_EMAIL": "ada@example.com", "UBR_ADMIN_PASSWORD": PASSWORD}
    service = serve(**settings).wait_until_ready()
    assert len(service.said) == 2
    assert service.logged_in("ada@example.com", PASSWORD).json()["user"]["roles"] == ["admin", "user"]
    assert service.stop() == 0
    assert PASSWORD not in service.log


def test_an_administrator_whose_e_mail_is_a_strangers(ubr: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/own.db"
    settings = {"UBR_DATABASE_URL": url, "UBR_SECRET_KEY": KEY, "UBR_MIGRATE": "auto", "UBR_PORT": str(free_port())}

    async def register() -> None:
        async with connect(Settings.from_env(settings)) as application:
            await application.register_user(
                RegisterUserCommand(email="ada@example.com", password=PASSWORD), actor=SYSTEM
            )

    anyio.run(register)
    done = ubr("serve", **settings, UBR_ADMIN_EMAIL="Ada@example.com", UBR_ADMIN_PASSWORD=PASSWORD)
    assert (done.code, done.out) == (1, "")
    assert "`ubr admin create --take-over`" in done.err
    assert done.err.count("\n") == 1


def test_a_database_of_ones_own_gets_no_made_up_administrator(serve: Serve, tmp_path: Path) -> None:
    own = {"UBR_DATABASE_URL": f"sqlite:///{tmp_path}/own.db", "UBR_SECRET_KEY": KEY, "UBR_MIGRATE": "auto"}
    service = serve(**own).wait_until_ready()
    said = [json.loads(line) for line in service.said]
    assert [line["event"] for line in said] == ["starting", "serving"], "lines of JSON, as its log"
    assert said[1]["service"] == service.url
    assert said[0]["database"].startswith("SQLite")
    assert "there is no administrator: run `ubr admin create`" in service.log
    assert "no mail is sent" in service.log
    assert service.stop() == 0
    with closing(sqlite3.connect(f"{tmp_path}/own.db")) as database:
        assert database.execute("SELECT count(*) FROM users").fetchone() == (0,)


# --- what stops a start ----------------------------------------------------------------------------------------------


def test_wrong_settings(ubr: Run, tmp_path: Path) -> None:
    done = ubr("serve", UBR_PORT="0", UBR_HOSTT="h", UBR_DATABASE_URL="postgresql//u:hunter2hunter2@h/d")
    assert (done.code, done.out) == (2, "")
    assert [line.partition(" ")[0] for line in done.err.splitlines()] == ["UBR_HOSTT", "UBR_DATABASE_URL", "UBR_PORT"]
    assert "hunter2" not in done.err
    assert not list(tmp_path.iterdir())


def test_a_password_that_everybody_tries_first(ubr: Run, tmp_path: Path) -> None:
    settings = {"UBR_ADMIN_EMAIL": "ada@example.com", "UBR_ADMIN_PASSWORD": "hunter2hunter2hunter2"}
    done = ubr("serve", **settings, UBR_PORT=str(free_port()))
    assert (done.code, done.out) == (2, "")
    assert done.err == "UBR_ADMIN_PASSWORD is one of the most common passwords, or a repetition of one.\n"
    assert not (tmp_path / "var/ubr.db").exists()


@pytest.mark.long
def test_an_own_list_of_passwords(ubr: Run, tmp_path: Path) -> None:
    listed = {"UBR_PASSWORD_BLOCK_LIST": "listed.txt", "UBR_PORT": str(free_port())}
    done = ubr("serve", **listed)
    assert (done.code, done.out) == (2, "")
    assert done.err == ("UBR_PASSWORD_BLOCK_LIST names listed.txt, which cannot be read: No such file or directory.\n")
    (tmp_path / "listed.txt").write_text("widgets of the example company\n")
    settings = {"UBR_ADMIN_EMAIL": "ada@example.com", "UBR_ADMIN_PASSWORD": "Widgets of the Example Company"}
    done = ubr("serve", **settings, **listed)
    assert (done.code, done.out) == (2, "")
    assert done.err == "UBR_ADMIN_PASSWORD is one of the most common passwords, or a repetition of one.\n"
    assert not (tmp_path / "var/ubr.db").exists()


def test_a_schema_that_is_behind(ubr: Run) -> None:
    done = ubr("serve", UBR_MIGRATE="check", UBR_PORT=str(free_port()))
    assert (done.code, done.out) == (1, "")
    assert done.err == "The schema of the database is behind this version of ubr: run `ubr migrate`.\n"


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"UBR_DATABASE_URL": "memory:"}, 2, "ends with the process"),
        ({"UBR_DATABASE_URL": "sqlite:///no/such/file.db"}, 2, "folder does not exist"),
        (
            {"UBR_DATABASE_URL": "postgresql://ubr:hunter2@127.0.0.1:1/ubr"},
            1,
            "No server listens at the address of the database (connection refused)",
        ),
        (
            {"UBR_DATABASE_URL": "sqlite:///garbage.db"},
            1,
            "The database file is not an SQLite database (SQLITE_NOTADB)",
        ),
        ({"UBR_HOST": "192.0.2.1"}, 1, "Cannot listen on 192.0.2.1"),
        ({"UBR_HOST": "no-such-host.invalid"}, 1, "Cannot listen on no-such-host.invalid"),
    ],
)
def test_what_is_not_there(ubr: Run, tmp_path: Path, settings: dict[str, str], code: int, words: str) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_text("no database at all" * 100)
    garbage.chmod(0o600)
    done = ubr("serve", **{"UBR_SECRET_KEY": KEY, "UBR_PORT": str(free_port())} | settings)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert done.err.count("\n") == 1
    assert "hunter2" not in done.err


def test_debugging_shows_where(ubr: Run) -> None:
    done = ubr("serve", UBR_LOG_LEVEL="debug", UBR_PORT="x")
    assert done.code == 2
    assert "Traceback" in done.err


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_two_services_of_two_workers_prepare_one_database_once(
    serve: Serve, ubr: Run, new_database: NewDatabase
) -> None:
    settings = {
        "UBR_DATABASE_URL": new_database(migrated=False),
        "UBR_SECRET_KEY": KEY,
        "UBR_MIGRATE": "auto",
        "UBR_WORKERS": "2",
        "UBR_ADMIN_EMAIL": "ada@example.com",
        "UBR_ADMIN_PASSWORD": PASSWORD,
    }
    both = [serve(**settings), serve(**settings)]
    for service in both:
        service.wait_until_ready()
        assert len(service.workers()) == 2

    with httpx.Client(base_url=both[0].url) as client:
        answer = both[0].logged_in("ada@example.com", PASSWORD)
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        users = client.get("/api/users").json()["items"]
        actions = [entry["action"] for entry in client.get("/api/logs", params={"limit": 200}).json()["items"]]
    assert len(users) == 1
    assert actions.count("signing_key.created") == 1
    assert actions.count("user.created") == 1

    keys = [httpx.get(f"{service.url}/.well-known/jwks.json").json() for service in both for _ in range(4)]
    assert all(key == keys[0] for key in keys)
    assert [service.stop() for service in both] == [0, 0]

    assert ubr("migrate", "--check", **settings).code == 0


def test_no_process_of_a_service_can_be_dumped(service: UbrProcess) -> None:
    for pid in (service.process.pid, *service.workers()):
        limits = Path(f"/proc/{pid}/limits")
        if limits.exists():  # on Linux
            [line] = [line for line in limits.read_text().splitlines() if line.startswith("Max core file size")]
            assert line.split()[4:6] == ["0", "0"]


def test_a_service_warns_only_if_it_is_of_root(service: UbrProcess) -> None:
    assert service.log.count("ubr runs as root") == (1 if os.geteuid() == 0 else 0)


def test_a_restart_with_another_declaration_indexes_the_earlier_users(
    serve: Serve, new_database: NewDatabase, tmp_path: Path
) -> None:
    declaration = tmp_path / "fields.json"
    settings = {**on_postgres(new_database()), "UBR_USER_FIELDS_FILE": str(declaration)}
    field = {"name": "plan", "type": "string", "default": "free"}
    declaration.write_text(json.dumps({"fields": [field]}))
    service = serve(**settings).wait_until_ready()
    for n in range(3):
        account = {"email": f"member{n}@example.org", "password": PASSWORD}
        assert httpx.post(f"{service.url}/api/auth/register", json=account).status_code == 201
    assert service.stop() == 0
    assert "indexed" not in service.log
    declaration.write_text(json.dumps({"fields": [{**field, "searchable": True}]}))
    service = serve(**settings).wait_until_ready()
    service.wait_for_log("Every user is indexed by the searchable fields now: 4 were not")
    token = service.logged_in(ADMIN_EMAIL, ADMIN_PASSWORD).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    found = httpx.get(f"{service.url}/api/users", params={"fields.plan": "free"}, headers=headers)
    assert (found.status_code, len(found.json()["items"])) == (200, 4)
    assert service.stop() == 0
