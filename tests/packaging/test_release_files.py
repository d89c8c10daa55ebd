"""The files of a release: `make release-check` in a copy of the checkout."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.packaging.conftest import RELEASED, commit_all, git, make_release

pytestmark = pytest.mark.long


def sums(dist: Path) -> dict[str, str]:
    lines = [line.split("  ") for line in (dist / "SHA256SUMS").read_text().splitlines()]
    return {name: digest for digest, name in lines}


def test_a_release_is_complete_and_repeatable(copy: Path, released: Path, tmp_path: Path) -> None:
    found = {path.name for path in released.iterdir()}
    assert found == {
        f"ubr-{RELEASED}-py3-none-any.whl",
        f"ubr-{RELEASED}.tar.gz",
        f"ubr-{RELEASED}.cdx.json",
        f"ubr_verifier-{RELEASED}-py3-none-any.whl",
        f"ubr-verifier-{RELEASED}.cdx.json",
        "requirements.txt",
        "requirements-verifier.txt",
        "RELEASE-NOTES.md",
        "SHA256SUMS",
    }
    assert sums(released) == {
        name: hashlib.sha256((released / name).read_bytes()).hexdigest() for name in found - {"SHA256SUMS"}
    }
    assert (released / "RELEASE-NOTES.md").read_text().startswith(f"## {RELEASED}")

    again = make_release(copy, tmp_path / "again")
    assert again.returncode == 0, again.stdout + again.stderr
    assert sums(tmp_path / "again") == sums(released)


@pytest.mark.parametrize(
    ("name", "kind", "requirements", "expected"),
    [
        ("ubr", "application", "requirements.txt", {"litestar", "sqlalchemy"}),
        ("ubr-verifier", "library", "requirements-verifier.txt", {"cryptography", "httpx", "msgspec"}),
    ],
)
def test_the_bill_lists_what_is_installed(
    released: Path, name: str, kind: str, requirements: str, expected: set[str]
) -> None:
    bill = json.loads((released / f"{name}-{RELEASED}.cdx.json").read_text())
    locked = (released / requirements).read_text()
    pins = dict(re.findall(r"^([\w.-]+?)(?:\[.*\])?==([^ ;\\]+)", locked, re.MULTILINE))
    subject = bill["metadata"]["component"]
    assert (subject["name"], subject["version"], subject["type"]) == (name, RELEASED, kind)
    wheel = f"{name.replace('-', '_')}-{RELEASED}-py3-none-any.whl"
    assert subject["hashes"][0]["content"] == sums(released)[wheel]
    for component in bill["components"]:
        normal = re.sub(r"[-_.]+", "-", component["name"]).lower()
        assert component["version"] == pins[normal]
        (digest,) = component["hashes"]
        assert f"--hash=sha256:{digest['content']}" in locked
    assert expected < {component["name"].lower() for component in bill["components"]}
    # The graph has the subject, and nothing that is not listed.
    refs = {component["bom-ref"] for component in [subject, *bill["components"]]}
    assert {each["ref"] for each in bill["dependencies"]} == refs


def test_uncommitted_changes_are_an_error(copy: Path, tmp_path: Path) -> None:
    (copy / "new").touch()
    try:
        done = make_release(copy, tmp_path / "dist")
    finally:
        (copy / "new").unlink()
    assert (done.returncode, done.stderr) == (
        1,
        "The checkout has uncommitted changes: a release is made from a commit.\n",
    )


def test_a_tag_with_left_fragments_is_an_error(copy: Path, released: Path, tmp_path: Path) -> None:
    assert released.is_dir()  # its commits come first
    (copy / "changelog.d" / "+late.fixed.md").write_text("A late change.\n")
    commit_all(copy, "A late change")
    git(copy, "tag", "v99.2.0")
    done = make_release(copy, tmp_path / "dist")
    assert done.returncode == 1
    assert done.stderr.startswith("Fragments of the changelog are left, such as +late.fixed.md")


def test_a_build_that_depends_on_its_surroundings_is_an_error(copy: Path, released: Path, tmp_path: Path) -> None:
    assert released.is_dir()  # as above
    hook = "import os\nfrom hatchling.builders.hooks.plugin.interface import BuildHookInterface\n\n\n"
    hook += "class Hook(BuildHookInterface):\n    def initialize(self, version, build_data):\n"
    hook += "        open('src/ubr/where.py', 'w').write(f'WHERE = {os.getcwd()!r}')\n"
    (copy / "hatch_build.py").write_text(hook)
    pyproject = copy / "pyproject.toml"
    pyproject.write_text(pyproject.read_text() + '\n[tool.hatch.build.hooks.custom]\npath = "hatch_build.py"\n')
    commit_all(copy, "A hook that writes where it runs")
    done = make_release(copy, tmp_path / "dist")
    assert done.returncode == 1
    assert done.stderr.startswith("Two builds differ:")
