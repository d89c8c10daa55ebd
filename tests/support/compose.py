"""deploy/compose.yaml as Docker Compose would read it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "compose.yaml"
VARIABLES = {"UBR_DOMAIN": "localhost", "UBR_ADMIN_EMAIL": "admin@example.org"}

_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


def load(variables: Mapping[str, str] = VARIABLES) -> dict[str, Any]:
    """The file with these variables. Errors: `KeyError` with the message of a variable that it requires."""

    def value(found: re.Match[str]) -> str:
        if found["name"] is None:
            return "$"
        given = variables.get(found["name"], "")
        if not given and found["kind"] == "?":
            raise KeyError(found["rest"])
        return given or found["rest"] or ""

    def interpolated(node: Any) -> Any:
        match node:
            case dict():
                return {key: interpolated(inner) for key, inner in node.items()}
            case list():
                return [interpolated(inner) for inner in node]
            case str():
                return _VARIABLE.sub(value, node)
            case _:
                return node

    made: dict[str, Any] = interpolated(yaml.safe_load(FILE.read_text()))
    return made


def services(variables: Mapping[str, str] = VARIABLES) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = load(variables)["services"]
    return made


def environment(service: Mapping[str, Any], changes: Mapping[str, str] = {}) -> dict[str, str]:
    """The environment of a service, with parts of its values replaced. An empty value counts as not set."""
    made = {}
    for name, value in service["environment"].items():
        text = str(value)
        for old, new in changes.items():
            text = text.replace(old, new)
        if text:
            made[name] = text
    return made


def options(service: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a server that its command gives as `-c name=value`."""
    words = service["command"]
    pairs = (words[at + 1].partition("=") for at, word in enumerate(words) if word == "-c")
    return {name: value for name, _, value in pairs}


def directives(path: Path) -> dict[str, str]:
    """The lines of a configuration file of Redis. Errors: `ValueError` for a directive that is there twice."""
    lines = [line.split(maxsplit=1) for line in path.read_text().splitlines() if line and not line.startswith("#")]
    if len({name for name, _ in lines}) < len(lines):
        raise ValueError("a directive is there twice")
    return {name: shlex.join(shlex.split(value)) for name, value in lines}
