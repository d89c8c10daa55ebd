"""The rules of the house that no other tool holds."""

import ast
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import ubr
import ubr.application
import ubr.application.ports
import ubr.bootstrap
import ubr.domain
from ubr.application.app import UseCases
from ubr.application.kernel.command import Command, Result
from ubr.bootstrap import connect
from ubr.settings import Settings
from ubr.testing.memory import TINY_HASHING

ROOMS = sorted(found.name for found in pkgutil.iter_modules(ubr.application.__path__) if found.ispkg)
MODULES = [
    importlib.import_module(f"ubr.application.{room}.{found.name}")
    for room in ROOMS
    for found in pkgutil.iter_modules(importlib.import_module(f"ubr.application.{room}").__path__)
]
# The docstring of a use case is that of its class. Every other module says above its first line what it is for.
USE_CASES = {module.__name__.rpartition(".")[2]: module for module in MODULES if module.__doc__ is None}
PORTS = sorted(found.name for found in pkgutil.iter_modules(ubr.application.ports.__path__))
DOMAIN = sorted(Path(ubr.domain.__path__[0]).glob("**/*.py"))
USE_CASE_TYPES = set(get_type_hints(UseCases).values())
FIELDS = {field.name: field.type for field in fields(UseCases)}


def modules_after(code: str) -> set[str]:
    """The top-level names of all modules that a new interpreter has after running this."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
    return set(json.loads(done.stdout))


EMPTY = modules_after("")


BELOW = {"idna", "msgspec"}
"""The libraries that the domain may import."""


def test_importing_the_domain_loads_the_standard_library_and_msgspec() -> None:
    folder = Path(ubr.__path__[0]).parent
    names = [".".join(path.relative_to(folder).with_suffix("").parts) for path in DOMAIN if path.stem != "__init__"]
    loaded = modules_after("import " + ", ".join(["ubr.domain", *names]))
    assert loaded - EMPTY - set(sys.stdlib_module_names) - {"typing_extensions"} == {"ubr", "msgspec"}  # msgspec's own


@pytest.mark.system
def test_the_memory_environment_loads_neither_a_database_nor_a_web_framework() -> None:
    loaded = modules_after(
        "import asyncio\n"
        "from ubr.testing import in_memory\n"
        "async def main():\n"
        "    async with in_memory() as (ubr, clock):\n"
        "        await ubr.check_health()\n"
        "asyncio.run(main())"
    )
    assert "ubr" in loaded
    unwanted = {"sqlalchemy", "alembic", "asyncpg", "aiosqlite", "redis", "litestar", "granian", "click", "rich_click"}
    unwanted |= {"zxcvbn"}  # a list for those who set a password
    unwanted |= {"aiosmtplib", "jinja2"}  # for those who mail
    assert not loaded & unwanted


@pytest.mark.parametrize("path", DOMAIN, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_domain_imports_the_standard_library_two_more_and_itself(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
        for name in names:
            assert name.startswith("ubr.domain") or name.partition(".")[0] in {*sys.stdlib_module_names, *BELOW}


@pytest.mark.parametrize("path", DOMAIN, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_domain_takes_structs_from_msgspec_and_encodes_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text())
    taken = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "msgspec"
    }
    assert taken <= {"Struct", "field", "structs"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "msgspec"]


@pytest.mark.parametrize("path", DOMAIN, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_domain_waits_for_nothing_and_asks_no_clock(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not called & {"now", "utcnow", "today", "monotonic", "uuid4", "urandom", "token_bytes", "getLogger"}


def test_no_lock_is_one_that_anybody_may_take() -> None:
    """An advisory lock takes no right but to connect: whoever holds it stops whoever relies on it, without a trace."""
    sources = Path(ubr.__path__[0]).glob("**/*.py")
    assert not [path.name for path in sources if "pg_advisory" in path.read_text() or "pg_try_adv" in path.read_text()]


def in_camel_case(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def test_every_use_case_is_a_field_of_the_application_and_has_a_file() -> None:
    assert sorted(FIELDS) == sorted(USE_CASES)


@pytest.mark.parametrize("name", sorted(USE_CASES))
def test_a_use_case_is_named_after_its_file_and_says_its_rules(name: str) -> None:
    module = USE_CASES[name]
    use_case = getattr(module, in_camel_case(name))
    assert use_case.__module__ == module.__name__
    assert str(FIELDS[name]) == in_camel_case(name)
    assert inspect.iscoroutinefunction(inspect.unwrap(use_case.__call__))
    # A dataclass without a docstring gets one that looks like a call.
    assert use_case.__doc__
    assert not use_case.__doc__.startswith(use_case.__name__ + "(")


def protocols(module: Any) -> list[type]:
    return [
        found
        for found in vars(module).values()
        if isinstance(found, type) and getattr(found, "_is_protocol", False) and found.__module__ == module.__name__
    ]


@pytest.mark.parametrize("name", PORTS)
def test_every_method_of_a_port_makes_a_promise(name: str) -> None:
    for protocol in protocols(importlib.import_module(f"ubr.application.ports.{name}")):
        methods = {key: made for key, made in vars(protocol).items() if inspect.isfunction(made) and key[0] != "_"}
        silent = [f"{protocol.__name__}.{key}" for key, made in methods.items() if not made.__doc__]
        assert not silent


def test_there_are_ports_to_look_at() -> None:
    found = [
        protocol.__name__
        for name in PORTS
        for protocol in protocols(importlib.import_module(f"ubr.application.ports.{name}"))
    ]
    assert {"Users", "UnitOfWork", "PasswordHasher"} <= set(found)


@pytest.mark.parametrize("environment", ["memory", "sqlite"])
async def test_the_application_resolves_in_every_environment(environment: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = dict(TINY_HASHING)
    if environment == "sqlite":
        changes |= {"database_url": f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}", "migrate": "auto"}
    async with connect(Settings.memory(**changes)) as ubr:
        for name in FIELDS:
            assert type(getattr(ubr, name)).__name__ == in_camel_case(name)
        await ubr.check_health()


def test_a_name_of_the_package_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ubr.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_every_public_name_loads() -> None:
    named_otherwise = {"SYSTEM", "Listener", "TokenClaims"}  # a value, and aliases of types
    for name in ubr.__all__:
        found = getattr(ubr, name)
        assert name in named_otherwise or found.__name__.rpartition(".")[2] == name
    assert {"Application", "connect", "errors", "Settings", "SYSTEM"} <= set(dir(ubr))


def test_the_names_of_the_composition_root_are_listed() -> None:
    assert set(ubr.bootstrap.__all__) <= set(dir(ubr.bootstrap))


def test_every_use_case_command_and_result_is_public() -> None:
    made = {
        name
        for module in MODULES
        for name, found in vars(module).items()
        if isinstance(found, type) and found.__module__ == module.__name__ and not name.startswith("_")
        if (issubclass(found, Command | Result) and found not in {Command, Result}) or found in USE_CASE_TYPES
    }
    assert made <= set(ubr.__all__)


def test_every_error_is_public() -> None:
    assert ubr.errors.__all__ == ubr.domain.errors.__all__
    assert issubclass(ubr.errors.UserNotFound, ubr.errors.NotFound)
