"""What a verifier knows of what ended, and for how long it may rely on it."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ubr.domain.keys.access_token import HORIZON
from ubr.domain.revocation.changes import Change, ChangeRecord
from ubr.verifier.tokens import Claims

_HORIZON: Final = HORIZON.total_seconds()
_MAX_ROWS: Final = 200_000
_PAST: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What ubr answered: rows in the order of their numbers, and where the feed stood."""

    epoch: str
    number: int
    rows: tuple[ChangeRecord, ...]
    fresh_for: float
    """Seconds from the moment at which the question was sent."""


class RevocationCache:
    """Rows are only ever added. What it cannot know of, it objects to: a client that refreshes has lost nothing.

    A row about a role names it by its id, and a token by the name it had. There is no telling whether they are one, as
    a role can be renamed and deleted, so a row about any role counts for all tokens: roles change rarely.
    """

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.number = 0
        self._base: int | None = None
        """Every row above this number is known."""
        self._began: float | None = None
        self._fresh_for = 0.0
        self._known: OrderedDict[Change, tuple[int, float]] = OrderedDict()
        self._roles = 0
        self._past: deque[str] = deque(maxlen=_PAST)
        self._not_before: datetime | None = None

    def fresh(self, now: float) -> bool:
        return self._began is not None and self._began >= now - self._fresh_for

    def asked_since(self, moment: float) -> bool:
        """Whether what is known was asked for at this moment or later."""
        return self._began is not None and self._began >= moment

    def apply(self, sent: float, told: Told) -> bool:
        """Know what was told in answer to a question sent at a moment, and rely on it from that moment on.

        Whether all of it follows on what was known: else rows may have been missed.
        """
        if told.epoch != self.epoch:
            raise ValueError("Of another epoch")
        whole = told.number
        for row in reversed(told.rows):
            if row.number != whole:
                break
            whole -= 1
        follows = self._base is not None and whole <= self.number
        if not follows:
            self._base = whole
        for row in told.rows:
            self._add(row, sent)
        self.number = max(self.number, told.number)
        self._forget(sent)
        self._began, self._fresh_for = sent, told.fresh_for
        return follows

    def begin_anew(self, epoch: str | None, at: datetime | None = None) -> None:
        """Forget everything, in a new epoch or one to be asked for.

        Where the feed has gone back without a new name, by which tokens of before could be told, those are refused
        that were issued up to a moment of this machine's clock.
        """
        if self.epoch is not None and self.epoch != epoch and at is None:
            self._past.append(self.epoch)
        self.epoch, self.number, self._base, self._began = epoch, 0, None, None
        self._known.clear()
        self._roles = 0
        self._not_before = at or self._not_before

    def has_left(self, epoch: str) -> bool:
        return epoch in self._past

    def objection(self, claims: Claims) -> str | None:
        """What speaks against a token; None for nothing."""
        token, version = claims.token, claims.version
        if claims.epoch != self.epoch or self._base is None:
            return "It is of another epoch of the feed"
        if self._not_before is not None and token.issued_at <= self._not_before:
            return "It is from before the feed went back"
        if version < self._base:
            return "It is older than what is known of the feed"
        for change in (Change("session", str(token.session_id)), Change("user", str(token.user_id))):
            if self._known.get(change, (0, 0.0))[0] > version:
                return f"Its {change.kind} has ended or changed since"
        if self._roles > version:
            return "A role has changed since"
        return None

    def _add(self, row: ChangeRecord, at: float) -> None:
        if row.change.kind == "role":
            self._roles = max(self._roles, row.number)
            return
        number, _ = self._known.pop(row.change, (0, 0.0))
        self._known[row.change] = (max(number, row.number), at)

    def _forget(self, now: float) -> None:
        """Whatever is forgotten, tokens of before it are not known to be good any more."""
        while self._known:
            change, (number, at) = next(iter(self._known.items()))
            if now - at <= _HORIZON and len(self._known) <= _MAX_ROWS:
                return
            del self._known[change]
            self._base = max(self._base or 0, number)
