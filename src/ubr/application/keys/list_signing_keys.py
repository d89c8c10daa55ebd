from __future__ import annotations

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.representations import SigningKeyResult, signing_key_result
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.roles.permissions import EVERYTHING


class ListSigningKeys(msgspec.Struct, frozen=True):
    """List every current and former signing key with its state, newest first: public halves only.

    - Requires `*`.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    denials: DenialLog

    @denials_recorded
    async def __call__(self, *, actor: Actor | System) -> list[SigningKeyResult]:
        (await self.authorize(actor)).require(EVERYTHING)
        async with self.unit_of_work.read() as tx:
            return [signing_key_result(key, tx.now) for key in await tx.signing_keys.all()]
