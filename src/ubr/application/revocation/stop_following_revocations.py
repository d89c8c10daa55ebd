from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.revocation import ChangeFeed
from ubr.application.revocation.follow_revocations import lease_of
from ubr.domain.actor import Actor, System
from ubr.domain.roles.permissions import REVOCATIONS_READ


class StopFollowingRevocationsCommand(Command, frozen=True, kw_only=True):
    verifier: UUID


@dataclass(frozen=True, slots=True)
class StopFollowingRevocations:
    """A verifier accepts nothing any more and need not be waited for. Needs `revocations:read`.

    - Its id is not used again: who begins anew makes up another.
    - One that is not known has left already.
    """

    authorize: Authorize
    feed: ChangeFeed
    denials: DenialLog

    @denials_recorded
    async def __call__(self, command: StopFollowingRevocationsCommand, /, *, actor: Actor | System) -> None:
        who = await self.authorize(actor)
        who.require(REVOCATIONS_READ)
        await self.feed.leave(lease_of(who, command.verifier))
