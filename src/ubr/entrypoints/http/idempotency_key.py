"""The `Idempotency-Key` of calls that a client may retry."""

from __future__ import annotations

from ubr.application.kernel.idempotency import IdempotencyKey
from ubr.domain.errors import Invalid
from ubr.entrypoints.http.fields import Fields


def parse(fields: Fields) -> IdempotencyKey | None:
    """The key that identifies retries of a call; None if absent. A quoted key differs from the same without quotes.

    Errors: `Invalid`.
    """
    lines = fields.get(b"idempotency-key")
    if not lines:
        return None
    if len(lines) > 1:
        raise Invalid("There is more than one Idempotency-Key field")
    return IdempotencyKey(lines[0].strip(b" \t").decode("latin-1"))
