"""Client IPs that were erased from the log, and the entries that explain their absence."""

from __future__ import annotations

import msgspec

from ubr.domain.audit.entry import LogEntry
from ubr.domain.audit.events import USER_ERASED


class Erasures(msgspec.Struct):
    """Collects the entries of a log in any order. Every missing client IP needs an erasure of its person."""

    _missing: dict[str, int] = msgspec.field(default_factory=dict)
    """The index of the first entry without its client IP, by person. Entries without a person are under no id."""
    _erased: set[str] = msgspec.field(default_factory=set)

    def take(self, index: int, entry: LogEntry) -> None:
        """Errors: `ValueError` if the facts of the entry cannot be read."""
        if entry.lacks_ip:
            self._missing.setdefault(entry.person or "", index)
        elif entry.action == USER_ERASED and entry.target is not None:
            self._erased.add(entry.target.id)

    def unexplained(self) -> dict[str, int]:
        """The persons whose client IPs are missing without an erasure, each with the index of the first entry."""
        return {person: index for person, index in self._missing.items() if person not in self._erased}
