"""Redis, for what may be lost: counting tries, and telling other workers sooner what they would find in SQL.

No decision rests on it. Whatever it does, or does not do, ends in an answer within a tenth of a second or in
`StoreUnavailable`, and what it says is believed only where it carries a tag made here.
"""

from ubr.adapters.redis.change_notifier import RedisChangeNotifier
from ubr.adapters.redis.client import RedisClient
from ubr.adapters.redis.envelope import Envelope
from ubr.adapters.redis.rate_limit_store import RedisRateLimitStore

__all__ = ["Envelope", "RedisChangeNotifier", "RedisClient", "RedisRateLimitStore"]
