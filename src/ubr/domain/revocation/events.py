"""Events about verifiers."""

from __future__ import annotations

from uuid import UUID

from ubr.domain.event_kinds import Event, Facts, Target
from ubr.domain.ids import UserId


class VerifierRegistered(Event, frozen=True, kw_only=True):
    """Describes a verifier that revocations wait for from now on."""

    action = "verifier.registered"
    message = "A verifier was registered"
    user_id: UserId
    verifier_id: UUID

    @property
    def target(self) -> Target:
        return Target("user", str(self.user_id))

    def data(self) -> Facts:
        return {"verifier_id": str(self.verifier_id)}
