"""Pages made from the code are what the code says today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPARE = """
import sys
sys.path.insert(0, "tools")
from write_docs import left_over, pages
for page in left_over():
    print(page.name)
for page, text in pages().items():
    if not page.exists() or page.read_text() != text:
        print(page.name)
"""


def test_the_pages_are_current() -> None:
    # In a process of its own: tests define errors too, which are nobody's to document.
    ran = subprocess.run(  # noqa: S603 - what it runs is ours
        [sys.executable, "-c", COMPARE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "", "run `make docs`"
