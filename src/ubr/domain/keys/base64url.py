"""Base64url without padding (RFC 4648, 5), in canonical form: a text has one decoding, and bytes have one text."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode


def encode(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def decode(text: bytes) -> bytes:
    """Errors: `ValueError` for padding, other characters, and non-zero bits after the last byte."""
    raw = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    # The library skips unknown characters and drops the last bits. A text that differs when re-encoded is not
    # canonical.
    if encode(raw) != text:
        raise ValueError("Not canonical base64url")
    return raw
