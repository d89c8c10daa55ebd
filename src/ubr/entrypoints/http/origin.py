"""The origin of a request: its client, its id and its trace."""

from __future__ import annotations

import re
import secrets
from typing import Final

from ubr.application.kernel.origin import Origin
from ubr.entrypoints.http.client_ip import client_ip
from ubr.entrypoints.http.fields import Fields
from ubr.entrypoints.http.trace_context import TRACEPARENT, trace_context
from ubr.settings import TrustedProxies

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_MAX_USER_AGENT_LENGTH: Final = 512


def request_origin(peer: str | None, fields: Fields, trusted: TrustedProxies) -> Origin:
    """The origin of a request from this address, with these header fields."""
    given = fields.get(b"x-request-id", ())
    kept = len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) is not None
    trace = trace_context(fields) if TRACEPARENT in fields else None
    return Origin(
        ip=client_ip(peer, fields, trusted),
        user_agent=_user_agent(fields),
        request_id=given[0].decode() if kept else secrets.token_hex(16),
        request_id_given=kept,
        trace_id=None if trace is None else trace.trace_id,
    )


def _user_agent(fields: Fields) -> str | None:
    given = fields.get(b"user-agent")
    if given is None:
        return None
    text = given[0][: _MAX_USER_AGENT_LENGTH * 4].decode("utf-8", "replace")
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return text[:_MAX_USER_AGENT_LENGTH].strip() or None
