"""Data stored in Redis or sent through it, with a tag that binds it to its place."""

from __future__ import annotations

from typing import Final

from ubr.application.ports.secrets import Signer

PURPOSE: Final = "redis envelope"

_VERSION: Final = b"\x01"
_TAG_BYTES: Final = 32
_START: Final = len(_VERSION) + _TAG_BYTES


class Envelope:
    """A version byte, the tag, the payload. A reader of Redis can read the payload, but cannot forge one.

    The tag also covers the context: the kind, the name, the epoch, and any further distinction. Data that was moved to
    another place is invalid there.
    """

    __slots__ = ("_signer",)

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def seal(self, kind: str, name: str, epoch: str, payload: bytes, *more: str) -> bytes:
        """The payload, with the tag for this kind, name, epoch and `more`."""
        return _VERSION + self._signer.sign(PURPOSE, _message((kind, name, epoch, *more), payload)) + payload

    def open(self, kind: str, name: str, epoch: str, sealed: object, *more: str) -> bytes | None:
        """The payload; None if the tag is not valid for this context. Never raises."""
        if not isinstance(sealed, bytes) or len(sealed) < _START or not sealed.startswith(_VERSION):
            return None
        tag, payload = sealed[len(_VERSION) : _START], sealed[_START:]
        message = _message((kind, name, epoch, *more), payload)
        return payload if self._signer.verify(PURPOSE, message, tag) else None


def _message(context: tuple[str, ...], payload: bytes) -> bytes:
    """The context and the payload, each part prefixed with its length, so that different contexts never give the same
    bytes.
    """
    # Names can come from outside and contain lone surrogates; they need an encoding here, not a valid one.
    parts = [part.encode("utf-8", "surrogatepass") for part in context]
    lengths = b"".join(len(part).to_bytes(8, "big") for part in parts)
    return _VERSION + len(parts).to_bytes(8, "big") + lengths + b"".join(parts) + payload
