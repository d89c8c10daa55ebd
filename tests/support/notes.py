"""Reads signed notes and checkpoints, strictly according to c2sp.org/signed-note and c2sp.org/tlog-checkpoint.

It shares no code with ubr: it represents a reader who knows only the specifications.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_ED25519: Final = b"\x01"
_KEY_BYTES: Final = 32
_ROOT_BYTES: Final = 32
_ID_BYTES: Final = 4
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
"""No leading zeros. The specification sets no maximum size, but no log exceeds 64 bits."""
_MAX_SIGNATURES: Final = 100
"""A reader should have a limit, and has to accept 16."""


class NotGenuine(Exception):
    """The text is not a note, not signed by that key, or not a checkpoint."""


class _Signature(NamedTuple):
    name: str
    key_id: bytes
    signed: bytes


def opened(note: str | bytes, vkey: str) -> str:
    """The text of a note that the key signed. Signatures of others are ignored. Errors: `NotGenuine`."""
    name, key_id, key = _key_of(vkey)
    text, signatures = _parts_of(note)
    own = [signature for signature in signatures if (signature.name, signature.key_id) == (name, key_id)]
    if not own:
        raise NotGenuine("That key has not signed the note")
    for signature in own:
        try:
            key.verify(signature.signed, text.encode())
        except InvalidSignature:
            raise NotGenuine("A signature is wrong") from None
    return text


def checkpoint(note: str | bytes, vkey: str) -> tuple[str, int, bytes]:
    """The origin, the size and the root in a checkpoint that the key signed. Errors: `NotGenuine`.

    The name of the key should be the origin, but need not be. A reader of one log checks its origin.
    """
    lines = opened(note, vkey).removesuffix("\n").split("\n")
    if len(lines) < 3 or "" in lines:
        raise NotGenuine("A checkpoint has three lines, and no empty ones")
    origin, size, root = lines[0], lines[1], _decoded(lines[2])
    if not _SIZE.fullmatch(size):
        raise NotGenuine("The second line is not the size of a tree")
    if len(root) != _ROOT_BYTES:
        raise NotGenuine("The third line is not a root")
    if size == "0" and root != sha256().digest():
        raise NotGenuine("An empty tree has another root")
    return origin, int(size), root


def _key_of(vkey: str) -> tuple[str, bytes, Ed25519PublicKey]:
    parts = vkey.split("+", 2)  # base64 contains plus signs
    if len(parts) != 3:
        raise NotGenuine("A key has three parts")
    name, key_id, encoded = parts
    material = _decoded(encoded)
    if not _is_name(name) or material[:1] != _ED25519 or len(material) != 1 + _KEY_BYTES:
        raise NotGenuine("That is not an Ed25519 key with a name")
    expected = sha256(name.encode() + b"\n" + material).digest()[:_ID_BYTES]
    if key_id != expected.hex():
        raise NotGenuine("The ID is that of another key")
    return name, expected, Ed25519PublicKey.from_public_bytes(material[1:])


def _parts_of(note: str | bytes) -> tuple[str, list[_Signature]]:
    try:
        whole = note.decode() if isinstance(note, bytes) else note.encode().decode()
    except UnicodeError:
        raise NotGenuine("A note is UTF-8") from None
    if any(character < " " and character != "\n" for character in whole):
        raise NotGenuine("A note has no control characters")
    text, blank, signatures = whole.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise NotGenuine("A note is text, an empty line, and lines of signatures")
    lines = signatures.removesuffix("\n").split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise NotGenuine("There are too many signatures")
    return text + "\n", [_signature_of(line) for line in lines]


def _signature_of(line: str) -> _Signature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\N{EM DASH}" or not _is_name(parts[1]):
        raise NotGenuine("A signature is a dash, a name and base64")
    raw = _decoded(parts[2])
    if len(raw) <= _ID_BYTES:
        raise NotGenuine("A signature begins with the ID of a key")
    return _Signature(parts[1], raw[:_ID_BYTES], raw[_ID_BYTES:])


def _is_name(name: str) -> bool:
    return name != "" and not any(character.isspace() or character == "+" for character in name)


def _decoded(encoded: str) -> bytes:
    """Accepts only the encoding of RFC 4648, and no other text that a lenient reader takes for the same bytes."""
    try:
        raw = b64decode(encoded, validate=True)
    except (NotBase64, ValueError):
        raise NotGenuine("That is not base64") from None
    if b64encode(raw).decode() != encoded:
        raise NotGenuine("Those bytes have another base64")
    return raw
