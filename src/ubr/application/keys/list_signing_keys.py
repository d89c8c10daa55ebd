from __future__ import annotations

import msgspec

from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.representations import SigningKeyResult, signing_key_result
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import System
from ubr.domain.errors import Forbidden


class ListSigningKeys(msgspec.Struct, frozen=True):
    """List every current and former signing key with its state, newest first: public halves only.

    - Only the service itself may.
    """

    unit_of_work: UnitOfWork
    denials: DenialLog

    @denials_recorded
    async def __call__(self, *, actor: System) -> list[SigningKeyResult]:
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may list signing keys")
        async with self.unit_of_work.read() as tx:
            return [signing_key_result(key, tx.now) for key in await tx.signing_keys.all()]
