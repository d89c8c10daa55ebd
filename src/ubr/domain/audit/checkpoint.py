"""Checkpoints (C2SP tlog-checkpoint), which are signed notes (C2SP signed-note), and the keys that sign them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final, TypeAlias

import msgspec

from ubr.domain.audit.merkle import HASH_BYTES

VerifySignature: TypeAlias = Callable[[bytes, bytes, bytes], bool]
"""Takes a public key, a message and a signature; True if the Ed25519 signature (RFC 8032) is valid."""

MAX_NOTE_BYTES: Final = 64 * 1024

_ED25519: Final = b"\x01"
_PUBLIC_BYTES: Final = 32
_ID_BYTES: Final = 4
_MAX_SIGNATURES: Final = 100
_DASH: Final = "\N{EM DASH} "
_KEY: Final = re.compile(r"(?P<name>[^\s+]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/=]+)")
_NAME: Final = re.compile(r"[^\s+]{1,255}")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class BadNote(Exception):
    """A text that is not a note, or a note with invalid content. Its message is the end of a sentence."""


class NoteKey(msgspec.Struct, frozen=True):
    """A public key, as verifiers hold it. Its name is the origin of the log that it signs."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that distinguish keys with the same name."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    @property
    def label(self) -> str:
        """Name and id, for people."""
        return f"{self.name}+{self.id.hex()}"

    def __str__(self) -> str:
        """The text that verifiers accept: name, id and key."""
        return f"{self.label}+{_base64(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """Errors: `BadNote`."""
        found = _KEY.fullmatch(text)
        if found is None:
            raise BadNote("is not a log key: it must be name+id+key")
        raw = _unbase64(found["key"])
        if raw[:1] != _ED25519 or len(raw) != 1 + _PUBLIC_BYTES:
            raise BadNote("is not an Ed25519 key")
        key = cls(found["name"], raw[1:])
        if key.id.hex() != found["id"]:
            raise BadNote("has an id that does not match its key")
        return key


class Signature(msgspec.Struct, frozen=True):
    name: str
    key_id: bytes
    value: bytes


class Note(msgspec.Struct, frozen=True):
    """A text, which ends with a line break, and its signatures."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        lines = [f"{_DASH}{one.name} {_base64(one.key_id + one.value)}\n" for one in self.signatures]
        return f"{self.text}\n{''.join(lines)}"

    @classmethod
    def parse(cls, raw: str) -> Note:
        """Errors: `BadNote`."""
        if len(raw) > MAX_NOTE_BYTES or any(mark < " " and mark != "\n" for mark in raw):
            raise BadNote("is not a note")
        text, blank, tail = raw.rpartition("\n\n")
        lines = tail.split("\n")
        if not blank or not text or lines.pop() != "" or not 0 < len(lines) <= _MAX_SIGNATURES:
            raise BadNote("is not a note: it must have a text, an empty line, and signatures")
        return cls(text + "\n", tuple(map(_signature, lines)))

    def signed_by(self, key: NoteKey, verify: VerifySignature) -> bool:
        """True if this key signed it. Errors: `BadNote` if a signature in its name is invalid."""
        found = False
        for one in self.signatures:
            if (one.name, one.key_id) == (key.name, key.id):
                if not verify(key.public, self.text.encode(), one.value):
                    raise BadNote(f"has an invalid signature of {key.label}")
                found = True
        return found

    def with_signature(self, key: NoteKey, value: bytes) -> Note:
        return Note(self.text, (*self.signatures, Signature(key.name, key.id, value)))


class Checkpoint(msgspec.Struct, frozen=True):
    """The size of a log, and the root of the tree over it. Further lines, added by others, are ignored."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The signed text."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"

    @classmethod
    def of(cls, note: Note) -> Checkpoint:
        """The checkpoint in a note. Errors: `BadNote`."""
        origin, size, root, *_ = [*note.text.split("\n"), "", ""]
        if not _NAME.fullmatch(origin) or not _SIZE.fullmatch(size):
            raise BadNote("is not a checkpoint: it must have origin, size and root")
        raw = _unbase64(root)
        if len(raw) != HASH_BYTES:
            raise BadNote("has a root that is not a SHA-256 hash")
        return cls(origin, int(size), raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKey:
    """A key that signs checkpoints. `private` is encrypted.

    `number` starts at 1 and gives the order of the keys, because a clock can be set back.
    """

    number: int
    name: str
    public: bytes
    private: bytes = field(repr=False)
    created_at: datetime

    @property
    def note_key(self) -> NoteKey:
        return NoteKey(self.name, self.public)

    @property
    def label(self) -> str:
        return self.note_key.label

    def __str__(self) -> str:
        """The text that verifiers accept."""
        return str(self.note_key)


def _signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not _NAME.fullmatch(name):
        raise BadNote("has a line that is not a signature")
    raw = _unbase64(encoded)
    if len(raw) <= _ID_BYTES:
        raise BadNote("has a line that is not a signature")
    return Signature(name, raw[:_ID_BYTES], raw[_ID_BYTES:])


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _unbase64(text: str) -> bytes:
    """Errors: `BadNote` for anything but the canonical encoding."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadNote("contains invalid base64") from None
    if _base64(raw) != text:
        raise BadNote("contains invalid base64")
    return raw
