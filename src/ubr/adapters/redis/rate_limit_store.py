"""Counting tries in Redis."""

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
-- One counter, by the generic cell rate algorithm: all that is kept is when the quota will be full again.
-- KEYS: the counter. ARGV: the time in which one try comes back, how many there are, 'take' or 'give'. Microseconds.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local span = interval * limit

local full_at = now
local kept = redis.pcall('GET', KEYS[1])
if type(kept) == 'string' and #kept <= 16 and string.find(kept, '^%d+$') then
  -- Never later than with nothing left: a clock that was set back, or a smaller quota, shuts nobody out for long.
  full_at = math.min(math.max(tonumber(kept), now), now + span)
elseif kept then
  -- Not ours. It stays, or whoever writes it would get a new counter each time, and for no longer than a counter would.
  if redis.call('PTTL', KEYS[1]) == -1 then
    redis.call('PEXPIRE', KEYS[1], math.ceil(span / 1000))
  end
  return false
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
    """Each step is one script, so no two takers ever see the same state, and the time is the server's.

    - Names do not get into Redis: a key is made of the name's HMAC. Keys expire once the quota is full again.
    - A value is no secret and carries no tag: a script cannot make one. Something foreign in its place means that this
      name cannot be counted here: `StoreUnavailable`, so it is counted elsewhere as long as that stands there. Taken
      for a new counter it would open the gate to whoever can write there, and taken for an empty one shut it.
    - Where Redis loses a counter, it begins anew. So nothing may be counted here alone that guards a password.
    """

    def __init__(self, link: RedisClient, signer: Signer) -> None:
        self._link = link
        self._signer = signer
        self._last_complaint = float("-inf")

    async def take(self, name: str, quota: Quota) -> Decision:
        allowed, remaining, retry_after = await self._step("take", name, quota)
        return Decision(allowed=allowed == 1, remaining=remaining, retry_after=timedelta(microseconds=retry_after))

    async def give_back(self, name: str, quota: Quota) -> None:
        await self._step("give", name, quota)

    async def forget(self, limit: int) -> int:  # noqa: ARG002
        return 0

    async def _step(self, what: Literal["take", "give"], name: str, quota: Quota) -> tuple[int, int, int]:
        # Rounded up: of a third of a second a microsecond more or less must not make one try more.
        interval = -(-(quota.per // _MICROSECOND) // quota.limit)
        reply = await self._link.run(_SCRIPT, [self._key(name)], [interval, quota.limit, what])
        match reply:
            case [int(allowed), int(remaining), int(retry_after)]:
                return allowed, remaining, retry_after
            case None:
                self._complain()
                raise StoreUnavailable("A counter in Redis is not one of ours")
            case _:
                raise StoreUnavailable("Redis is out of reach")

    def _complain(self) -> None:
        now = time.monotonic()
        if now - self._last_complaint >= _COMPLAIN_EVERY:
            self._last_complaint = now
            _log.warning("Something else has written to a counter in Redis; what it counts is counted without Redis")

    def _key(self, name: str) -> str:
        return self._link.key("counter", self._signer.sign(PURPOSE, name.encode("utf-8", "surrogatepass")).hex())
