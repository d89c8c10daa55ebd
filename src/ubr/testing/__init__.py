"""For those who build on ubr: the whole of it in memory, with a clock that moves when told to.

    from ubr.testing import in_memory

    async def test_something():
        async with in_memory() as (ubr, clock):
            user = await ubr.register_user(…, actor=SYSTEM)

With pytest the fixtures `ubr`, `ubr_clock` and `ubr_admin` come along by themselves.
"""

from ubr.testing.memory import TINY_HASHING, MovableClock, delivered, in_memory, log_in

__all__ = ["TINY_HASHING", "MovableClock", "delivered", "in_memory", "log_in"]
