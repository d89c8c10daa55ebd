"""Conversion of events to change records: the only way to write the feed, for every store."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ubr.domain.events import Event
from ubr.domain.revocation.changes import Change


class PendingChanges(msgspec.Struct):
    """The changes of one unit of work, each once, in order."""

    gathered: dict[Change, None] = msgspec.field(default_factory=dict)
    must_propagate: bool = False
    _beside: dict[Change, None] = msgspec.field(default_factory=dict)

    def announce(self, change: Change, *, alone: bool) -> None:
        """Add a change that belongs to no event: always, or only if events have changes too."""
        if alone:
            self.gathered[change] = None
            self.must_propagate = True
        else:
            self._beside[change] = None

    def gather(self, events: Sequence[Event]) -> None:
        for event in events:
            self.gathered.update(dict.fromkeys(event.changes))
            self.must_propagate = self.must_propagate or (bool(event.changes) and event.must_propagate)

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(self.gathered | self._beside) if self.gathered else ()
