"""`ubr-verifier` is the verifier of ubr without ubr: the same modules under another name."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.alone import BUILD, FOLDER, ROOT
from ubr import verifier

PROJECT = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
IMPORTED = """
import json, sys
import ubr_verifier
names = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([ubr_verifier.__all__, sorted(names)]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package."""
    folder = tmp_path_factory.mktemp("alone")
    BUILD["write"](folder)
    return folder


def test_it_is_imported_without_ubr(made: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, "-c", IMPORTED], cwd=made, capture_output=True, text=True, check=True
    )
    names, loaded = json.loads(done.stdout)
    assert names == verifier.__all__
    assert "ubr" not in loaded


def test_it_asks_for_what_it_imports_and_for_nothing_else(made: Path) -> None:
    found = {
        name.partition(".")[0] for path in made.rglob("*.py") for name in BUILD["imported"](ast.parse(path.read_text()))
    }
    others = found - sys.stdlib_module_names - {"ubr_verifier"}
    assert others == {text.partition(">=")[0] for text in PROJECT["dependencies"]}


def test_it_has_the_floors_and_the_licence_of_ubr() -> None:
    ubr = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floors = {*ubr["dependencies"], *ubr["optional-dependencies"]["verifier"]}
    assert set(PROJECT["dependencies"]) <= floors
    assert PROJECT["requires-python"] == ubr["requires-python"]
    assert (FOLDER / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_only_the_verifier_and_the_domain_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "ubr" / "verifier"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from ubr.settings import Settings\n")
    (tmp_path / "ubr" / "settings.py").write_text("Settings = object\n")
    monkeypatch.setitem(BUILD["taken"].__globals__, "SOURCE", tmp_path)
    with pytest.raises(ValueError, match=r"imports ubr\.settings"):
        BUILD["taken"]()


def test_the_check_for_packages_is_left_out() -> None:
    source = '"""Text."""\n\nfrom ubr.extras import require\n\nrequire("verifier")\n\n'
    source += "from ubr.verifier.errors import Refused  # noqa: E402\n"
    assert BUILD["adapted"](source) == '"""Text."""\n\nfrom ubr_verifier.errors import Refused\n'
