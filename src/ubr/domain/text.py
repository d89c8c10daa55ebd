"""Text and moments: validated once at the boundary, trusted from then on."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

from ubr.domain.error_kinds import Invalid

NO_JOINERS = dict.fromkeys(map(ord, "\u200c\u200d"))
"""Removes the two invisible characters that names in Persian and in Indic scripts need for correct spelling."""


def check_printable(text: str, pointer: str) -> None:
    """Refuse characters never typed on purpose: controls (also NUL), surrogates, bidi overrides, zero-width marks."""
    for char in text:
        if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
            raise Invalid.at(pointer, f"contains the character U+{ord(char):04X}, which is not allowed")


def parse_text(raw: str, pointer: str, *, longest: int) -> str:
    """One line of text for people: trimmed, NFC, between 1 and `longest` code points.

    Errors: `Invalid`.
    """
    text = unicodedata.normalize("NFC", raw.strip())
    visible = text.translate(NO_JOINERS)
    if not visible or len(text) > longest:
        raise Invalid.at(pointer, f"must have between 1 and {longest} characters")
    check_printable(visible, pointer)
    return text


def parse_moment(raw: datetime, pointer: str) -> datetime:
    """A moment in UTC. Errors: `Invalid` if it has no offset, or is outside the years 1 to 9999 in UTC."""
    if raw.tzinfo is None:
        raise Invalid.at(pointer, "must have an offset from UTC")
    try:
        return raw.astimezone(UTC)
    except OverflowError:
        raise Invalid.at(pointer, "is out of range") from None


def fold(text: str) -> str:
    """NFKC and case folding until nothing changes, because one pass of each may not be enough.

    The text is decomposed before folding (Unicode definition D146), so that marks come in a canonical order.
    """
    while (folded := unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", text).casefold())) != text:
        text = folded
    return text
