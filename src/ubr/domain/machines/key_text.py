"""The text of a key: `ubr_sk_`, its id, its secret, and a checksum, each of fixed length in base62.

The prefix and the checksum let secret scanners recognise a key that was committed or logged, and tell it from other
text, without a database. The checksum protects nothing: anyone can compute it.
"""

from __future__ import annotations

import re
import zlib
from typing import Final
from uuid import UUID

from ubr.domain.ids import MachineKeyId

PREFIX: Final = "ubr_sk_"
SECRET_BYTES: Final = 32

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES: Final = {char: value for value, char in enumerate(_ALPHABET)}
_ID_CHARS: Final = 22  # 62^22 > 2^128
_SECRET_CHARS: Final = 43  # 62^43 > 2^256
_SUM_CHARS: Final = 6  # 62^6 > 2^32
_FORM: Final = re.compile(
    rf"{PREFIX}([0-9A-Za-z]{{{_ID_CHARS}}})[0-9A-Za-z]{{{_SECRET_CHARS}}}([0-9A-Za-z]{{{_SUM_CHARS}}})"
)


def key_text(key_id: MachineKeyId, secret: bytes) -> str:
    """The text of a key with this secret of 32 random bytes."""
    begun = PREFIX + _encode(key_id.int, _ID_CHARS) + _encode(int.from_bytes(secret), _SECRET_CHARS)
    return begun + _checksum(begun)


def key_id_of(text: str) -> MachineKeyId | None:
    """The id that the text of a key names; None for any other text, such as one with a typing error."""
    found = _FORM.fullmatch(text)
    if found is None or found[2] != _checksum(text[:-_SUM_CHARS]):
        return None
    number = 0
    for char in found[1]:
        number = number * len(_ALPHABET) + _VALUES[char]
    return MachineKeyId(UUID(int=number)) if number < 2**128 else None


def keys_in(text: str) -> list[str]:
    """The keys in a longer text, recognised by their prefix and their checksum."""
    return [found[0] for found in _FORM.finditer(text) if key_id_of(found[0]) is not None]


def _checksum(text: str) -> str:
    return _encode(zlib.crc32(text.encode()), _SUM_CHARS)


def _encode(number: int, length: int) -> str:
    chars = []
    for _ in range(length):
        number, value = divmod(number, len(_ALPHABET))
        chars.append(_ALPHABET[value])
    return "".join(reversed(chars))
