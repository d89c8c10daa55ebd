"""Base64url without padding (RFC 4648, 5), in its one canonical form: a text has one decoding, and bytes one text."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode


def encode(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def decode(text: bytes) -> bytes:
    """Errors: `ValueError` for padding, other characters, and bits behind the last byte that are not zero."""
    raw = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    # The library skips what it does not know and drops the last bits. What encodes to another text was not canonical.
    if encode(raw) != text:
        raise ValueError("Not canonical base64url")
    return raw
