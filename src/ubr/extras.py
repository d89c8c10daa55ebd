"""The optional packages of ubr: what takes them, and the error if they are not installed.

The core, which is the domain, the use cases and their environment in memory, works without them. `pyproject.toml` has
the packages of each extra, and here are the names that ubr imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

import msgspec


class Extra(msgspec.Struct, frozen=True):
    """The purpose of an extra, as the subject of a sentence, and the modules of its packages."""

    purpose: str
    modules: tuple[str, ...]


_DATABASE: Final = ("alembic", "greenlet", "sqlalchemy")

EXTRAS: Final[Mapping[str, Extra]] = {
    "server": Extra("The service", ("click", "granian", "jinja2", "litestar", "rich", "rich_click")),
    "postgres": Extra("A PostgreSQL database", (*_DATABASE, "asyncpg")),
    "sqlite": Extra("An SQLite database", (*_DATABASE, "aiosqlite")),
    "redis": Extra("Redis", ("redis",)),
    "mail": Extra("Mail", ("aiosmtplib", "jinja2")),
    "verifier": Extra("The verifier", ("httpx",)),
    "s3": Extra("A backup in an object storage", ("botocore",)),
    "otel": Extra(
        "The export of traces", ("opentelemetry", "opentelemetry.exporter.otlp.proto.http", "opentelemetry.sdk")
    ),
}


class MissingExtra(ModuleNotFoundError):
    """An optional package is not installed. The message names the extra that brings it.

    `name` is the missing module, as in every `ModuleNotFoundError`.
    """

    def __init__(self, purpose: str, module: str, *extras: str) -> None:
        self.extras = extras
        wanted = " or ".join(f"`ubr[{extra}]`" for extra in extras)
        super().__init__(f"{purpose} needs the package {module.partition('.')[0]}: install {wanted}", name=module)


def require(extra: str, *modules: str) -> None:
    """Check that the packages of an extra are installed, or only some of its modules. It imports none of them.

    Errors: `MissingExtra`.
    """
    found = EXTRAS[extra]
    for module in modules or found.modules:
        if not _installed(module):
            raise MissingExtra(found.purpose, module, extra)


def require_database() -> None:
    """Check that what every database takes is installed. Errors: `MissingExtra`."""
    for module in _DATABASE:
        if not _installed(module):
            raise MissingExtra("A database", module, "postgres", "sqlite")


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False
