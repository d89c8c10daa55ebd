"""E-mail addresses."""

from __future__ import annotations

import re
from typing import Final

from ubr.domain.accounts.domain_name import ascii_domain
from ubr.domain.concealed import Concealed
from ubr.domain.error_kinds import Invalid
from ubr.domain.text import check_printable, fold

MAX_EMAIL_LENGTH: Final = 254
"""RFC 5321 4.5.3.1.3: a path has 256 octets, including its angle brackets."""

_LOCAL_PART = re.compile(r"[^\s@\"(),:;<>\[\]\\]+")

_DOMAIN_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u1806\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Invisible characters (Unicode's Default_Ignorable_Code_Point) that `check_printable` does not refuse, and the one
dash that IDNA drops from a domain (RFC 3454, B.1)."""

_SHARP_S = {ord("ß"): None}


class Email(Concealed, frozen=True):
    """An e-mail address: `address` as typed, which mail is sent to, and `key`, which is unique.

    Only this class makes keys (NFKC, case folded, the domain by IDNA 2008), because databases disagree on Unicode lower
    case.
    """

    address: str
    key: str

    @classmethod
    def parse(cls, raw: str, pointer: str = "/email") -> Email:
        """Errors: `Invalid` for anything that is not clearly one address.

        A non-ASCII character that NFKC or case folding turns into ASCII is refused (full-width letters, the Kelvin
        sign, U+FF20 for `@`), because it imitates another address. The exception is `ß` in a domain, where it is a
        letter of its own.
        """
        address = raw.strip()
        if not address or len(address) > MAX_EMAIL_LENGTH:
            raise Invalid.at(pointer, f"must be an e-mail of at most {MAX_EMAIL_LENGTH} characters")
        check_printable(address, pointer)
        if hidden := _INVISIBLE.search(address):
            raise Invalid.at(pointer, f"contains the character U+{ord(hidden[0]):04X}, which is invisible")
        name, at, domain = address.rpartition("@")
        for char in name + domain.translate(_SHARP_S):
            if not char.isascii() and any(c.isascii() for c in fold(char)):
                raise Invalid.at(pointer, f"contains the character U+{ord(char):04X}, which resembles another one")
        local = fold(name)
        if not at or not _LOCAL_PART.fullmatch(local) or ".." in local or local[0] == "." or local[-1] == ".":
            raise Invalid.at(pointer, "is not an e-mail")
        if "=?" in local and "?=" in local:
            # Mail programs decode it as an encoded word (RFC 2047), which can hide anything.
            raise Invalid.at(pointer, "looks like an encoded word before the @")
        if len(local.encode()) > 64:  # noqa: PLR2004 - RFC 5321 4.5.3.1.1
            raise Invalid.at(pointer, "has more than 64 bytes before the @")
        try:
            host = ascii_domain(domain)
        except ValueError:
            raise Invalid.at(pointer, "has an invalid domain") from None
        labels = host.split(".")
        if len(labels) < 2 or not all(map(_DOMAIN_LABEL.fullmatch, labels)) or labels[-1].isdigit():  # noqa: PLR2004
            raise Invalid.at(pointer, "has an invalid domain")
        key = f"{local}@{host}"
        if len(key.encode()) > MAX_EMAIL_LENGTH:
            raise Invalid.at(pointer, f"must have at most {MAX_EMAIL_LENGTH} bytes")
        return cls(address, key)

    @property
    def domain(self) -> str:
        """The domain in its canonical form."""
        return self.key.rpartition("@")[2]
