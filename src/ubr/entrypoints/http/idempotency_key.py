"""Calls that a client tries again: its `Idempotency-Key` in."""

from __future__ import annotations

from collections.abc import Iterable

from ubr.application.kernel.idempotency import IdempotencyKey
from ubr.domain.errors import Invalid


def parse(headers: Iterable[tuple[bytes, bytes]]) -> IdempotencyKey | None:
    """By which key the call is known again; None without one. A quoted key is another than the same without quotes.

    Errors: `Invalid`.
    """
    lines = [value for name, value in headers if name == b"idempotency-key"]
    if not lines:
        return None
    if len(lines) > 1:
        raise Invalid("There is more than one Idempotency-Key field")
    return IdempotencyKey(lines[0].strip(b" \t").decode("latin-1"))
