"""The files that pages load. The name of each contains a hash of its content, so caches may keep it forever."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
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
        served: dict[str, File] = {}
        names: dict[str, str] = {}
        for name, path in _files(folder, logo):
            content = path.read_bytes()
            hashed = f"{Path(name).stem}.{hashlib.sha256(content).hexdigest()[:16]}{path.suffix.lower()}"
            names[name] = hashed
            served[hashed] = File.of(content, _TYPES[path.suffix.lower()], pack=path.suffix.lower() != ".png")
        return cls(served, names)


def _files(folder: Path | None, logo: Path | None) -> Iterator[tuple[str, Path]]:
    for path in sorted(_STATIC.iterdir()):
        yield path.name, path
    if folder is not None and (own := folder / STYLE).is_file():
        yield OWN_STYLE, own
    if logo is not None:
        yield LOGO, logo
