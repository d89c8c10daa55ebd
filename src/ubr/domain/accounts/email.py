"""E-mail addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ubr.domain.error_kinds import Invalid
from ubr.domain.text import check_printable, fold

MAX_EMAIL_LENGTH: Final = 254
"""RFC 5321 4.5.3.1.3: a path has 256 octets, its angle brackets included."""

_LOCAL_PART = re.compile(r"[^\s@\"(),:;<>\[\]\\]+")

_DOMAIN_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u1806\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Marks and letters without a shape (Unicode's Default_Ignorable_Code_Point), beyond what `check_printable` refuses,
and the one dash that IDNA leaves out of a domain (RFC 3454, B.1)."""


@dataclass(frozen=True, slots=True, repr=False)
class Email:
    """A mail address: as typed, which is where mail goes, and as a key, which is what is unique.

    The key is made here alone (NFKC, case folded, domain in IDNA form), because databases disagree on the lower case
    of Unicode.
    """

    address: str
    key: str

    @classmethod
    def parse(cls, raw: str, pointer: str = "/email") -> Email:
        """Errors: `Invalid` for anything that is not plainly one address.

        A non-ASCII character that NFKC or case folding turns into ASCII is refused (full-width letters, the Kelvin
        sign, U+FF20 for `@`): it exists to look like another address.
        """
        address = raw.strip()
        if not address or len(address) > MAX_EMAIL_LENGTH:
            raise Invalid.at(pointer, f"must be an e-mail of at most {MAX_EMAIL_LENGTH} characters")
        check_printable(address, pointer)
        if hidden := _INVISIBLE.search(address):
            raise Invalid.at(pointer, f"contains the character U+{ord(hidden[0]):04X}, which is invisible")
        for char in address:
            if not char.isascii() and any(c.isascii() for c in fold(char)):
                raise Invalid.at(pointer, f"contains the character U+{ord(char):04X}, which resembles another one")
        local, at, domain = fold(address).rpartition("@")
        if not at or not _LOCAL_PART.fullmatch(local) or ".." in local or local[0] == "." or local[-1] == ".":
            raise Invalid.at(pointer, "is not an e-mail")
        if "=?" in local and "?=" in local:
            # Mail programs read it as an encoded word (RFC 2047), in which anything can be hidden.
            raise Invalid.at(pointer, "has an encoded word before the @")
        if len(local.encode()) > 64:  # noqa: PLR2004 - RFC 5321 4.5.3.1.1
            raise Invalid.at(pointer, "has more than 64 bytes before the @")
        try:
            host = domain.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise Invalid.at(pointer, "has an invalid domain") from None
        labels = host.split(".")
        if len(labels) < 2 or not all(map(_DOMAIN_LABEL.fullmatch, labels)) or labels[-1].isdigit():  # noqa: PLR2004
            raise Invalid.at(pointer, "has an invalid domain")
        key = f"{local}@{host}"
        if len(key.encode()) > MAX_EMAIL_LENGTH:
            raise Invalid.at(pointer, f"must have at most {MAX_EMAIL_LENGTH} bytes")
        return cls(address, key)

    def __repr__(self) -> str:
        return "Email(…)"
