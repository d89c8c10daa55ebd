"""Connects adapters to ports. The only package that knows dependency-injector; all other code calls `connect`.

A name is loaded when it is used: a program that imports `connect` loads the application with the first connection.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ubr.adapters.security.password_strength import is_guessable
    from ubr.bootstrap.decisions import common_of
    from ubr.bootstrap.environment import (
        CLEANING,
        Environment,
        check_files,
        connect,
        downgrade,
        migrate,
        open_environment,
        preload,
        schema_state,
        upgrade_preview,
    )
    from ubr.bootstrap.extensions import NO_EXTENSIONS, Extensions
    from ubr.bootstrap.mailing import mailer_of
    from ubr.bootstrap.tracing import check_tracing, open_tracing

__all__ = [
    "CLEANING",
    "NO_EXTENSIONS",
    "Environment",
    "Extensions",
    "check_files",
    "check_tracing",
    "common_of",
    "connect",
    "downgrade",
    "is_guessable",
    "mailer_of",
    "migrate",
    "open_environment",
    "open_tracing",
    "preload",
    "schema_state",
    "upgrade_preview",
]

_HOMES: Final = {
    "NO_EXTENSIONS": "ubr.bootstrap.extensions",
    "Extensions": "ubr.bootstrap.extensions",
    "check_tracing": "ubr.bootstrap.tracing",
    "common_of": "ubr.bootstrap.decisions",
    "is_guessable": "ubr.adapters.security.password_strength",
    "mailer_of": "ubr.bootstrap.mailing",
    "open_tracing": "ubr.bootstrap.tracing",
}
"""The modules of the names that are not in `environment`."""

if not TYPE_CHECKING:  # which would take every name for a known one

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES.get(name, "ubr.bootstrap.environment")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
