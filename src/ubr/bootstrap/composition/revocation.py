"""Builds the use cases for verifiers, which follow revocations."""

from __future__ import annotations

from ubr.application.app import RevocationUseCases
from ubr.application.revocation.follow_revocations import FollowRevocations
from ubr.application.revocation.stop_following_revocations import StopFollowingRevocations
from ubr.bootstrap.ports import Ports
from ubr.bootstrap.services import Services


def revocation_use_cases(ports: Ports, services: Services) -> RevocationUseCases:
    return RevocationUseCases(
        follow_revocations=FollowRevocations(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            rate_limiter=services.rate_limiter,
            policy=ports.decisions.policy,
            session_cache=services.session_cache,
            feed=ports.background_feed,
            notifier=ports.notifier,
            elapsed=ports.elapsed,
            denials=services.denials,
        ),
        stop_following_revocations=StopFollowingRevocations(
            authorize=services.authorize, feed=ports.background_feed, denials=services.denials
        ),
    )
