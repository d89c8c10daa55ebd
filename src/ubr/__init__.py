"""ubr: users, roles, sessions and an audit log, as a service, as a library, and in memory.

A Python service that embeds ubr imports from here. `__init__.pyi` is the list of the names.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


@cache
def _homes() -> dict[str, str]:
    """The module of each public name, read off the stub: one list serves type checkers and the interpreter."""
    stub = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    imports = [line.split() for line in stub.splitlines() if line.startswith("from ")]
    return {name: module for _, module, _, name, *_ in imports}


def __getattr__(name: str) -> Any:
    """Load a name when it is used: `import ubr.domain` must stay free of everything else."""
    if name == "__all__":
        return sorted(_homes())
    if name.startswith("_") or name not in _homes():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _homes()[name]
    return import_module(f"ubr.{name}") if home == __name__ else getattr(import_module(home), name)


def __dir__() -> list[str]:
    return [*globals(), *_homes()]
