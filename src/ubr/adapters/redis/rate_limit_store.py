"""Rate limit counters in Redis."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Final, Literal

from ubr.adapters.redis.client import RedisClient, Script
from ubr.application.ports.protection import Decision, Quota
from ubr.application.ports.secrets import Signer
from ubr.domain.errors import StoreUnavailable

PURPOSE: Final = "redis counter"

_COMPLAIN_EVERY: Final = 60.0
_MICROSECOND: Final = timedelta(microseconds=1)

_log = logging.getLogger("ubr.redis")

_SCRIPT: Final = Script("""\
-- One counter, by the generic cell rate algorithm: stores only the time at which the quota is full again.
-- KEYS: the counter. ARGV: the time to refill one attempt, the limit, 'take', 'look' or 'give'.
-- Times are in microseconds.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local span = interval * limit

local full_at = now
local kept = redis.pcall('GET', KEYS[1])
if type(kept) == 'string' and #kept <= 16 and string.find(kept, '^%d+$') then
  -- Never later than for an empty quota: a clock that was set back, or a smaller quota, must not lock out for long.
  full_at = math.min(math.max(tonumber(kept), now), now + span)
elseif kept then
  -- A foreign value. It stays, because a deletion would grant its writer a new counter each time, but it expires.
  if redis.call('PTTL', KEYS[1]) == -1 then
    redis.call('PEXPIRE', KEYS[1], math.ceil(span / 1000))
  end
  return false
end

if ARGV[3] == 'look' then
  local remaining = math.floor((now + span - full_at) / interval)
  return {remaining > 0 and 1 or 0, remaining, math.max(0, full_at + interval - span - now)}
end

local allowed = 0
if ARGV[3] == 'give' then
  full_at = math.max(full_at - interval, now)
elseif full_at + interval <= now + span then
  full_at, allowed = full_at + interval, 1
end

if full_at > now then
  redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
elseif kept then
  redis.call('DEL', KEYS[1])
end
return {allowed, math.floor((now + span - full_at) / interval), math.max(0, full_at + interval - span - now)}
""")


class RedisRateLimitStore:
    """Each step is one script, so concurrent callers never see the same state, and the time is the server's.

    - Names are not sent to Redis: a key is derived from the name's HMAC. Keys expire once the quota is full again.
    - A value is not secret and has no tag: a script cannot make one. For a foreign value every method raises
      `StoreUnavailable`, and the caller counts elsewhere while the value is there. If it counted as a new counter, a
      writer to Redis could lift the limit; if it counted as an empty quota, they could lock users out.
    - If Redis loses a counter, it starts again. So no limit that guards a password may depend on Redis alone.
    """

    def __init__(self, link: RedisClient, signer: Signer) -> None:
        self._link = link
        self._signer = signer
        self._last_complaint = float("-inf")

    async def take(self, name: str, quota: Quota) -> Decision:
        return await self._decision("take", name, quota)

    async def look(self, name: str, quota: Quota) -> Decision:
        return await self._decision("look", name, quota)

    async def give_back(self, name: str, quota: Quota) -> None:
        await self._step("give", name, quota)

    async def forget(self, limit: int) -> int:  # noqa: ARG002
        return 0

    async def _decision(self, what: Literal["take", "look"], name: str, quota: Quota) -> Decision:
        allowed, remaining, retry_after = await self._step(what, name, quota)
        return Decision(allowed=allowed == 1, remaining=remaining, retry_after=timedelta(microseconds=retry_after))

    async def _step(self, what: Literal["take", "look", "give"], name: str, quota: Quota) -> tuple[int, int, int]:
        # Rounded up: at a third of a second, a microsecond more or less must not allow one more attempt.
        interval = -(-(quota.per // _MICROSECOND) // quota.limit)
        reply = await self._link.run(_SCRIPT, [self._key(name)], [interval, quota.limit, what])
        match reply:
            case [int(allowed), int(remaining), int(retry_after)]:
                return allowed, remaining, retry_after
            case None:
                self._complain()
                raise StoreUnavailable("A counter in Redis was overwritten")
            case _:
                raise StoreUnavailable("Redis is unreachable")

    def _complain(self) -> None:
        now = time.monotonic()
        if now - self._last_complaint >= _COMPLAIN_EVERY:
            self._last_complaint = now
            _log.warning("A counter in Redis was overwritten; its quota is counted without Redis")

    def _key(self, name: str) -> str:
        return self._link.key("counter", self._signer.sign(PURPOSE, name.encode("utf-8", "surrogatepass")).hex())
