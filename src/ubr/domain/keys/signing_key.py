"""Keys that sign access tokens, and the times at which each signs, is published and is accepted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final

from msgspec.structs import replace

from ubr.domain.concealed import Concealed

JWKS_CACHE: Final = timedelta(minutes=5)
"""How long others may cache the public keys."""

LEEWAY: Final = timedelta(seconds=30)
"""Maximum difference between the clocks of an installation."""

MAX_ACCESS_TOKEN_LIFETIME: Final = timedelta(minutes=15)
"""Upper limit of the operator's setting. The setting can be raised while a key retires, so its value is not used
here."""

NOTICE: Final = JWKS_CACHE + LEEWAY
"""How long a new key is published before it signs. After that, every cached key list has it."""

OVERLAP: Final = MAX_ACCESS_TOKEN_LIFETIME + LEEWAY
"""How long a key is accepted after its last signature: as long as its last token can be valid."""


class SigningKey(Concealed, frozen=True, kw_only=True):
    """A key and its times. `private` is encrypted; `public` is the text of its JWK (RFC 7517).

    It signs from `signs_from` on. `retired_at` is set once a successor exists: the successor begins to sign `OVERLAP`
    earlier, and from `retired_at` on this key is neither published nor accepted. A revoked key is neither from
    `revoked_at` on.
    """

    kid: str
    algorithm: str
    public: str
    private: bytes
    created_at: datetime
    signs_from: datetime
    retired_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def revoked(self) -> bool:
        return self.revoked_at is not None

    def accepted_at(self, now: datetime) -> bool:
        """True if its tokens are accepted. It is published for the same time, from its creation on."""
        return not self.revoked and (self.retired_at is None or now < self.retired_at)

    def followed_at(self, now: datetime) -> bool:
        """True if another key signs at that time."""
        return self.retired_at is not None and now >= self.retired_at - OVERLAP

    def signs_at(self, now: datetime) -> bool:
        return self.signs_from <= now and self.may_sign_at(now)

    def may_sign_at(self, now: datetime) -> bool:
        """True if it signs at that time, or will."""
        return not self.revoked and not self.followed_at(now)

    def state_at(self, now: datetime) -> str:
        """The state in one word, for people."""
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
    """The key that signs: the last of those that have begun. None if there is none.

    If none has begun yet, it is the first that will: signing continues after a clock was set back.
    """
    able = sorted((key for key in keys if key.may_sign_at(now)), key=_order)
    begun = [key for key in able if key.signs_from <= now]
    return begun[-1] if begun else next(iter(able), None)


def scheduled(keys: Iterable[SigningKey], now: datetime) -> list[SigningKey]:
    """The keys whose stored end is wrong, with the correct one.

    Each key that signs or will sign ends `OVERLAP` after its successor begins. The other keys have already ended.
    """
    able = sorted((key for key in keys if key.may_sign_at(now)), key=_order)
    ends = ((key, following and following.signs_from + OVERLAP) for key, following in zip_longest(able, able[1:]))
    return [replace(key, retired_at=end) for key, end in ends if key.retired_at != end]


def _order(key: SigningKey) -> tuple[datetime, datetime, str]:
    return key.signs_from, key.created_at, key.kid
