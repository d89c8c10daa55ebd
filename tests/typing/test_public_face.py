"""What a type checker makes of ubr where it is installed: right uses pass `mypy --strict`, each wrong one is named."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.papers import blocks

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BLOCKS = [
    block.text
    for block in blocks()
    if block.language == "python" and not {"ubr_client", "django"} & {*re.split(r"\W", block.text)}
]
"""All Python in the documentation, except the program over a generated client, which `test_clients.py` checks, and
those with Django, which has no types."""
EXPECTED = re.compile(r"  # E: (?P<codes>[a-z,-]+)$")
ERROR = re.compile(r"(?P<file>[^:]+):(?P<line>\d+): error: .*  \[(?P<code>[a-z-]+)\]")


class Complaint(NamedTuple):
    file: str
    line: int
    code: str


def expected(path: Path) -> Iterator[Complaint]:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if found := EXPECTED.search(line):
            for code in found["codes"].split(","):
                yield Complaint(path.name, number, code)


def test_right_uses_pass_and_wrong_ones_are_named(tmp_path: Path) -> None:
    samples = [HERE / "right.py", HERE / "wrong.py"]
    for sample in samples:
        (tmp_path / sample.name).write_text(sample.read_text())
    for number, block in enumerate(BLOCKS):
        (tmp_path / f"docs_{number}.py").write_text(block)
    # As somebody else's project sees it: none of our settings, ubr found where it is installed, and told by py.typed
    # that it has types. What mypy has learnt of the libraries is kept, beside what it keeps of our own checks.
    done = subprocess.run(  # noqa: S603 - what it runs is ours
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", ROOT / ".mypy_cache" / "typing",
         "--no-error-summary", "--hide-error-context", *sorted(path.name for path in tmp_path.iterdir())],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if ": note: " not in line]
    found = [ERROR.fullmatch(line) for line in lines]
    assert done.stderr == ""
    assert None not in found, done.stdout
    complaints = [Complaint(error["file"], int(error["line"]), error["code"]) for error in found if error is not None]
    assert sorted(complaints) == sorted(complaint for sample in samples for complaint in expected(sample)), done.stdout


def test_there_is_something_to_look_at() -> None:
    assert len(BLOCKS) >= 5
    assert len(list(expected(HERE / "wrong.py"))) > 30
    assert list(expected(HERE / "right.py")) == []
