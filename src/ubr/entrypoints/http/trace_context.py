"""The trace that a request belongs to, as its caller names it (W3C Trace Context, https://www.w3.org/TR/trace-context/).

An invalid `traceparent` is ignored (3.2.2.3 there): the caller may be anybody.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ubr.entrypoints.http.fields import Fields

TRACEPARENT: Final = b"traceparent"

_VALUE: Final = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_FIRST_VERSION: Final = b"00"
_SAMPLED: Final = 1


class TraceContext(msgspec.Struct, frozen=True):
    """A position in a trace: `trace_id` has 32 hexadecimal digits, `parent_id`, the span of the caller, has 16.

    `sampled` is true if the caller may have recorded its span.
    """

    trace_id: str
    parent_id: str
    sampled: bool


def trace_context(fields: Fields) -> TraceContext | None:
    """The trace of a request; None if it names none, several, or one in an invalid form."""
    given = fields.get(TRACEPARENT)
    if given is None or len(given) != 1 or (found := _VALUE.fullmatch(given[0])) is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    # Later versions may append fields (3.2.4 there).
    if version == _FIRST_VERSION and more is not None:
        return None
    return TraceContext(trace_id.decode(), parent_id.decode(), bool(int(flags, 16) & _SAMPLED))
