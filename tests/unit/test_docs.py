"""Pages made from the code are what the code says today."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPARE = """
import sys
sys.path.insert(0, ".")
from tools.write_docs import left_over, pages
for page in left_over():
    print(page.name)
for page, text in pages().items():
    if not page.exists() or page.read_text() != text:
        print(page.name)
"""


@pytest.mark.system
def test_the_pages_are_current() -> None:
    # In a process of its own: tests define errors too, which are nobody's to document.
    ran = subprocess.run(  # noqa: S603 - what it runs is ours
        [sys.executable, "-c", COMPARE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "", "run `make docs`"


PLACE = re.compile(r"^\| [^|]+ \| `(?P<module>[\w.]+):(?P<name>\w+)` \| ", re.MULTILINE)
FILE = re.compile(r"`((?:application|domain|adapters|bootstrap|entrypoints|verifier|settings)/[\w/]+\.py)`")


def test_every_term_of_the_glossary_is_defined_where_it_says() -> None:
    rows = (ROOT / "docs" / "glossary.md").read_text().partition("| --- |")[2].strip().splitlines()[1:]
    places = [PLACE.match(row) for row in rows]
    assert None not in places
    for place in places:
        assert place is not None
        assert hasattr(importlib.import_module(place["module"]), place["name"]), place[0]
    terms = [row.split("|")[1].strip() for row in rows]
    assert terms == sorted(terms)


def test_every_file_that_the_architecture_names_is_there() -> None:
    named = FILE.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len(named) > 30
    assert [name for name in named if not (ROOT / "src" / "ubr" / name).is_file()] == []
