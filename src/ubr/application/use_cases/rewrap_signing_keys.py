from __future__ import annotations

from dataclasses import dataclass

from ubr.application.actor import System
from ubr.application.command import Result
from ubr.application.ports.security import AccessTokens
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.repeating import repeatable
from ubr.domain.errors import Forbidden, SigningKeyLocked
from ubr.domain.events import SigningKeyRewrapped


class RewrapResult(Result, frozen=True, kw_only=True):
    """Of how many keys how many had to be sealed anew."""

    keys: int
    rewrapped: int


@dataclass(frozen=True, slots=True)
class RewrapSigningKeys:
    """Seal every private key with the newest secret. After it the other secrets open nothing that is still needed.

    - Only the service itself may.
    - A key that is of no use any more and that no secret opens is left as it is.
    - A second time does nothing.
    """

    unit_of_work: UnitOfWork
    access_tokens: AccessTokens

    @repeatable
    async def __call__(self, *, actor: System) -> RewrapResult:
        """Errors: `SigningKeyLocked` where no secret opens a key whose tokens may be good; nothing is changed then."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may seal signing keys anew")
        rewrapped = 0
        async with self.unit_of_work.begin(actor) as tx:
            keys = await tx.signing_keys.all_to_change()
            for key in keys:
                try:
                    sealed = self.access_tokens.reseal(key)
                except SigningKeyLocked:
                    if key.accepted_at(tx.now):
                        raise
                    continue
                if sealed.private != key.private:
                    await tx.signing_keys.save(sealed)
                    tx.record(SigningKeyRewrapped(kid=key.kid))
                    rewrapped += 1
            await tx.commit()
        return RewrapResult(keys=len(keys), rewrapped=rewrapped)
