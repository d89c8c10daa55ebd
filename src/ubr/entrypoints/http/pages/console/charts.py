"""Bar charts as SVG, made by the service: a picture with a title and a description, beside a table of its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from ubr.entrypoints.http.pages.console.desk import said
from ubr.entrypoints.http.pages.words import Words

WIDTH: Final = 480
HEIGHT: Final = 120
_GAP: Final = 4
_LEAST: Final = 2
"""The height of the lowest bar of a number above 0, so that it can be seen."""


class Bar(msgspec.Struct, frozen=True):
    """A bar in units of the picture, its number, and the beginning of its hour."""

    x: float
    y: float
    width: float
    height: float
    number: int
    hour: datetime


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers by the hour. `key` is that of its title. At `most` the count has ended: there may have been more."""

    key: str
    hours: Sequence[datetime]
    numbers: Sequence[int]
    most: int
    bad: bool = False

    def total(self, words: Words) -> str:
        return f"{words.number(sum(self.numbers))}{'+' if self.full else ''}"

    @property
    def full(self) -> bool:
        """True if the count of an hour has ended early."""
        return max(self.numbers, default=0) >= self.most

    @property
    def top(self) -> int:
        """The number at the top of the picture."""
        return max(*self.numbers, 1)

    def description(self, words: Words, title: str) -> str:
        """The picture in a sentence, for those who do not see it."""
        highest = max(self.numbers)
        if highest == 0:
            return said(words, "overview.none", title=title)
        hour = self.hours[list(self.numbers).index(highest)]
        return said(
            words,
            "overview.described",
            title=title,
            total=self.total(words),
            hour=f"{hour:%H:%M}",
            highest=words.number(highest),
        )

    @property
    def bars(self) -> list[Bar]:
        step = WIDTH / len(self.numbers)
        found = []
        for place, (hour, number) in enumerate(zip(self.hours, self.numbers, strict=True)):
            height = 0.0 if number == 0 else max(_LEAST, round(number / self.top * HEIGHT, 1))
            x = round(place * step + _GAP / 2, 1)
            found.append(Bar(x, round(HEIGHT - height, 1), round(step - _GAP, 1), height, number, hour))
        return found
