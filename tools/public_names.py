"""The part of `ubr/__init__.pyi` that is made of the use cases.

    python -m tools.public_names

writes it anew, for the ubr that this interpreter imports, and `make docs` does too.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_type_hints

import ubr
from ubr.application.app import UseCases
from ubr.application.kernel.command import Command, Result

STUB: Final = Path(ubr.__path__[0], "__init__.pyi")

_BEGIN: Final = "# The use cases with their commands and results: made by `make docs`.\n"


def stub() -> str:
    """The text of the stub: its written part, and the names of each use case's module, one on a line."""
    written, found, _ = STUB.read_text(encoding="utf-8").partition(_BEGIN)
    if not found:
        raise ValueError(f"The stub has no line {_BEGIN!r}")
    lines = sorted(f"from {module} import {name} as {name}\n" for module, name in _names())
    return f"{written}{_BEGIN}{''.join(lines)}"


def _names() -> Iterator[tuple[str, str]]:
    """Each use case, and the commands and results of its module."""
    for use_case in get_type_hints(UseCases).values():
        module = use_case.__module__
        yield module, use_case.__name__
        for name, found in vars(sys.modules[module]).items():
            public = inspect.isclass(found) and found.__module__ == module and not name.startswith("_")
            if public and issubclass(found, Command | Result):
                yield module, name


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
