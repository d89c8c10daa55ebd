from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from ubr.application.known_keys import KnownKeys
from ubr.application.ports.security import AccessTokens
from ubr.application.ports.system import Clock
from ubr.domain.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class GetPublicKeys:
    """The public keys that access tokens are verified with (RFC 7517), newest first, as JSON texts.

    - A new key is among them before it signs, an old one for as long as one of its tokens can be good.
    """

    access_tokens: AccessTokens
    keys: KnownKeys
    clock: Clock

    async def __call__(self) -> tuple[str, ...]:
        with suppress(StoreUnavailable):  # what others may keep for minutes need not be newer than what is known here
            await self.keys.recent()
        return self.access_tokens.public_keys(self.clock())
