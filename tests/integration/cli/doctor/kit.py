"""Reports of `ubr doctor`, and the installations that they are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

SECRET = "7d0c1be5c2a94f3fb6a1e8d2905f4c73a6be19d4f0c85e2b"
OTHER_SECRET = "e41f90b27ac85d3360dd1f7b8c2e95a4f10b6d8c37e2a95b"
CANARY = "canary-8f3b61"
"""A part of every other password here."""


@dataclass(frozen=True)
class Report:
    """The findings of one run."""

    code: int
    found: list[tuple[str, str, str]]
    """Level, subject and sentence."""

    def about(self, subject: str) -> list[tuple[str, str]]:
        """The levels and sentences about a subject."""
        return [(level, sentence) for level, about, sentence in self.found if about == subject]

    def levels(self) -> dict[str, str]:
        """The level of each subject; that of its last finding if there are several."""
        return {subject: level for level, subject, _ in self.found}

    def says(self, level: str, subject: str, words: str) -> bool:
        """True if a finding of this level about this subject contains these words."""
        return any(given == level and words in sentence for given, sentence in self.about(subject))


class Examine(Protocol):
    def __call__(self, *arguments: str, **settings: str) -> Report:
        """Run the command, and check that its output contains no secret."""


Installed = Callable[[], dict[str, str]]
"""Creates an installation with an administrator, and returns its settings."""
