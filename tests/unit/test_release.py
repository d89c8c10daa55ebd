"""The parts of a release that need no build."""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path

import pytest

from tools.check_files import project_files
from tools.release import Failed, canonical, notes, requirements, section

CHANGELOG = """# Changelog

## Unreleased

## 1.2.0 - 2026-11-30

### Added
- A release.

## 1.10.0

### Fixed
- Another one.

## 0.1.0 - 2026-01-01
"""
INSTALLERS = re.compile(r"\b(?:pip3?|pipx|uv|uvx|poetry|pdm)\b[^`\n]*?\b(?:install|add|download|wheel|run)\s+([^`\n]*)")
TOOLS = re.compile(rb"\b(pip|uv|poetry|pdm)")
BY_NAME = re.compile(r"ubr(\[[\w,-]*\])?([=<>~!;].*)?", re.IGNORECASE)


def installs_by_name(line: str) -> bool:
    """True if the line installs ubr by its name, as from a public index."""
    for found in INSTALLERS.finditer(line):
        try:
            words = shlex.split(found[1], comments=True)
        except ValueError:  # a quote of the surrounding text
            words = found[1].split()
        if "--no-index" not in words and any(BY_NAME.fullmatch(word.strip("\"',.")) for word in words):
            return True
    return False


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("pip install ubr", True),
        ('python -m pip install -U "ubr[verifier]"', True),
        ("pip install 'ubr==1.2.0'", True),
        ("uv add ubr", True),
        ("Run `pip install ubr`.", True),
        ("pip install --require-hashes -r requirements.txt", False),
        ('pip install "ubr[verifier] @ file:///srv/ubr-1.2.0-py3-none-any.whl"', False),
        ("pip install --no-index --find-links . ubr", False),
        ("pip install ubr-client", False),
    ],
)
def test_an_installation_by_name_is_recognised(line: str, found: bool) -> None:
    assert installs_by_name(line) is found


def test_no_file_installs_ubr_by_its_name() -> None:
    """The name on public indexes belongs to others."""
    wrong = []
    for path in project_files():
        if path == Path(__file__) or path.parent.name == "requirements":
            continue
        content = path.read_bytes()
        if TOOLS.search(content):  # quick: most files name no tool that installs
            lines = content.decode(errors="replace").replace("\\\n", " ").splitlines()
            wrong += [(path, line) for line in lines if "ubr" in line and installs_by_name(line)]
    assert wrong == []


def test_the_notes_are_the_section_of_the_version() -> None:
    assert section(CHANGELOG, "1.2.0") == "## 1.2.0 - 2026-11-30\n\n### Added\n- A release.\n"
    assert section(CHANGELOG, "1.10.0") == "## 1.10.0\n\n### Fixed\n- Another one.\n"


@pytest.mark.parametrize("version", ["1.1.0", "1.2", "0.1.0", "1x10.0"])
def test_a_missing_or_empty_section_is_an_error(version: str) -> None:
    with pytest.raises(Failed, match="no section"):
        section(CHANGELOG, version)


def test_a_tag_that_does_not_fit_the_version_is_an_error() -> None:
    with pytest.raises(Failed, match=r"v1\.2\.0 does not fit the version 1\.2\.1"):
        notes("1.2.1", "v1.2.0")


def test_the_requirements_name_the_wheel_by_its_hash(tmp_path: Path) -> None:
    wheel = tmp_path / "ubr-1.2.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    lines = requirements("1.2.0", wheel).splitlines()
    assert lines[1:3] == ["ubr==1.2.0 \\", f"    --hash=sha256:{hashlib.sha256(b'a wheel').hexdigest()}"]
    pins = [line for line in lines[1:] if not line.startswith((" ", "#"))]
    assert len(pins) > 30
    assert all("==" in line for line in pins)


def test_names_of_packages_have_one_form() -> None:
    assert canonical("Dependency_Injector") == canonical("dependency.injector") == "dependency-injector"
