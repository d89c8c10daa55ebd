"""Signing keys, on drafts of the tables."""

from __future__ import annotations

from collections.abc import Sequence

from ubr.adapters.memory.store import Drafts
from ubr.application.ports.keys import KeyDates
from ubr.domain.keys.signing_key import SigningKey, newest_first


class MemorySigningKeys:
    def __init__(self, drafts: Drafts) -> None:
        self._keys = drafts.signing_keys

    async def all(self) -> Sequence[SigningKey]:
        return newest_first(self._keys)

    async def dates(self) -> Sequence[KeyDates]:
        return [KeyDates(key.kid, key.created_at, key.revoked_at) for key in await self.all()]

    async def all_to_change(self) -> Sequence[SigningKey]:
        """There is only one writer, so no lock is needed."""
        return await self.all()

    async def add(self, key: SigningKey) -> None:
        self._keys.put(key.kid, key)

    async def save(self, key: SigningKey) -> None:
        if self._keys.get(key.kid) is not None:
            self._keys.put(key.kid, key)
