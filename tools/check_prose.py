"""Checks the English of documentation, problem texts, docstrings and comments: rejects some openings and some words.

CONTRIBUTING.md describes the style.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

CHECKED: Final = (
    "README.md",
    "CONTRIBUTING.md",
    "DEVELOPMENT.md",
    "SECURITY.md",
    "tests/README.md",
    "docs/*.md",
    "docs/deploy/*.md",
    "docs/operations/*.md",
    "docs/problems/*.md",
    "docs/runbooks/*.md",
    "docs/adr/002[5-9]-*.md",
    "docs/adr/00[3-9]?-*.md",
    "changelog.d/*.md",
    "src/ubr/adapters/mail/templates/*",
    "src/ubr/entrypoints/http/pages/templates/*.html",
    "src/ubr/entrypoints/http/pages/words/en.toml",
    "src/ubr/**/*.py",
)
"""The files whose texts are checked, as globs."""

OPENING: Final = re.compile(
    r"""
    (?: ^ | (?<=[.!?]\ ) | (?<=\|\ ) )                # the start of a line, a sentence or a table cell
    [\s"'*_>#`-]*(?:\d+\.\ )?[*_]*                    # quotes, bullets, numbers and headings
    (What(?:ever)?|Whether|Whoever|Whosever|Of\ (?:which|how|what)|Where\ there)\b
    """,
    re.VERBOSE | re.MULTILINE,
)
WORDS: Final = re.compile(
    r"""
    \b(
      nobody | somebody | things? | no\ such | whosever | whoever | whomever | whichever | log-ins? | nudges?
      | short\ way | settles? | settled | settling | (?<!`)anew(?!`) | of\ before | for\ ever | all\ the\ same
      | to\ the\ letter | vouch(?:es|ed)? | told | takes?\ along
    )\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
NEGATED_NOUN: Final = re.compile(
    r"(?<!there )(?<!There )\b((?:is|are|was|were) no (?!longer|more|later|earlier|less|fewer)[a-z]+)"
)
"""Rejects "a retry is no error". Write "a retry is not an error"."""
INVERSION: Final = re.compile(
    r"\b((?:nor|never|only then|nor after) (?:may|does|do|can|is|are|has|have) (?:it|they|the|an?|any)\b)",
    re.IGNORECASE,
)

KINDS: Final = ((OPENING, "opening"), (WORDS, "word"), (NEGATED_NOUN, "negated noun"), (INVERSION, "inversion"))

ALLOWED: Final[dict[str, str]] = {"DenialRecorder.settle": "the name of a job, in the log and in the metrics"}
"""Texts that may contain a rejected word, each with the reason."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a file with their lines: strings and comments of Python, all but code blocks elsewhere."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _comments(source)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
                yield node.lineno, node.value
    else:
        inside = False
        for number, line in enumerate(source.splitlines(), start=1):
            if line.lstrip().startswith("```"):
                inside = not inside
            elif not inside:
                yield number, line


def findings(path: Path) -> Iterator[str]:
    for start, text in texts(path):
        for number, paragraph in _paragraphs(text, start):
            for allowed in ALLOWED:
                paragraph = paragraph.replace(allowed, "")  # noqa: PLW2901 - the rest of the loop sees it without
            for pattern, kind in KINDS:
                for found in pattern.finditer(paragraph):
                    yield f"{path.relative_to(ROOT)}:{number}: {kind} {found[1]!r}: {paragraph[:90]}"


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """The comments, with adjacent lines as one text."""
    number, end, lines = 0, 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if lines and token.start[0] != end + 1:
                yield number, "\n".join(lines)
                lines = []
            number = number if lines else token.start[0]
            end = token.start[0]
            lines.append(token.string.lstrip("# "))
    if lines:
        yield number, "\n".join(lines)


def _paragraphs(text: str, start: int) -> Iterator[tuple[int, str]]:
    """Paragraphs and bullets, each joined to one line: a line break inside a sentence is not an opening."""
    number, lines = start, list[str]()
    for at, line in enumerate(text.splitlines(), start=start):
        if lines and (not line.strip() or re.match(r"\s*[-*] ", line)):
            yield number, " ".join(lines)
            lines = []
        if line.strip():
            number = at if not lines else number
            lines.append(line.strip())
    if lines:
        yield number, " ".join(lines)


def checked() -> Iterator[Path]:
    """Every file to check, in order."""
    yield from sorted({path for pattern in CHECKED for path in ROOT.glob(pattern) if path.is_file()})


def main() -> int:
    found = [finding for path in checked() for finding in findings(path)]
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
