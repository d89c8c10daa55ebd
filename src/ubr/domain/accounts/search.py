"""User search: by the beginning of the e-mail or the full name."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from typing import Final

from ubr.domain.accounts.domain_name import ascii_domain
from ubr.domain.accounts.email import MAX_EMAIL_LENGTH, Email
from ubr.domain.concealed import Concealed
from ubr.domain.error_kinds import Invalid
from ubr.domain.text import fold

_SEARCHED: Final = 500
"""Number of characters of a folded name that are indexed. One letter can fold to eighteen, and indexes have a limit."""

_LAST: Final = "\U0010ffff"

_BEFORE_SURROGATES, _BEHIND_SURROGATES = "\ud7ff", "\ue000"


def name_key(full_name: str) -> str:
    """A full name in its search form: NFKC, case folded."""
    return fold(full_name)[:_SEARCHED]


class Prefix(Concealed, frozen=True):
    """The beginning of an e-mail or a full name, in the form of both keys. There are no wildcards."""

    email: str
    name: str

    @classmethod
    def parse(cls, raw: str, pointer: str = "/q") -> Prefix:
        """Errors: `Invalid` for control characters, lone surrogates, an empty text, and one longer than any e-mail."""
        if not raw.strip() or len(raw) > MAX_EMAIL_LENGTH:
            raise Invalid.at(pointer, f"must have between 1 and {MAX_EMAIL_LENGTH} characters")
        if any(unicodedata.category(char) in {"Cc", "Cs"} for char in raw):
            raise Invalid.at(pointer, "contains a control character")
        text = fold(raw.strip())
        name, at, domain = raw.strip().rpartition("@")
        email = text
        if at and not domain.isascii():
            # Keys hold the IDNA form of a domain. A part of a domain has none, so the text is treated as a whole
            # domain.
            with suppress(ValueError):
                email = f"{fold(name)}{at}{ascii_domain(domain)}"
        return cls(email, text[:_SEARCHED])

    def begins(self, email: Email, full_name: str | None) -> bool:
        return email.key.startswith(self.email) or (full_name is not None and name_key(full_name).startswith(self.name))


def behind(prefix: str) -> str | None:
    """The first text, in code point order, after all texts with this prefix; None if there is none.

    Code point order is also the order of the UTF-8 bytes. A lone surrogate is not a character, and is never returned.
    """
    kept = prefix.rstrip(_LAST)
    if not kept:
        return None
    last = kept[-1]
    return kept[:-1] + (_BEHIND_SURROGATES if last == _BEFORE_SURROGATES else chr(ord(last) + 1))
