"""From events to feed rows: the one way in which the feed is written, whatever the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ubr.domain.events import Event
from ubr.domain.revocation.changes import Change


@dataclass(slots=True)
class PendingChanges:
    """What one unit of work says to the feed."""

    said: dict[Change, None] = field(default_factory=dict)
    must_propagate: bool = False

    def say(self, change: Change) -> None:
        """Something ended, or had ended before."""
        self.said[change] = None
        self.must_propagate = True

    def gather(self, events: Sequence[Event]) -> None:
        """Take the changes of events, each once, in order."""
        for event in events:
            self.said.update(dict.fromkeys(event.changes))
            self.must_propagate = self.must_propagate or (bool(event.changes) and event.must_propagate)

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(self.said)
