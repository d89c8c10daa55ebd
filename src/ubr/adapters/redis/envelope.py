"""What is kept in Redis or sent through it, with a tag that says where it belongs."""

from __future__ import annotations

from typing import Final

from ubr.application.ports.secrets import Signer

PURPOSE: Final = "redis envelope"

_VERSION: Final = b"\x01"
_TAG_BYTES: Final = 32
_START: Final = len(_VERSION) + _TAG_BYTES


class Envelope:
    """A version byte, the tag, the payload. The payload can be read by whoever reads Redis; nobody else can write one.

    The tag covers the context as well: what kind of thing it is, its name, the epoch, and whatever else tells it
    apart. A thing that somebody moves to another place is no thing at all there.
    """

    __slots__ = ("_signer",)

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def seal(self, kind: str, name: str, epoch: str, payload: bytes, *more: str) -> bytes:
        """The payload, fit to be kept under this kind, name, epoch and `more`."""
        return _VERSION + self._signer.sign(PURPOSE, _message((kind, name, epoch, *more), payload)) + payload

    def open(self, kind: str, name: str, epoch: str, sealed: object, *more: str) -> bytes | None:
        """The payload; None for whatever was not sealed here for this very place. Never an error."""
        if not isinstance(sealed, bytes) or len(sealed) < _START or not sealed.startswith(_VERSION):
            return None
        tag, payload = sealed[len(_VERSION) : _START], sealed[_START:]
        message = _message((kind, name, epoch, *more), payload)
        return payload if self._signer.verify(PURPOSE, message, tag) else None


def _message(context: tuple[str, ...], payload: bytes) -> bytes:
    """All of it, each part behind its length, so that no two contexts ever give the same bytes."""
    # Names can come from outside and hold lone surrogates; they need a form here, not a good one.
    parts = [part.encode("utf-8", "surrogatepass") for part in context]
    lengths = b"".join(len(part).to_bytes(8, "big") for part in parts)
    return _VERSION + len(parts).to_bytes(8, "big") + lengths + b"".join(parts) + payload
