"""The header fields that report the rate limits of a client IP (draft-ietf-httpapi-ratelimit-headers-11)."""

from __future__ import annotations

from collections.abc import Collection

from ubr.application.protection.rate_limits import RateLimitStatus, whole_seconds


def rate_limit_fields(rate_limits: Collection[RateLimitStatus]) -> list[tuple[bytes, bytes]]:
    """The policies, and what is left of each; no field if nothing was counted."""
    if not rate_limits:
        return []
    policies, left = [], []
    for each in rate_limits:
        policies.append(f'"{each.policy}";q={each.quota.limit};w={whole_seconds(each.quota.per)}')
        left.append(f'"{each.policy}";r={each.remaining};t={each.seconds}')
    return [(b"ratelimit-policy", ", ".join(policies).encode()), (b"ratelimit", ", ".join(left).encode())]
