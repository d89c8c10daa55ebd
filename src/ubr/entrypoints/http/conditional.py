"""Conditional requests (RFC 9110, 13): entity tags in, entity tags out."""

from __future__ import annotations

import re
from typing import Final

from ubr.domain.errors import Invalid
from ubr.entrypoints.http.fields import Fields

_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST: Final = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
PATTERN: Final = rf"^[ \t]*(?:\*[ \t]*|{_LIST.pattern})$"
"""Matches a whole field value, as a pattern of JSON Schema."""
_ITEM: Final = re.compile(r'"([\x21\x23-\x7e\x80-\xff]*)"')
_CODING: Final = re.compile(r"-(?:gzip|br|zstd)\Z")
"""The suffix that Apache's modules append to the tag of an answer that they compressed."""
LONGEST: Final = 4096


def if_match(fields: Fields) -> tuple[str, ...] | None:
    """The revisions that the caller accepts; None for any.

    `*` accepts any: the use case itself checks that the resource exists. A proxy that compresses answers weakens their
    tags, or appends the coding. These forms count as the tag that ubr gave, because it stands for a revision and not
    for bytes. Errors: `Invalid`.
    """
    text = _field(fields, b"if-match")
    if text is None or text == "*":
        return None
    return tuple(_CODING.sub("", value) for value in _tags(text, "If-Match"))


def none_match(fields: Fields, revision: str) -> bool:
    """True if `If-None-Match` allows sending this revision. Errors: `Invalid`."""
    text = _field(fields, b"if-none-match")
    if text is None:
        return True
    return text != "*" and all(value != revision for value in _tags(text, "If-None-Match"))


def _field(fields: Fields, name: bytes) -> str | None:
    lines = fields.get(name)
    return b", ".join(lines).decode("latin-1").strip(" \t") if lines else None


def _tags(text: str, name: str) -> list[str]:
    if len(text) > LONGEST or not _LIST.fullmatch(text):
        raise Invalid(f"{name} is neither * nor a list of entity tags")
    return _ITEM.findall(text)
