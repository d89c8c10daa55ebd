from __future__ import annotations

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.audit.sequencer import Sequencer, current_checkpoint
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.representations import CheckpointResult, checkpoint_result
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.roles.permissions import LOGS_READ


class GetCheckpoint(msgspec.Struct, frozen=True):
    """Read the newest checkpoint of the audit log: its size and the signed root of its tree.

    - Requires `logs:read`.
    - Covers every action that was answered before this request.
    - Saved outside the database, it later reveals that the log was truncated, rolled back or forked.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    sequencer: Sequencer
    denials: DenialLog

    @denials_recorded
    async def __call__(self, *, actor: Actor | System) -> CheckpointResult:
        """Errors: `LogDamaged` if the log does not match its signatures."""
        (await self.authorize(actor)).require(LOGS_READ)
        await self.sequencer(wait=True)
        async with self.unit_of_work.read() as tx:
            return checkpoint_result(await current_checkpoint(tx))
