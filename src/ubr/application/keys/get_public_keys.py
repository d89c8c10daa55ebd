from __future__ import annotations

from dataclasses import dataclass

from ubr.application.keys.key_ring import KeyRing
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.system import Clock
from ubr.domain.errors import StoreUnavailable
from ubr.domain.keys.signing_key import JWKS_CACHE


@dataclass(frozen=True, slots=True)
class GetPublicKeys:
    """The public keys that access tokens are verified with (RFC 7517), newest first.

    - A new key is among them before it signs, an old one for as long as one of its tokens can be good.
    - Where the store is out of reach they are those of a few minutes ago: others may keep them for as long.
    - Whoever asks with `Cache-Control: no-cache` gets none of before.

    Errors: `StoreUnavailable` where they would be older than that, or where `current` ones are asked for.
    """

    access_tokens: AccessTokens
    keys: KeyRing
    clock: Clock

    async def __call__(self, *, current: bool = False) -> tuple[str, ...]:
        """Each key as a JSON text."""
        try:
            await self.keys.recent()
        except StoreUnavailable:
            if current or not self.keys.read_within(JWKS_CACHE):
                raise
        return self.access_tokens.public_keys(self.clock())
