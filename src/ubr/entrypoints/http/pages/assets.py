"""The files that pages load. The name of each contains a hash of its content, so caches may keep it forever."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from ubr.entrypoints.http.files import File

FOR_GOOD: Final = "public, max-age=31536000, immutable"
STYLE: Final = "style.css"
SCRIPT: Final = "script.js"
OWN_STYLE: Final = "own.css"
LOGO: Final = "logo"

_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
LOGO_TYPES: Final = frozenset({".png", ".svg"})


class Assets(msgspec.Struct, frozen=True):
    """`served` has each file by its name in the path, and `names` that name by the one in templates."""

    served: Mapping[str, File]
    names: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path | None, logo: Path | None) -> Assets:
        """Errors: `OSError` if a file cannot be read."""
        files = [*built_in_files(), *(_read(name, path) for name, path in _own_files(folder, logo))]
        return cls({hashed: file for _, hashed, file in files}, {name: hashed for name, hashed, _ in files})


@cache
def built_in_files() -> tuple[tuple[str, str, File], ...]:
    """Each file of ubr: its name in templates, its name in the path, and its content. Compressed only once."""
    return tuple(_read(path.name, path) for path in sorted(_STATIC.iterdir()))


def _own_files(folder: Path | None, logo: Path | None) -> Iterator[tuple[str, Path]]:
    """The files of the operator."""
    if folder is not None and (own := folder / STYLE).is_file():
        yield OWN_STYLE, own
    if logo is not None:
        yield LOGO, logo


def _read(name: str, path: Path) -> tuple[str, str, File]:
    content = path.read_bytes()
    suffix = path.suffix.lower()
    hashed = f"{Path(name).stem}.{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
    return name, hashed, File.of(content, _TYPES[suffix], pack=suffix != ".png")
