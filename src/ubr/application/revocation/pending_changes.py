"""Conversion of events to change records: the only way to write the feed, for every store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ubr.domain.events import Event
from ubr.domain.revocation.changes import Change


@dataclass(slots=True)
class PendingChanges:
    """The changes that one unit of work writes to the feed."""

    said: dict[Change, None] = field(default_factory=dict)
    must_propagate: bool = False

    def say(self, change: Change) -> None:
        """Announce an end, new or earlier."""
        self.said[change] = None
        self.must_propagate = True

    def gather(self, events: Sequence[Event]) -> None:
        """Collect the changes of events, each once, in order."""
        for event in events:
            self.said.update(dict.fromkeys(event.changes))
            self.must_propagate = self.must_propagate or (bool(event.changes) and event.must_propagate)

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(self.said)
