"""docs/comparison.md says of each application what its file says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.comparison.compare import APPS, concepts_of, lines_of

PAGE = (Path(__file__).parents[2] / "docs" / "comparison.md").read_text()
COLUMNS = {
    "ubr": "with_ubr",
    "fastapi-users, JWT": "with_fastapi_users_jwt",
    "fastapi-users, database": "with_fastapi_users_database",
    "django-allauth": "with_allauth",
}


def row(name: str) -> list[str]:
    """The cells of a row of the table."""
    found = re.findall(rf"^\| {re.escape(name)} ?\|(.*)\|$", PAGE, re.MULTILINE)
    assert len(found) == 1, f"the table has no row {name!r}"
    return [cell.strip() for cell in found[0].split("|")]


def test_the_table_has_a_column_for_each_application() -> None:
    assert row("") == list(COLUMNS)
    assert {path.stem for path in APPS.glob("*.py")} == set(COLUMNS.values())


@pytest.mark.parametrize(
    ("name", "counted"), [("Lines of code", lines_of), ("Names imported, declared or set", concepts_of)]
)
def test_the_figures_of_size_are_those_of_the_files(name: str, counted: Callable[[str], int]) -> None:
    assert row(name) == [str(counted((APPS / f"{app}.py").read_text())) for app in COLUMNS.values()]


def test_lines_and_names_are_counted_as_the_page_says() -> None:
    source = '"""A text."""\n\nimport os\nfrom fastapi import APIRouter, Depends\n\n# why\napp = APIRouter(\n)\n'
    assert lines_of(source) == 4, "no comment, no empty line, no text by itself"
    assert concepts_of(source) == 2, "nothing of the standard library"
    assert concepts_of("class Note: ...\ndef notes(): ...\nsettings.configure(DEBUG=True)\n") == 3
