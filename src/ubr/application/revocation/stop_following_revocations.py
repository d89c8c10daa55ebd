from __future__ import annotations

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.revocation import ChangeFeed
from ubr.application.revocation.follow_revocations import VerifierId, lease_of
from ubr.domain.actor import Actor, System
from ubr.domain.roles.permissions import REVOCATIONS_READ


class StopFollowingRevocationsCommand(Command, frozen=True, kw_only=True):
    verifier: VerifierId


class StopFollowingRevocations(msgspec.Struct, frozen=True):
    """Unregister a verifier that accepts no more tokens: revocations stop waiting for it. Requires `revocations:read`.

    - The id must not be reused: a verifier that starts again generates a new one.
    - An unknown verifier is not an error.
    """

    authorize: Authorize
    feed: ChangeFeed
    denials: DenialLog

    @denials_recorded
    async def __call__(self, command: StopFollowingRevocationsCommand, /, *, actor: Actor | System) -> None:
        who = await self.authorize(actor)
        who.require(REVOCATIONS_READ)
        await self.feed.leave(lease_of(who, command.verifier))
