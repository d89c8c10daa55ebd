"""The core works without the packages of the extras, and an error names the extra that brings a missing one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.commands import clean_environment
from ubr import RegisterUserCommand
from ubr.bootstrap import check_files, check_tracing, connect
from ubr.extras import EXTRAS, MissingExtra, require
from ubr.settings import Settings
from ubr.testing.memory import TINY_HASHING, delivered, in_memory

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WITHOUT_IMPORT = {"uvloop", "hiredis"}
"""Accelerators of other packages, which work without them."""

CORE_ALONE = """
import asyncio, importlib, json, subprocess, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

ABSENT = set(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Absent())

from ubr import LogInCommand, RegisterUserCommand, Settings, connect
from ubr.testing import in_memory

async def memory():
    async with in_memory() as (ubr, _):
        await ubr.register_user(RegisterUserCommand(email="reader@example.org", password="a long enough password"))
        tokens = await ubr.log_in(LogInCommand(email="reader@example.org", password="a long enough password"))
        return (await ubr.get_me(actor=await ubr.authenticate(tokens.access_token))).email

async def opened(url):
    async with connect(Settings.from_env({**SECRETS, "UBR_DATABASE_URL": url})):
        pass

def command():
    from ubr.__main__ import main
    main()

SECRETS = {"UBR_SECRET_KEY": "0123456789abcdef" * 4, "UBR_PUBLIC_URL": "https://users.example.org"}
TRIED = {
    "memory": lambda: asyncio.run(memory()),
    "ubr.http": lambda: importlib.import_module("ubr.http"),
    "ubr.verifier": lambda: importlib.import_module("ubr.verifier"),
    "ubr.adapters.sql": lambda: importlib.import_module("ubr.adapters.sql"),
    "ubr.adapters.otel": lambda: importlib.import_module("ubr.adapters.otel"),
    "ubr.adapters.redis": lambda: importlib.import_module("ubr.adapters.redis"),
    "postgresql": lambda: asyncio.run(opened("postgresql://ubr:ubr@127.0.0.1:1/ubr?sslmode=disable")),
    "sqlite": lambda: asyncio.run(opened("sqlite:///ubr.db")),
    "command": command,
}
said = {}
for name, tried in TRIED.items():
    try:
        said[name] = str(tried())
    except BaseException as error:
        said[name] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


def packages_of(extra: str) -> Iterator[Requirement]:
    for requirement in map(Requirement, PYPROJECT["optional-dependencies"][extra]):
        if requirement.name == "ubr":
            for other in requirement.extras:
                yield from packages_of(other)
        else:
            yield requirement


def optional() -> set[str]:
    """The top-level modules of all packages that the core does not ask for."""
    return {module.partition(".")[0] for extra in EXTRAS.values() for module in extra.modules}


def test_the_core_works_alone_and_every_entrance_names_its_extra(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, "-W", "error", "-c", CORE_ALONE, json.dumps(sorted(optional()))],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said.pop("memory") == "reader@example.org"
    named = {name: re.findall(r"`ubr\[(\w+)\]`", text) for name, text in said.items()}
    assert named == {
        "ubr.http": ["server"],
        "ubr.verifier": ["verifier"],
        "ubr.adapters.sql": ["postgres", "sqlite"],
        "ubr.adapters.otel": ["otel"],
        "ubr.adapters.redis": ["redis"],
        "postgresql": ["postgres"],
        "sqlite": ["sqlite"],
        "command": ["server"],
    }, said
    assert {name for name, text in said.items() if not text.startswith("MissingExtra: ")} == {"command"}


IMPORTS = {
    "the library": "from ubr import SYSTEM, AssignRoleCommand, ListUsersCommand, LogInCommand, Settings, connect",
    "the double": "import ubr.testing",
    "the fixtures": "import ubr.testing.plugin",
}
LOADED_WITH_AN_APPLICATION = {
    "argon2",
    "cryptography",
    "dependency_injector",
    "http.client",
    "idna",
    "jwt",
    "ubr.adapters.memory",
    "ubr.application.app",
    "ubr.bootstrap.composition",
    "ubr.bootstrap.memory",
    "urllib.request",
    "yaml",
    "zxcvbn",
}


@pytest.mark.parametrize("face", IMPORTS)
def test_an_import_loads_no_application(face: str) -> None:
    program = f"import json, sys; {IMPORTS[face]}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, "-c", program], env=clean_environment(), capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert loaded & (LOADED_WITH_AN_APPLICATION | optional()) == set()
    # Each module takes about a quarter of a millisecond of processor time.
    assert len([name for name in loaded if name.partition(".")[0] == "ubr"]) <= 146


@pytest.mark.system
def test_sqlite_needs_no_package_of_postgresql(tmp_path: Path) -> None:
    program = """if True:
        import asyncio, sys
        sys.modules["asyncpg"] = None
        from ubr import Settings, connect

        async def opened():
            async with connect(Settings.memory(database_url="sqlite:///ubr.db", migrate="auto")) as ubr:
                print(await ubr.create_admin.exists())

        asyncio.run(opened())
    """
    done = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_modules_of_an_extra_are_those_of_its_packages(extra: str) -> None:
    homes = {name: {canonicalize_name(each) for each in found} for name, found in packages_distributions().items()}
    brought = {canonicalize_name(requirement.name) for requirement in packages_of(extra)}
    named = EXTRAS[extra].modules
    if extra == "otel":  # one module for all of its packages
        assert named[0] == "opentelemetry"
        assert brought <= homes["opentelemetry"]
        return
    assert all(homes[module] & (brought | {"greenlet"}) for module in named)
    assert {package for package in brought if not any(package in homes[module] for module in named)} <= WITHOUT_IMPORT


def test_every_extra_is_known_and_all_of_them_are_all() -> None:
    declared = PYPROJECT["optional-dependencies"]
    assert set(declared) == {*EXTRAS, "service", "all"}
    assert {str(each) for each in packages_of("all")} == {str(each) for extra in EXTRAS for each in packages_of(extra)}


def test_the_core_asks_for_few_packages() -> None:
    assert {Requirement(each).name for each in PYPROJECT["dependencies"]} == {
        "argon2-cffi",
        "cryptography",
        "dependency-injector",
        "idna",
        "msgspec",
        "pyjwt",
        "zxcvbn",
    }


@pytest.mark.parametrize(
    ("extra", "module"), [(extra, module) for extra, found in EXTRAS.items() for module in found.modules]
)
def test_each_missing_module_is_named(monkeypatch: pytest.MonkeyPatch, extra: str, module: str) -> None:
    require(extra)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=re.escape(f"`ubr[{extra}]`")) as raised:
        require(extra)
    assert raised.value.name == module


@pytest.mark.parametrize(
    ("module", "extra", "settings"),
    [
        ("asyncpg", "postgres", {"database_url": "postgresql+asyncpg://ubr@127.0.0.1:1/ubr"}),
        ("aiosqlite", "sqlite", {"database_url": "sqlite+aiosqlite:///ubr.db"}),
        ("redis", "redis", {"database_url": "sqlite+aiosqlite:///ubr.db", "redis_url": "redis://127.0.0.1:1/0"}),
        ("aiosmtplib", "mail", {"database_url": "sqlite+aiosqlite:///ubr.db", "smtp_url": "smtp://127.0.0.1:1"}),
    ],
)
async def test_a_connection_names_the_extra_of_its_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str, extra: str, settings: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    chosen = Settings.memory(migrate="auto", **TINY_HASHING, **settings)
    with pytest.raises(MissingExtra, match=re.escape(f"`ubr[{extra}]`")):
        async with connect(chosen):
            pass
    with pytest.raises(MissingExtra, match=re.escape(f"`ubr[{extra}]`")):
        check_files(chosen)


async def test_a_mail_that_cannot_be_rendered_for_lack_of_a_package_stays_queued(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with in_memory(public_url="https://users.example.org") as (ubr, clock):
        await ubr.register_user(RegisterUserCommand(email="reader@example.org", password="a long enough password"))
        with monkeypatch.context() as absent:
            absent.setitem(sys.modules, "jinja2", None)
            with pytest.raises(MissingExtra, match=re.escape("`ubr[mail]`")):
                await delivered(ubr)
        clock.move(minutes=10)  # until the failed attempt is over
        assert [mail.to for mail in await delivered(ubr)] == ["reader@example.org"]


def test_traces_name_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Settings.memory(otlp_endpoint="http://collector:4318")
    check_tracing(chosen)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with pytest.raises(MissingExtra, match=re.escape("`ubr[otel]`")):
        check_tracing(chosen)
