"""How users are searched: by how an e-mail or a full name begins."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ubr.domain.accounts.email import MAX_EMAIL_LENGTH, Email
from ubr.domain.error_kinds import Invalid
from ubr.domain.text import fold

_SEARCHED: Final = 500
"""How many characters of a folded name are looked at. One letter can become eighteen, and an index has its limits."""

_LAST: Final = "\U0010ffff"

_BEFORE_SURROGATES, _BEHIND_SURROGATES = "\ud7ff", "\ue000"


def name_key(full_name: str) -> str:
    """A full name as it is searched: NFKC, case folded."""
    return fold(full_name)[:_SEARCHED]


@dataclass(frozen=True, slots=True, repr=False)
class Prefix:
    """How an e-mail or a full name begins, as the keys of both begin then. No character stands for any other."""

    email: str
    name: str

    @classmethod
    def parse(cls, raw: str, pointer: str = "/q") -> Prefix:
        """Errors: `Invalid` for what nobody typed on purpose, and for what is longer than any e-mail."""
        if not raw.strip() or len(raw) > MAX_EMAIL_LENGTH:
            raise Invalid.at(pointer, f"must have between 1 and {MAX_EMAIL_LENGTH} characters")
        if any(unicodedata.category(char) in {"Cc", "Cs"} for char in raw):
            raise Invalid.at(pointer, "contains a control character")
        text = fold(raw.strip())
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
