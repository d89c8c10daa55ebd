"""The revocations known to a verifier, and how long it may rely on them."""

from __future__ import annotations

from collections import OrderedDict, deque
from datetime import datetime
from typing import Final

import msgspec

from ubr.domain.keys.access_token import HORIZON
from ubr.domain.revocation.changes import Change, ChangeRecord
from ubr.verifier.tokens import Claims

_HORIZON: Final = HORIZON.total_seconds()
_MAX_ROWS: Final = 200_000
_PAST: Final = 16


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A response of ubr: change records in order of their numbers, and the position of the feed."""

    epoch: str
    number: int
    rows: tuple[ChangeRecord, ...]
    fresh_for: float
    """Seconds from the moment at which the request was sent."""


class RevocationCache:
    """Change records are only ever added. The cache objects to tokens it cannot judge: a client that refreshes loses
    nothing.

    A change record names a role by its id, and a token by the name it had. The two cannot be matched, as a role can be
    renamed and deleted, so a change of any role affects all tokens: roles change rarely.
    """

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.number = 0
        self._base: int | None = None
        """Every change record above this number is known."""
        self._began: float | None = None
        self._fresh_for = 0.0
        self._known: OrderedDict[Change, tuple[int, float]] = OrderedDict()
        self._roles = 0
        self._past: deque[str] = deque(maxlen=_PAST)
        self._not_before: datetime | None = None

    def fresh(self, now: float) -> bool:
        return self._began is not None and self._began >= now - self._fresh_for

    def asked_since(self, moment: float) -> bool:
        """True if the known state was requested at this moment or later."""
        return self._began is not None and self._began >= moment

    def apply(self, sent: float, told: Told) -> bool:
        """Apply the response to a request that was sent at `sent`, and rely on it from that moment on.

        Returns True if the response continues the known state; otherwise change records may have been missed.
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
        """Forget everything, and follow a new epoch; with None, the epoch of the next response.

        With `at`: the feed has gone back without a new epoch that would identify older tokens, so tokens issued up to
        that moment of this machine's clock are rejected.
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
        """The objection to a token; None if there is none."""
        token, version = claims.token, claims.version
        if claims.epoch != self.epoch or self._base is None:
            return "It belongs to another epoch of the feed"
        if self._not_before is not None and token.issued_at <= self._not_before:
            return "It is from before the feed went back"
        if version < self._base:
            return "It is older than the known records of the feed"
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
        """Forget old changes. Tokens older than a forgotten change are no longer known to be valid."""
        while self._known:
            change, (number, at) = next(iter(self._known.items()))
            if now - at <= _HORIZON and len(self._known) <= _MAX_ROWS:
                return
            del self._known[change]
            self._base = max(self._base or 0, number)
