"""Redis, for data that may be lost: rate limit counters, and the fast path for change records.

No decision depends on it. Every call ends within a tenth of a second, in a reply or in `StoreUnavailable`. Data from
Redis is trusted only with a tag made by this installation.
"""

from ubr.extras import require

require("redis")

from ubr.adapters.redis.change_notifier import RedisChangeNotifier  # noqa: E402
from ubr.adapters.redis.client import RedisClient  # noqa: E402
from ubr.adapters.redis.envelope import Envelope  # noqa: E402
from ubr.adapters.redis.rate_limit_store import RedisRateLimitStore  # noqa: E402

__all__ = ["Envelope", "RedisChangeNotifier", "RedisClient", "RedisRateLimitStore"]
