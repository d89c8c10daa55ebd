"""Values: parsed once on the way in, trusted from then on."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NewType
from uuid import UUID

from ubr.domain.errors import Invalid

UserId = NewType("UserId", UUID)
RoleId = NewType("RoleId", UUID)
SessionId = NewType("SessionId", UUID)
LogEntryId = NewType("LogEntryId", UUID)

TokenDigest = NewType("TokenDigest", bytes)
"""SHA-256 of a refresh token. The token itself is stored nowhere."""

FULL_NAME_LENGTH: Final = 200
DESCRIPTION_LENGTH: Final = 500
EMAIL_LENGTH: Final = 254
"""RFC 5321 4.5.3.1.3: a path has 256 octets, its angle brackets included."""

_ROLE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")
_PERMISSION = re.compile(r"\*|[a-z][a-z0-9_-]{0,49}:[a-z][a-z0-9_-]{0,49}")
_LOCAL_PART = re.compile(r"[^\s@\"(),:;<>\[\]\\]+")
_DOMAIN_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u1806\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Marks and letters without a shape (Unicode's Default_Ignorable_Code_Point), beyond what `_printable` refuses, and
the one dash that IDNA leaves out of a domain (RFC 3454, B.1)."""


_NO_JOINERS = dict.fromkeys(map(ord, "\u200c\u200d"))
"""Takes out the two invisible characters without which names in Persian and in Indic scripts are misspelled."""


def _printable(text: str, pointer: str) -> None:
    """Refuse what nobody types on purpose: controls (NUL among them), surrogates, bidi overrides, zero-width marks."""
    for char in text:
        if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
            raise Invalid.at(pointer, f"holds the character U+{ord(char):04X}, which is not allowed")


def parse_text(raw: str, pointer: str, *, longest: int) -> str:
    """One line of text for people: trimmed, NFC, between 1 and `longest` code points.

    Errors: `Invalid`.
    """
    text = unicodedata.normalize("NFC", raw.strip())
    visible = text.translate(_NO_JOINERS)
    if not visible or len(text) > longest:
        raise Invalid.at(pointer, f"must have between 1 and {longest} characters")
    _printable(visible, pointer)
    return text


def parse_moment(raw: datetime, pointer: str) -> datetime:
    """A moment in UTC. Errors: `Invalid` where it has no offset, or lies outside the years 1 to 9999 there."""
    if raw.tzinfo is None:
        raise Invalid.at(pointer, "must say its offset from UTC")
    try:
        return raw.astimezone(UTC)
    except OverflowError:
        raise Invalid.at(pointer, "is out of range") from None


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
        if not address or len(address) > EMAIL_LENGTH:
            raise Invalid.at(pointer, f"must be an e-mail of at most {EMAIL_LENGTH} characters")
        _printable(address, pointer)
        if hidden := _INVISIBLE.search(address):
            raise Invalid.at(pointer, f"holds the character U+{ord(hidden[0]):04X}, which cannot be seen")
        for char in address:
            if not char.isascii() and any(c.isascii() for c in _fold(char)):
                raise Invalid.at(pointer, f"holds the character U+{ord(char):04X}, which looks like another one")
        local, at, domain = _fold(address).rpartition("@")
        if not at or not _LOCAL_PART.fullmatch(local) or ".." in local or local[0] == "." or local[-1] == ".":
            raise Invalid.at(pointer, "is not an e-mail")
        if "=?" in local and "?=" in local:
            # Mail programs read it as an encoded word (RFC 2047), in which anything can be hidden.
            raise Invalid.at(pointer, "looks like an encoded word before the @")
        if len(local.encode()) > 64:  # noqa: PLR2004 - RFC 5321 4.5.3.1.1
            raise Invalid.at(pointer, "has more than 64 bytes before the @")
        try:
            host = domain.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise Invalid.at(pointer, "has a domain that is not valid") from None
        labels = host.split(".")
        if len(labels) < 2 or not all(map(_DOMAIN_LABEL.fullmatch, labels)) or labels[-1].isdigit():  # noqa: PLR2004
            raise Invalid.at(pointer, "has a domain that is not valid")
        key = f"{local}@{host}"
        if len(key.encode()) > EMAIL_LENGTH:
            raise Invalid.at(pointer, f"must have at most {EMAIL_LENGTH} bytes")
        return cls(address, key)

    def __repr__(self) -> str:
        return "Email(…)"


def _fold(text: str) -> str:
    """NFKC and case folding until nothing changes: one pass of each can leave work for the other.

    What is folded is taken apart first, as Unicode has it (definition D146), so that marks come in one order.
    """
    while (folded := unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", text).casefold())) != text:
        text = folded
    return text


_SEARCHED: Final = 500
"""How many characters of a folded name are looked at. One letter can become eighteen, and an index has its limits."""

_LAST: Final = "\U0010ffff"
_BEFORE_SURROGATES, _BEHIND_SURROGATES = "\ud7ff", "\ue000"


def name_key(full_name: str) -> str:
    """A full name as it is searched: NFKC, case folded."""
    return _fold(full_name)[:_SEARCHED]


@dataclass(frozen=True, slots=True, repr=False)
class Prefix:
    """How an e-mail or a full name begins, as the keys of both begin then. No character stands for any other."""

    email: str
    name: str

    @classmethod
    def parse(cls, raw: str, pointer: str = "/q") -> Prefix:
        """Errors: `Invalid` for what nobody typed on purpose, and for what is longer than any e-mail."""
        if not raw.strip() or len(raw) > EMAIL_LENGTH:
            raise Invalid.at(pointer, f"must have between 1 and {EMAIL_LENGTH} characters")
        if any(unicodedata.category(char) in {"Cc", "Cs"} for char in raw):
            raise Invalid.at(pointer, "holds a control character")
        text = _fold(raw.strip())
        local, at, domain = text.rpartition("@")
        if at and not domain.isascii():
            # In a key a domain is in its IDNA form, and the beginning of one has none: it is taken for a whole domain.
            with suppress(UnicodeError):
                domain = domain.encode("idna").decode("ascii").lower()
        return cls(f"{local}{at}{domain}", text[:_SEARCHED])

    def begins(self, email: Email, full_name: str | None) -> bool:
        return email.key.startswith(self.email) or (full_name is not None and name_key(full_name).startswith(self.name))

    def __repr__(self) -> str:
        return "Prefix(…)"


def behind(prefix: str) -> str | None:
    """The first text, in the order of code points, behind all that begin with a prefix; None where there is none.

    It is the order of the bytes too. A half of a surrogate pair is no character, and never in what this returns.
    """
    kept = prefix.rstrip(_LAST)
    if not kept:
        return None
    last = kept[-1]
    return kept[:-1] + (_BEHIND_SURROGATES if last == _BEFORE_SURROGATES else chr(ord(last) + 1))


class RoleName(str):
    """The name of a role: `^[a-z][a-z0-9_-]{0,49}$`."""

    __slots__ = ()

    @classmethod
    def parse(cls, raw: str, pointer: str = "/name") -> RoleName:
        """Errors: `Invalid`."""
        if not _ROLE_NAME.fullmatch(raw):
            raise Invalid.at(pointer, "must match ^[a-z][a-z0-9_-]{0,49}$")
        return cls(raw)


class Permission(str):
    """`thing:verb`, or `*` for all of them."""

    __slots__ = ()

    @classmethod
    def parse(cls, raw: str, pointer: str = "/permissions") -> Permission:
        """Errors: `Invalid`."""
        if not _PERMISSION.fullmatch(raw):
            raise Invalid.at(pointer, "must look like thing:verb, in lower case")
        return cls(raw)


EVERYTHING: Final = Permission("*")


@dataclass(frozen=True, slots=True)
class Permissions:
    """A set of permissions in which `*` stands for every one, also for those not yet thought of."""

    names: frozenset[Permission] = frozenset()

    @classmethod
    def of(cls, names: Iterable[Permission]) -> Permissions:
        return cls(frozenset(names))

    def allow(self, permission: Permission) -> bool:
        return EVERYTHING in self.names or permission in self.names

    def cover(self, other: Permissions) -> bool:
        """Whether whoever holds these holds every one of `other` too."""
        return EVERYTHING in self.names or other.names <= self.names

    def __or__(self, other: Permissions) -> Permissions:
        return Permissions(self.names | other.names)

    def __iter__(self) -> Iterator[Permission]:
        return iter(sorted(self.names))


@dataclass(frozen=True, slots=True, repr=False)
class PasswordHash:
    """An encoded password hash (PHC string). Its `repr` shows nothing."""

    encoded: str

    def __repr__(self) -> str:
        return "PasswordHash(…)"
