from __future__ import annotations

import msgspec

from ubr.application.keys.key_ring import KeyRing
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.system import Clock
from ubr.domain.errors import StoreUnavailable
from ubr.domain.keys.signing_key import JWKS_CACHE


class GetPublicKeys(msgspec.Struct, frozen=True):
    """List the public keys that verify access tokens (RFC 7517), newest first.

    - Includes a new key before it signs, and an old key for as long as one of its tokens can be valid.
    - If the store is unreachable, the answer has the keys of a few minutes ago: clients may cache them for as long.
    - A request with `Cache-Control: no-cache` never gets such earlier keys.

    Errors: `StoreUnavailable` if the keys would be older than that, or if `current` keys are requested.
    """

    access_tokens: AccessTokens
    keys: KeyRing
    clock: Clock

    async def __call__(self, *, current: bool = False) -> tuple[str, ...]:
        """Each key as a JSON text."""
        try:
            await self.keys.ensure_recent()
        except StoreUnavailable:
            if current or not self.keys.read_within(JWKS_CACHE):
                raise
        return self.access_tokens.public_keys(self.clock())
