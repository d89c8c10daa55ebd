"""Redis, for data that may be lost: rate limit counters, and the fast path for change records.

No decision depends on it. Every call ends within a tenth of a second, in a reply or in `StoreUnavailable`. Data from
Redis is trusted only with a tag made by this installation.
"""

from ubr.adapters.redis.change_notifier import RedisChangeNotifier
from ubr.adapters.redis.client import RedisClient
from ubr.adapters.redis.envelope import Envelope
from ubr.adapters.redis.rate_limit_store import RedisRateLimitStore

__all__ = ["Envelope", "RedisChangeNotifier", "RedisClient", "RedisRateLimitStore"]
