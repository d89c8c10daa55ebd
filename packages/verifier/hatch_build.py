"""Makes the package `ubr_verifier` of the modules of ubr: `ubr.verifier`, and what it imports of `ubr.domain`.

One source, two names. A module is copied with its imports renamed; everything else in it stays.
"""

from __future__ import annotations

import ast
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE: Final = Path(__file__).resolve().parents[2] / "src"
_ROOT: Final = "ubr.verifier"
_TAKEN: Final = ("ubr.verifier", "ubr.domain")
"""The packages whose modules may be taken."""
_LEFT: Final = "ubr.extras"
"""Looks for the packages that this distribution itself asks for."""
_IMPORT: Final = re.compile(r"^(\s*(?:from|import) )ubr\.(verifier|domain)\b", re.MULTILINE)
_LATE: Final = re.compile(r"  # noqa: E402$", re.MULTILINE)


def file_of(module: str) -> Path | None:
    """The file of a module; None if this is the name of something in a module."""
    path = SOURCE.joinpath(*module.split("."))
    return next((found for found in (path / "__init__.py", path.with_suffix(".py")) if found.is_file()), None)


def imported(tree: ast.Module) -> Iterator[str]:
    """The names of all modules that this one imports, and of what it imports from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def taken() -> dict[str, Path]:
    """The modules of the package, with their files. Errors: `ValueError` if one imports anything else of ubr."""
    found: dict[str, Path] = {}
    waiting = [_ROOT, *(f"{_ROOT}.{path.stem}" for path in SOURCE.joinpath(*_ROOT.split(".")).glob("[!_]*.py"))]
    while waiting:
        module = waiting.pop()
        path = file_of(module)
        if path is None or module in found or not module.startswith("ubr.") or module.startswith(_LEFT):
            continue
        if not module.startswith(_TAKEN):
            raise ValueError(f"The verifier imports {module}, which is not part of its distribution.")
        found[module] = path
        waiting += imported(ast.parse(path.read_text("utf-8")))
        waiting.append(module.rpartition(".")[0])
    return found


def renamed(module: str) -> str:
    """The name of a module of ubr in this package."""
    return re.sub(r"^ubr\.domain", "ubr_verifier.domain", re.sub(r"^ubr\.verifier", "ubr_verifier", module))


def adapted(source: str) -> str:
    """The text of a module for this package."""
    tree = ast.parse(source)
    lines = source.splitlines(keepends=True)
    for node in reversed(tree.body):
        of_extras = isinstance(node, ast.ImportFrom) and node.module == _LEFT
        if of_extras or (isinstance(node, ast.Expr) and ast.unparse(node).startswith("require(")):
            # With the empty line behind it.
            del lines[node.lineno - 1 : (node.end_lineno or node.lineno) + 1]
    text = _LATE.sub("", "".join(lines))
    return _IMPORT.sub(lambda found: found[1] + renamed(f"ubr.{found[2]}"), text)


def write(folder: Path) -> None:
    """Write the package `ubr_verifier` into a folder."""
    for module, path in taken().items():
        target = folder.joinpath(*renamed(module).split("."))
        target = target / "__init__.py" if path.name == "__init__.py" else target.with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(adapted(path.read_text("utf-8")), "utf-8")
    (folder / "ubr_verifier" / "py.typed").touch()


class CustomBuildHook(BuildHookInterface[Any]):
    """Adds the package to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        if self.target_name != "wheel":
            raise ValueError("The source of ubr-verifier is the sdist of ubr: build its wheel there.")
        self._folder = Path(tempfile.mkdtemp(prefix="ubr-verifier-"))
        write(self._folder)
        build_data["force_include"][str(self._folder / "ubr_verifier")] = "ubr_verifier"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        shutil.rmtree(self._folder)
