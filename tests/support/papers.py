"""The code blocks of the documentation."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]

PAGES: Final = sorted(
    [
        *(path.name for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"),
        "tests/README.md",
        *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
        *(f"docs/operations/{path.name}" for path in (ROOT / "docs" / "operations").glob("*.md")),
        *(f"docs/runbooks/{path.name}" for path in (ROOT / "docs" / "runbooks").glob("*.md")),
    ]
)

_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    page: str
    language: str
    text: str


def blocks_of(page: str, language: str | None = None) -> list[Block]:
    """The code blocks of a page in their order, of one language or of all."""
    found = (Block(page, *block) for block in _BLOCK.findall((ROOT / page).read_text()))
    return [block for block in found if language in {None, block.language}]


def blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page)]


def table(page: str, header: str) -> list[list[str]]:
    """The rows of the table whose first line begins with this header."""
    lines = iter((ROOT / page).read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {header}"):
            next(lines)
            rows = list[list[str]]()
            for row in lines:
                if not row.startswith("| "):
                    return rows
                rows.append([cell.strip() for cell in row.strip("|").split("|")])
            return rows
    raise LookupError(f"{page} has no table {header}")


def program(page: str, word: str) -> dict[str, Any]:
    """The names that the Python block with this word defines, as a module of its own."""
    text = next(block.text for block in blocks_of(page, "python") if word in block.text)
    module = ModuleType(re.sub(r"\W", "_", f"{page} {word}"))
    sys.modules[module.__name__] = module  # frameworks look up annotations there
    exec(compile(text, page, "exec", dont_inherit=True), vars(module))  # noqa: S102
    return vars(module)
