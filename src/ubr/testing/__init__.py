"""For programs that build on ubr: all of it in memory, with a clock that moves only on request.

    from ubr.testing import in_memory

    async def test_something():
        async with in_memory() as (ubr, clock):
            user = await ubr.register_user(…, actor=SYSTEM)

With pytest, the fixtures `ubr`, `ubr_clock` and `ubr_admin` are available without an import, with every plugin for
asynchronous tests.
"""

from ubr.testing.memory import TINY_HASHING, MovableClock, delivered, in_memory, log_in

__all__ = ["TINY_HASHING", "MovableClock", "delivered", "in_memory", "log_in"]
