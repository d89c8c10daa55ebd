"""The same small application with ubr, fastapi-users and django-allauth: run `python -m bench.comparison.compare`.

It installs each library in an environment of its own, in the versions below and with ubr from this checkout, starts
each application of `apps/` as a server, and has the same conversation with it. It prints the table of
docs/comparison.md.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import ast
import io
import re
import secrets
import subprocess
import sys
import tempfile
import time
import tokenize
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

import httpx
import msgspec

from bench.extras import ROOT, built, constraints, run
from tests.support.commands import clean_environment
from tests.support.servers import free_port

APPS: Final = Path(__file__).parent / "apps"
SERVER: Final = "uvicorn==0.54.0"
FASTAPI_USERS: Final = ("fastapi-users[sqlalchemy]==15.0.5", "aiosqlite==0.22.1", "fastapi==0.165.0", SERVER)
ALLAUTH: Final = ("django-allauth[headless]==65.22.1", "django==5.2.19")
WSGI: Final = (
    "import sys, with_allauth; from wsgiref.simple_server import make_server; "
    "make_server('127.0.0.1', int(sys.argv[1]), with_allauth.app).serve_forever()"
)

PASSWORD: Final = "quiet harbour lanterns 7412"
OTHER: Final = "seven copper umbrellas 9035"
WEAK: Final = ("password", "12345678", "qwertyuiopasdfg", "passwordpassword", "reader@example.org")
ATTEMPTS: Final = 50
"""Wrong passwords for one account from one client, without a pause."""
TIMED: Final = 8
"""Failed logins whose processor time is compared, fewer than any of the libraries limits."""
LIMITED: Final = frozenset({429})


class Answer(msgspec.Struct, frozen=True):
    """A status and a text that do not depend on the request, and the credential of a login."""

    status: int
    text: str
    credential: dict[str, str]

    @property
    def accepted(self) -> bool:
        return self.status < 400  # noqa: PLR2004


class Talk(msgspec.Struct, frozen=True):
    """How a client of one library speaks: paths, bodies and credentials."""

    register: str
    login: str
    logout: tuple[str, str]
    change: tuple[str, str]
    forgot: str
    form: bool = False
    allauth: bool = False


UBR: Final = Talk(
    register="/users/api/auth/register",
    login="/users/api/auth/login",
    logout=("POST", "/users/api/auth/logout"),
    change=("POST", "/users/api/auth/password"),
    forgot="/users/api/auth/password/forgot",
)
FASTAPI: Final = Talk(
    register="/auth/register",
    login="/auth/login",
    logout=("POST", "/auth/logout"),
    change=("PATCH", "/users/me"),
    forgot="/auth/forgot-password",
    form=True,
)
DJANGO: Final = Talk(
    register="/_allauth/browser/v1/auth/signup",
    login="/_allauth/browser/v1/auth/login",
    logout=("DELETE", "/_allauth/browser/v1/auth/session"),
    change=("POST", "/_allauth/browser/v1/account/password/change"),
    forgot="/_allauth/browser/v1/auth/password/request",
    allauth=True,
)


class Client:
    """One person, or several: each call has the credential that it is given, and nothing else."""

    def __init__(self, address: str, talk: Talk) -> None:
        self._http = httpx.Client(base_url=address, timeout=60)
        self._talk = talk

    def register(self, email: str, password: str) -> Answer:
        return self._send("POST", self._talk.register, {"email": email, "password": password})

    def log_in(self, email: str, password: str) -> Answer:
        name = "username" if self._talk.form else "email"
        return self._send("POST", self._talk.login, {name: email, "password": password}, form=self._talk.form)

    def log_out(self, credential: dict[str, str]) -> Answer:
        return self._send(*self._talk.logout, {}, credential)

    def change_password(self, credential: dict[str, str], current: str, new: str) -> Answer:
        body = {"password": new} if self._talk.form else {"current_password": current, "new_password": new}
        return self._send(*self._talk.change, body, credential)

    def forgot(self, email: str) -> Answer:
        return self._send("POST", self._talk.forgot, {"email": email})

    def notes(self, credential: dict[str, str]) -> Answer:
        return self._send("GET", "/notes", None, credential)

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, str] | None,
        credential: dict[str, str] | None = None,
        *,
        form: bool = False,
    ) -> Answer:
        headers = {} if credential is None else dict(credential)
        if self._talk.allauth and body is not None:
            headers |= self._csrf(headers.get("Cookie", ""))
        self._http.cookies.clear()
        found = self._http.request(
            method, path, headers=headers, json=None if form or not body else body, data=body if form else None
        )
        return Answer(found.status_code, _without_ids(found.text, body), self._credential(found))

    def _csrf(self, cookies: str) -> dict[str, str]:
        """Django's token against forged requests, as a page of the application would send it."""
        known = re.search(r"csrftoken=(\w+)", cookies)
        if known is None:
            self._http.cookies.clear()
            found = self._http.get("/_allauth/browser/v1/config")
            token = found.cookies["csrftoken"]
            cookies = f"{cookies}; csrftoken={token}".lstrip("; ")
        else:
            token = known[1]
        return {"Cookie": cookies, "X-CSRFToken": token}

    def _credential(self, found: httpx.Response) -> dict[str, str]:
        if self._talk.allauth:
            return {"Cookie": "; ".join(f"{name}={value}" for name, value in found.cookies.items())}
        try:
            return {"Authorization": f"Bearer {found.json()['access_token']}"}
        except (ValueError, KeyError, TypeError):
            return {}


def _without_ids(text: str, body: dict[str, str] | None) -> str:
    """An answer without what differs from one request to the next: ids, times, and the values that were sent."""
    for value in (body or {}).values():
        text = text.replace(value, "…")
    return re.sub(r"[0-9a-f-]{32,36}|\d{4}-\d\d-\d\dT[\d:.]+Z?|\b\d+\b", "…", text)


class Library(msgspec.Struct, frozen=True):
    """A library as it is compared."""

    name: str
    app: str
    talk: Talk
    packages: Sequence[str]


def observed(library: Library, folder: Path) -> dict[str, str]:
    """The observations of one library, by their questions."""
    with serving(library, folder) as (address, cpu):
        client = Client(address, library.talk)
        answers = {"Passwords accepted at registration": _weak(client)}
        answers["Registration tells that an e-mail is taken"] = _taken(client)
        answers |= _sessions(client)
        answers |= _login(client, cpu)
        answers["Request of a reset tells that an e-mail has an account"] = _yes(
            _differ(client.forgot("owner@example.org"), client.forgot("nobody@example.org"))
        )
        answers |= _guessing(client)
        return answers


def _weak(client: Client) -> str:
    accepted = [
        f"`{password}`" for number, password in enumerate(WEAK) if client.register(_user(number), password).accepted
    ]
    return ", ".join(accepted) or "none"


def _user(number: int) -> str:
    return f"weak{number}@example.org" if number < len(WEAK) - 1 else "reader@example.org"


def _taken(client: Client) -> str:
    if not client.register("owner@example.org", PASSWORD).accepted:
        raise SystemExit("a registration failed")
    new, again = client.register("new@example.org", PASSWORD), client.register("owner@example.org", PASSWORD)
    return _yes(_differ(new, again)) + (f", {again.status}" if _differ(new, again) else "")


def _sessions(client: Client) -> dict[str, str]:
    found = {}
    first, second = (client.log_in("owner@example.org", PASSWORD) for _ in range(2))
    if not client.notes(first.credential).accepted or not client.notes(second.credential).accepted:
        raise SystemExit(f"a login failed: {first} {second}")
    client.log_out(first.credential)
    found["Credential accepted after log-out"] = _yes(client.notes(first.credential).accepted)
    third = client.log_in("owner@example.org", PASSWORD)
    client.change_password(third.credential, PASSWORD, OTHER)
    found["Credential of another device accepted after a change of the password"] = _yes(
        client.notes(second.credential).accepted
    )
    fourth = client.log_in("owner@example.org", OTHER)
    if not client.notes(fourth.credential).accepted:
        raise SystemExit("a change of the password failed")
    client.change_password(fourth.credential, "not the password", PASSWORD)
    found["Password changed without the current one"] = _yes(client.log_in("owner@example.org", PASSWORD).accepted)
    return found


def _login(client: Client, cpu: Callable[[], float]) -> dict[str, str]:
    """Compare failed logins of accounts with those of strangers. Each account fails once, so that no limit applies."""
    times: dict[bool, list[float]] = {True: [], False: []}
    different = False
    for number in range(TIMED // 2):
        answers = {}
        if not client.register(f"timed{number}@example.org", PASSWORD).accepted:
            raise SystemExit("a registration failed")
        for known in (True, False):
            began = cpu()
            answers[known] = client.log_in(f"{'timed' if known else 'stranger'}{number}@example.org", OTHER)
            times[known].append(cpu() - began)
        different |= _differ(answers[True], answers[False])
    ours, theirs = (median(times[each]) for each in (True, False))
    return {
        "Failed login tells that an e-mail has an account": _yes(different),
        "Processor time of a failed login, with and without an account": f"{ours:.0f} and {theirs:.0f} ms",
    }


def _guessing(client: Client) -> dict[str, str]:
    if not client.register("victim@example.org", PASSWORD).accepted:
        raise SystemExit("a registration failed")
    found = [client.log_in("victim@example.org", f"wrong password {number}").status for number in range(ATTEMPTS)]
    return {f"Of {ATTEMPTS} wrong passwords for one account, checked": str(sum(each not in LIMITED for each in found))}


def _differ(one: Answer, other: Answer) -> bool:
    return (one.status, one.text) != (other.status, other.text)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


@contextmanager
def serving(library: Library, folder: Path) -> Iterator[tuple[str, Callable[[], float]]]:
    """The address of a server with an empty database, and its processor time in milliseconds."""
    work = folder / f"work-{library.app}"
    work.mkdir()
    port = free_port()
    python = folder / library.name.partition(" ")[0].partition(",")[0] / "bin" / "python"
    server = ("-m", "uvicorn", "--log-level", "warning", "--port", str(port), f"{library.app}:app")
    command = (python, "-c", WSGI, str(port)) if library.talk.allauth else (python, *server)
    environment = clean_environment(SECRET=secrets.token_hex(32), UBR_MIGRATE="auto", PYTHONPATH=str(APPS))
    with (work / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            [*map(str, command)], cwd=work, env=environment, stdout=log, stderr=log
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(process, address, work / "log")
            yield address, lambda: _processor_time(process.pid)
        finally:
            process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    while process.poll() is None:
        try:
            httpx.get(f"{address}/notes", timeout=30)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"a server has ended:\n{log.read_text('utf-8')}")


def _processor_time(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text("ascii").split()[0]) for task in tasks) / 1e6


def lines_of(source: str) -> int:
    """The lines with code: no blank ones, comments or docstrings."""
    texts = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    used: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            used |= set(range(token.start[0], token.end[0] + 1))
    return len(used - texts)


def concepts_of(source: str) -> int:
    """The names that an application takes from libraries, and the settings, classes and functions that it declares."""
    tree = ast.parse(source)
    standard = sys.stdlib_module_names
    taken = [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] not in standard
        for alias in node.names
    ]
    declared = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
    given = [
        keyword
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "settings.configure"
        for keyword in node.keywords
    ]
    return len(taken) + len(declared) + len(given)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ubr-comparison-") as name:
        folder = Path(name)
        wheel = built(ROOT, folder / "wheel")
        (folder / "constraints.txt").write_text(constraints())
        libraries = (
            Library("ubr", "with_ubr", UBR, (f"ubr[server,sqlite] @ {wheel.as_uri()}", "fastapi", SERVER)),
            Library("fastapi-users, JWT", "with_fastapi_users_jwt", FASTAPI, FASTAPI_USERS),
            Library("fastapi-users, database", "with_fastapi_users_database", FASTAPI, FASTAPI_USERS),
            Library("django-allauth", "with_allauth", DJANGO, ALLAUTH),
        )
        columns: list[dict[str, str]] = []
        for library in libraries:
            _installed(library, folder)
            source = (APPS / f"{library.app}.py").read_text("utf-8")
            size = {
                "Lines of code": str(lines_of(source)),
                "Names imported, declared or set": str(concepts_of(source)),
            }
            columns.append(size | observed(library, folder))
        print("| | " + " | ".join(each.name for each in libraries) + " |")
        print("| --- " * (len(libraries) + 1) + "|")
        for question in columns[0]:
            print(f"| {question} | " + " | ".join(each[question] for each in columns) + " |")


def _installed(library: Library, folder: Path) -> None:
    environment = folder / library.name.partition(" ")[0].partition(",")[0]
    if environment.exists():
        return
    commands: list[list[str | Path]] = [
        [sys.executable, "-m", "venv", "--without-pip", environment],
        [
            *(sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", "-qq"),
            "--disable-pip-version-check",
            *(("--constraint", folder / "constraints.txt") if library.talk is UBR else ()),
            *library.packages,
        ],
    ]
    for command in commands:
        run(*command)


if __name__ == "__main__":
    main()
