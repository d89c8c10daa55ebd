"""Documents that are the same for every client: made or read at the first request, and kept until the process ends."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeAlias

import msgspec

from ubr.entrypoints.http import conditional
from ubr.entrypoints.http.call import Call
from ubr.entrypoints.http.fields import Fields
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.responses import unchanged

Described: TypeAlias = Callable[[], dict[str, Any]]
"""Makes the OpenAPI document, once."""
DESCRIBED: Final = "described"
"""In the state of an application: takes the fields of the host, and returns a `Described`."""

_WORTH_PACKING: Final = 1024
_GZIP: Final = re.compile(rb"(?:^|,)[ \t]*(?:x-)?gzip[ \t]*(?:;[ \t]*q=(?P<q>[0-9.]+)[ \t]*)?(?=,|$)", re.IGNORECASE)


class File(msgspec.Struct, frozen=True):
    """A file's content, plain and compressed. `packed` is None if compression would save too little."""

    content: bytes
    packed: bytes | None
    media_type: str
    revision: str

    @classmethod
    def of(cls, content: bytes, media_type: str, *, pack: bool = True) -> File:
        packed = gzip.compress(content, mtime=0) if pack and len(content) > _WORTH_PACKING else None
        return cls(content, packed, media_type, hashlib.sha256(content).hexdigest()[:32])


def serve(call: Call, file: File, *, cache_control: str) -> Response:
    """The file, compressed for clients that accept gzip; only its tag for clients that have this revision."""
    content, revision = file.content, file.revision
    packed = file.packed is not None and _takes_gzip(call.fields)
    if packed and file.packed is not None:
        # Different bytes need a different tag (RFC 9110, 8.8.3.3).
        content, revision = file.packed, f"{file.revision}-gzip"
    if conditional.none_match(call.fields, revision):
        response = Response(content, media_type=file.media_type, headers={"etag": f'"{revision}"'})
        if packed:
            response.headers["content-encoding"] = "gzip"
    else:
        response = unchanged(revision)
    response.headers["cache-control"] = cache_control
    if file.packed is not None:
        response.headers["vary"] = "accept-encoding"
    return response


def described_by(call: Call) -> Described:
    """The OpenAPI document of the application. It contains the routes, so they cannot import it."""
    made: Described = call.state[DESCRIBED](call.ubr.list_users.user_fields)
    return made


def _takes_gzip(fields: Fields) -> bool:
    found = _GZIP.search(b",".join(fields.get(b"accept-encoding", ())))
    return found is not None and (found["q"] or b"1").strip(b"0.") != b""


# --- assets of the page at /api/docs ----------------------------------------------------------------------------------

_ASSETS: Final[Mapping[str, str]] = {
    "start.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}


@cache
def assets() -> Mapping[str, File]:
    """The files that the page loads, by name."""
    folder = files("ubr.entrypoints.http") / "assets"
    return {name: File.of((folder / name).read_bytes(), type_) for name, type_ in _ASSETS.items()}


@cache
def assets_revision() -> str:
    """A text that changes whenever an asset does. Their paths contain it, so that caches may keep them forever."""
    return hashlib.sha256(",".join(asset.revision for asset in assets().values()).encode()).hexdigest()[:16]
