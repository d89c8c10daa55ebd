"""The commands that do one thing and end."""

import json
import os
import pty
import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from tests.integration.cli.kit import Run
from tests.support import commands
from tests.support.commands import PATIENCE, UBR, clean_environment
from tests.support.service import UbrProcess

PASSWORD = "correct horse battery staple"
ESCAPE = "\x1b["


@pytest.fixture
def ubr(in_process: Run) -> Run:
    return in_process


def on_a_terminal(folder: Path, *arguments: str, typed: tuple[str, ...] = (), **settings: str) -> tuple[int, str]:
    """Run the console script on a terminal, type a line at each colon it shows, and return what was to be seen."""
    ours, its = pty.openpty()
    process = subprocess.Popen(  # noqa: S603
        [UBR, *arguments],
        cwd=folder,
        env=clean_environment(TERM="xterm-256color", **settings),
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    seen = b""
    lines = list(typed)
    with suppress(OSError):  # how a terminal ends whose program has gone
        while chunk := os.read(ours, 65536):
            seen += chunk
            if lines and seen.endswith(b": "):
                os.write(ours, lines.pop(0).encode() + b"\n")
    os.close(ours)
    return process.wait(PATIENCE), seen.decode()


# --- ubr -------------------------------------------------------------------------------------------------------------


@pytest.mark.system
def test_help_and_version(ubr: Run) -> None:
    done = ubr("--help")
    assert (done.code, done.err) == (0, "")
    for command in ("serve", "migrate", "config", "openapi", "admin", "keys", "audit", "after-restore"):
        assert command in done.out
    assert "Run the service." in ubr("serve", "--help").out
    assert ubr("--version").out == f"ubr {version('ubr')}\n"


@pytest.mark.system
def test_help_and_mistakes_load_nothing_heavy() -> None:
    program = """if True:
        import sys
        from ubr.entrypoints.cli.main import main
        for arguments in (
            ["--help"],
            ["admin", "create", "--help"],
            ["keys", "list", "--help"],
            ["audit", "verify", "--help"],
            ["audit", "prune"],
            ["after-restore", "--help"],
            ["serve"],
        ):
            try:
                main(arguments)
            except SystemExit:
                pass
        heavy = {"litestar", "sqlalchemy", "granian", "argon2", "asyncio", "ubr.application"}
        print(sorted(heavy & set(sys.modules)))
    """
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], env=clean_environment(UBR_PORT="x"), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments",
    [("nope",), ("serve", "--port"), ("admin", "create"), ("config", "--json", "--markdown"), ("admin", "x")],
)
def test_wrong_usage(ubr: Run, arguments: tuple[str, ...]) -> None:
    done = ubr(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


# --- ubr config ------------------------------------------------------------------------------------------------------


def test_config_as_json(ubr: Run) -> None:
    done = ubr("config", "--json", UBR_PORT="8123", UBR_METRICS_TOKEN="0123456789abcdef")
    assert (done.code, done.err) == (0, "")
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert (rows["UBR_PORT"]["value"], rows["UBR_PORT"]["source"]) == ("8123", "environment")
    assert (rows["UBR_HOST"]["value"], rows["UBR_HOST"]["source"]) == ("127.0.0.1", "default")
    assert rows["UBR_METRICS_TOKEN"]["value"] == "***"
    assert rows["UBR_REDIS_URL"]["value"] is None


def test_config_as_a_table(ubr: Run, tmp_path: Path) -> None:
    done = ubr("config", UBR_DATABASE_URL="postgresql://ubr:hunter2@db/ubr", UBR_SECRET_KEY="hunter2-0123456789" * 2)
    assert (done.code, done.err) == (0, "")
    assert "postgresql+asyncpg://ubr:***@db/ubr" in done.out
    assert "hunter2" not in done.out
    assert ESCAPE not in done.out
    assert not list(tmp_path.iterdir())


@pytest.mark.system
@pytest.mark.parametrize("columns", ["80", "160"])
def test_the_list_of_keys_fits_into_a_terminal(tmp_path: Path, columns: str) -> None:
    environment = clean_environment(COLUMNS=columns)
    assert commands.run("keys", "rotate", folder=tmp_path, environment=environment)[0] == 0
    code, seen = on_a_terminal(tmp_path, "keys", "list", COLUMNS=columns, NO_COLOR="1")
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", seen).splitlines()]
    assert code == 0
    assert max(map(len, lines)) <= int(columns)
    keys = [line.split() for line in lines if "EdDSA" in line]
    assert len(keys) == 2
    assert all(len(words[0]) == 43 for words in keys), "a kid in one piece"
    for words in ("created", "signs from"):
        assert words in seen


@pytest.mark.system
def test_colours_are_for_terminals_that_want_them(tmp_path: Path) -> None:
    code, seen = on_a_terminal(tmp_path, "config")
    assert code == 0
    assert f"{ESCAPE}1m" in seen
    _, seen = on_a_terminal(tmp_path, "config", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", seen)
    code, seen = on_a_terminal(tmp_path, "config", UBR_PORT="x")
    assert code == 2
    assert f"{ESCAPE}31m" in seen
    _, seen = on_a_terminal(tmp_path, "config", UBR_PORT="x", NO_COLOR="1")
    assert f"{ESCAPE}31m" not in seen


def test_config_as_documentation(ubr: Run) -> None:
    done = ubr("config", "--markdown")
    assert done.code == 0
    assert done.out.startswith("# Settings\n")


@pytest.mark.parametrize("line", ["config", "config --json", "config --markdown", "openapi", "migrate --check"])
def test_what_only_looks_makes_no_file(ubr: Run, tmp_path: Path, line: str) -> None:
    done = ubr(*line.split())
    assert done.code == (1 if line == "migrate --check" else 0)
    assert not list(tmp_path.iterdir())


# --- ubr openapi -----------------------------------------------------------------------------------------------------


def test_openapi_into_a_file(ubr: Run, tmp_path: Path) -> None:
    done = ubr("openapi", "--output", "document.json")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert json.loads((tmp_path / "document.json").read_text())["openapi"].startswith("3.1")
    assert [path.name for path in tmp_path.iterdir()] == ["document.json"]


def test_openapi_into_a_file_that_is_there(ubr: Run, tmp_path: Path) -> None:
    file, link = tmp_path / "document.json", tmp_path / "link.json"
    file.write_text("of yesterday")
    file.chmod(0o640)
    link.symlink_to(file)
    assert ubr("openapi", "--output", "link.json").code == 0
    assert json.loads(file.read_text())["openapi"].startswith("3.1")
    assert (link.is_symlink(), stat.S_IMODE(file.stat().st_mode)) == (True, 0o640)


def test_openapi_into_a_pipe(ubr: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(
        [sys.executable, "-c", "print(open('pipe').read())"], cwd=tmp_path, stdout=subprocess.PIPE
    )
    try:
        done = ubr("openapi", "--output", "pipe")
        assert (done.code, done.out, done.err) == (0, "", "")
        assert [path.is_fifo() for path in tmp_path.iterdir()] == [True]
        read, _ = reader.communicate(timeout=PATIENCE)
    finally:
        reader.kill()
        reader.communicate()
    assert json.loads(read)["openapi"].startswith("3.1")


@pytest.mark.parametrize("output", ["no/such/folder/document.json", "file/document.json", "x" * 300])
def test_openapi_where_nothing_can_be_written(ubr: Run, tmp_path: Path, output: str) -> None:
    (tmp_path / "file").touch()
    done = ubr("openapi", "--output", output)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"Cannot write to {output}: ")
    assert done.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# --- ubr migrate -----------------------------------------------------------------------------------------------------


def test_a_schema_behind_up_to_date_and_from_the_future(ubr: Run, tmp_path: Path) -> None:
    behind = ubr("migrate", "--check")
    assert (behind.code, behind.out) == (1, "")
    assert "`ubr migrate`" in behind.err
    for arguments, words in (
        (("migrate",), "was upgraded"),
        (("migrate",), "is up to date"),
        (("migrate", "--check"), "is up to date"),
    ):
        done = ubr(*arguments)
        assert (done.code, done.out, done.err) == (0, f"The schema {words}.\n", "")

    with closing(sqlite3.connect(tmp_path / "var/ubr.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'of-tomorrow'")
        database.commit()
    for line in ("migrate", "admin create --email a@b.example --generate"):
        done = ubr(*line.split())
        assert (done.code, done.out) == (1, "")
        assert done.err == "A newer version of ubr has upgraded the database: use that version.\n"


# --- ubr admin create, beside a service that runs on the same database -----------------------------------------------


def create(ubr: Run, service: UbrProcess, email: str, *options: str, stdin: str | bytes = "") -> tuple[int, str, str]:
    done = ubr("admin", "create", "--email", email, *options, stdin=stdin, folder=service.folder)
    return done.code, done.out, done.err


def is_admin(service: UbrProcess, email: str, password: str) -> bool:
    answer = service.logged_in(email, password)
    return answer.status_code == 200 and "admin" in answer.json()["user"]["roles"]


@pytest.mark.parametrize("end", ["", "\r\n"])
@pytest.mark.system
def test_a_password_from_standard_input(ubr: Run, service: UbrProcess, end: str) -> None:
    email = f"stdin{len(end)}@example.com"
    code, out, err = create(ubr, service, email, "--password-stdin", stdin=PASSWORD + end)
    assert (code, out, err) == (0, f"{email} is an administrator in SQLite, var/ubr.db.\n", "")
    assert is_admin(service, email, PASSWORD)


@pytest.mark.system
def test_a_generated_password(ubr: Run, service: UbrProcess) -> None:
    code, out, err = create(ubr, service, "generated@example.com", "--generate")
    assert (code, err) == (0, "")
    assert is_admin(service, "generated@example.com", out.split()[-1])


@pytest.mark.system
def test_a_prompted_password(service: UbrProcess) -> None:
    arguments = ("admin", "create", "--email", "prompted@example.com")
    code, seen = on_a_terminal(service.folder, *arguments, typed=(PASSWORD, PASSWORD))
    assert code == 0
    assert PASSWORD not in seen
    assert is_admin(service, "prompted@example.com", PASSWORD)


@pytest.mark.parametrize(
    ("email", "options", "stdin", "words"),
    [
        ("ada", ("--generate",), "", "The e-mail"),
        ("ada@example.com", ("--password-stdin",), "short", "The password must have at least 15 characters."),
        ("ada@example.com", ("--password-stdin",), "passwordpassword", "The password is one of the most common"),
        ("ada@example.com", ("--password-stdin",), "", "The password"),
        ("ada@example.com", ("--password-stdin",), b"\xff" * 20, "not UTF-8"),
        ("ada@example.com", ("--password-stdin",), "two lines of a\npassword\n", "control character"),
        ("ada@example.com", ("--password-stdin",), "x" * 100_000, "The password"),
        ("ada@example.com", ("--password-stdin", "--generate"), "", "exclude each other"),
        ("ada@example.com", (), "", "--password-stdin or --generate"),
    ],
)
@pytest.mark.system
def test_what_is_no_administrator(
    ubr: Run, service: UbrProcess, *, email: str, options: tuple[str, ...], stdin: str | bytes, words: str
) -> None:
    code, out, err = create(ubr, service, email, *options, stdin=stdin)
    assert (code, out) == (2, "")
    assert words in " ".join(re.sub(r"[│╭╮╰╯─]", "", err).split())
    assert "Traceback" not in err


@pytest.mark.system
def test_taking_over(ubr: Run, service: UbrProcess) -> None:
    stranger = {"email": "stranger@example.com", "password": PASSWORD}
    assert httpx.post(f"{service.url}/api/auth/register", json=stranger).status_code == 201
    token = service.logged_in(**stranger).json()["access_token"]
    who_am_i = httpx.Request("GET", f"{service.url}/api/users/me", headers={"Authorization": f"Bearer {token}"})

    code, out, err = create(ubr, service, "Stranger@example.com", "--password-stdin", stdin="another good password")
    assert (code, out) == (1, "")
    assert "--take-over" in err
    with httpx.Client() as client:
        assert client.send(who_am_i).status_code == 200
        options = ("--password-stdin", "--take-over")
        code, out, err = create(ubr, service, "stranger@example.com", *options, stdin="another good password")
        assert (code, err) == (0, "")
        assert client.send(who_am_i).status_code == 401
    assert service.logged_in(**stranger).status_code == 401
    assert is_admin(service, "stranger@example.com", "another good password")


@pytest.mark.system
def test_an_account_that_does_not_exist_is_not_taken_over(ubr: Run, service: UbrProcess) -> None:
    options = ("--password-stdin", "--take-over")
    code, out, err = create(ubr, service, "absent@example.com", *options, stdin="another good password")
    assert (code, out) == (1, "")
    assert "no account to take over with this e-mail in SQLite, var/ubr.db" in " ".join(err.split())


def test_an_administrator_in_the_wrong_folder_names_the_new_database(ubr: Run) -> None:
    done = ubr("admin", "create", "--email", "a@b.example", "--generate")
    assert done.code == 0
    assert "is an administrator in SQLite, var/ubr.db." in done.out
    assert "There was no database in this folder" in done.err
    again = ubr("admin", "create", "--email", "c@b.example", "--generate")
    assert (again.code, again.err) == (0, "")


def test_admin_create_on_a_schema_that_is_behind(ubr: Run) -> None:
    done = ubr("admin", "create", "--email", "a@b.example", "--generate", UBR_MIGRATE="check")
    assert (done.code, done.out) == (1, "")
    assert "`ubr migrate`" in done.err
