"""Redis, if one is configured."""

from __future__ import annotations

from typing import Final

from ubr.domain.errors import StoreUnavailable
from ubr.entrypoints.cli.doctor.addresses import host_of, is_this_machine
from ubr.entrypoints.cli.doctor.limits import is_resolved
from ubr.entrypoints.cli.starting import CLUSTER
from ubr.entrypoints.findings import Finding, error, ok, or_ok, warning
from ubr.settings import Settings

_KEEPS: Final = "noeviction"


async def check_redis(settings: Settings) -> list[Finding]:
    url = settings.redis_url
    if url is None:
        return [ok("redis", "None is set: the workers use the database instead, and revocations take a little longer.")]
    host = host_of(url)
    if not await is_resolved(host):
        return [error("redis", "The host name of Redis is not resolved in time: check the name servers.")]
    from ubr.adapters.redis.diagnosis import examine_redis  # noqa: PLC0415 - loaded only if a Redis is configured

    try:
        facts = await examine_redis(url)
    except StoreUnavailable as unavailable:
        return [error("redis", f"{unavailable.detail}. Check UBR_REDIS_URL.")]
    found = []
    if facts.cluster:
        found.append(error("redis", CLUSTER))
    elif not facts.primary:
        found.append(
            error("redis", "The Redis is a replica, which accepts no writes: name its primary in UBR_REDIS_URL.")
        )
    elif facts.refused:
        found.append(
            error(
                "redis",
                f"Redis refuses commands of ubr: {', '.join(facts.refused)}. Allow its user the commands and the keys "
                "and channels that begin with ubr:, and check its memory and disk.",
            )
        )
    if facts.max_memory and facts.policy not in {"", _KEEPS}:
        found.append(
            warning(
                "redis",
                f"Redis evicts counters of rate limits when its memory is full (maxmemory-policy is {facts.policy}), "
                f"and clients then have more attempts: set it to {_KEEPS}.",
            )
        )
    if url.startswith("redis://") and not is_this_machine(host):
        found.append(
            warning("redis", f"The connection to {host} is not encrypted: use a rediss:// URL, if Redis offers TLS.")
        )
    if not facts.version:
        return or_ok(found, "redis", "It accepts the commands of ubr. Its user may not run INFO, which tells more.")
    return or_ok(found, "redis", f"Version {facts.version} is a primary, and accepts the commands of ubr.")
