"""The settings for people: effective values and documentation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from ubr.settings.embedded import EMBEDDED, SECRET_FILE
from ubr.settings.reading import read
from ubr.settings.settings import TABLE


class Row(msgspec.Struct, frozen=True):
    """A setting with its effective value. `value` shows no secret; `source` is the origin of the value."""

    name: str
    value: str | None
    source: Literal["default", "environment"]
    meaning: str


def in_force(environ: Mapping[str, str] = os.environ) -> list[Row]:
    """Every setting with its effective value; writes nothing. Errors: `WrongSetting`."""
    values, given = read(TABLE, environ)
    rows = []
    for setting in TABLE:
        value = setting.show(values[setting.field])
        if setting.field == "secret_keys" and value is None:
            value = f"in {SECRET_FILE}" if values["database_url"] == EMBEDDED else "random"
        source: Literal["default", "environment"] = "environment" if setting.name in given else "default"
        rows.append(Row(setting.name, value, source, setting.declaration.meaning))
    return rows


def secret_files(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The paths of the files that contain a secret, by the variables that name them."""
    names = [setting.file_name for setting in TABLE if setting.file_name is not None]
    return {name: path for name in names if (path := environ.get(name, "").strip())}


_INTRODUCTION: Final = """\
# Settings

Environment variables, read once at start. An empty one counts as not set. A wrong or unknown one stops the start with
a sentence that names it. `ubr config` shows the effective values.

A secret need not be in the environment, which `docker inspect` and other processes of the same user show:
{files} each name a file that contains the value.

| variable | default | meaning |
| --- | --- | --- |"""


def documentation() -> str:
    """The page on settings, in Markdown."""
    files = ", ".join(f"`{setting.file_name}`" for setting in TABLE if setting.file_name is not None)
    lines = [_INTRODUCTION.format(files=files)]
    for setting in TABLE:
        declaration = setting.declaration
        default = f"`{declaration.default}`" if declaration.default else declaration.otherwise
        lines.append(f"| `{setting.name}` | {default} | {declaration.meaning} |")
    return "\n".join(lines) + "\n"


def debugging(environ: Mapping[str, str] = os.environ) -> bool:
    """True if the caller wants to see everything, even if other settings are wrong."""
    return environ.get("UBR_LOG_LEVEL", "").strip() == "debug"
