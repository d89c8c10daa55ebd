"""Keys that sign access tokens: when each signs, is published and is accepted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final

JWKS_CACHE: Final = timedelta(minutes=5)
"""How long others may keep the public keys before they ask again."""

LEEWAY: Final = timedelta(seconds=30)
"""How far the clocks of an installation may differ."""

MAX_ACCESS_TOKEN_LIFETIME: Final = timedelta(minutes=15)
"""The most that an operator may set. What is set can be raised while a key retires, so it does not count here."""

NOTICE: Final = JWKS_CACHE + LEEWAY
"""How long a new key is published before it signs: nobody can still hold a list without it."""

OVERLAP: Final = MAX_ACCESS_TOKEN_LIFETIME + LEEWAY
"""How long a key is accepted after it signed for the last time: as long as its last token can be good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key and its times. `private` is sealed; `public` is the text of its JWK (RFC 7517).

    It signs from `signs_from` on. `retired_at` is known once there is a key that follows it: `OVERLAP` earlier that
    one begins to sign, and from then on this one is neither published nor accepted. One that was revoked is nothing
    any more from `revoked_at` on.
    """

    kid: str
    algorithm: str
    public: str
    private: bytes = field(repr=False)
    created_at: datetime
    signs_from: datetime
    retired_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def revoked(self) -> bool:
        return self.revoked_at is not None

    def accepted_at(self, now: datetime) -> bool:
        """Whether its tokens are good. For as long it is published: it is from the day it was made."""
        return not self.revoked and (self.retired_at is None or now < self.retired_at)

    def followed_at(self, now: datetime) -> bool:
        """Whether another key signs in its place by then."""
        return self.retired_at is not None and now >= self.retired_at - OVERLAP

    def signs_at(self, now: datetime) -> bool:
        return self.signs_from <= now and self.may_sign_at(now)

    def may_sign_at(self, now: datetime) -> bool:
        """Whether it signs by then, or will."""
        return not self.revoked and not self.followed_at(now)

    def state_at(self, now: datetime) -> str:
        """In one word, for people."""
        if self.revoked:
            return "revoked"
        if not self.accepted_at(now):
            return "retired"
        if self.followed_at(now):
            return "retiring"
        return "signing" if self.signs_from <= now else "published"


def newest_first(keys: Iterable[SigningKey]) -> list[SigningKey]:
    return sorted(keys, key=lambda key: (key.created_at, key.kid), reverse=True)


def signer(keys: Iterable[SigningKey], now: datetime) -> SigningKey | None:
    """The key that signs: of those that have begun the last one. None where none can.

    Where none has begun yet it is the first that will: a clock that was set back is no reason to sign nothing.
    """
    able = sorted((key for key in keys if key.may_sign_at(now)), key=_order)
    begun = [key for key in able if key.signs_from <= now]
    return begun[-1] if begun else next(iter(able), None)


def scheduled(keys: Iterable[SigningKey], now: datetime) -> list[SigningKey]:
    """Those keys whose end is another one than is written in them, with the right one.

    Each that signs or will sign ends when the next one has followed it. The others have had their time.
    """
    able = sorted((key for key in keys if key.may_sign_at(now)), key=_order)
    ends = ((key, following and following.signs_from + OVERLAP) for key, following in zip_longest(able, able[1:]))
    return [replace(key, retired_at=end) for key, end in ends if key.retired_at != end]


def _order(key: SigningKey) -> tuple[datetime, datetime, str]:
    return key.signs_from, key.created_at, key.kid
