"""What the guard costs a login: logins per second with and without the limits, against Argon2 alone in the same run.

Run it as `python bench/guard_cost.py DATABASE_URL [REDIS_URL]` on a PostgreSQL database of its own. The three are
measured in turn, round after round, so that whatever else the machine does slows all of them alike. Where it does much,
the processor time of this process says more: hashing stands back for whoever else wants to work.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

from ubr import Application, LogInCommand, RegisterUserCommand, Settings, connect
from ubr.application.kernel.origin import Origin, calling_from
from ubr.domain.errors import EmailTaken
from ubr.settings import Limit, LoginRateLimit

PASSWORD: Final = "correct horse battery staple"
PEOPLE: Final = 20
ROUNDS: Final = 6
AT_ONCE: Final = 8
MINUTE: Final = timedelta(minutes=1)
LIMITS: Final = LoginRateLimit(Limit(10, MINUTE), Limit(100, MINUTE))


async def rate(act: Callable[[int], Awaitable[object]]) -> tuple[float, float]:
    """How many of these are done in a second, so many at once, and in a second of processor time."""
    numbers = iter(range(PEOPLE))

    async def some() -> None:
        for number in numbers:
            await act(number)

    began, worked = time.perf_counter(), time.process_time()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return PEOPLE / (time.perf_counter() - began), PEOPLE / (time.process_time() - worked)


def log_in(ubr: Application) -> Callable[[int], Awaitable[object]]:
    async def act(number: int) -> None:
        with calling_from(Origin(ip=f"192.0.2.{number}")):
            await ubr.log_in(LogInCommand(email=f"user{number}@example.org", password=PASSWORD))

    return act


async def main(database_url: str, redis_url: str | None = None) -> None:
    async with AsyncExitStack() as stack:
        both = []
        for limits in (LIMITS, LoginRateLimit(None, None)):
            settings = Settings.memory(
                database_url=database_url,
                redis_url=redis_url,
                migrate="auto",
                login_rate_limit=limits,
                secret_keys=(b"a secret that is long enough to measure with",),
                sessions_per_user=5,
            )
            both.append(await stack.enter_async_context(connect(settings)))
        guarded, free = both
        for number in range(PEOPLE):
            command = RegisterUserCommand(email=f"user{number}@example.org", password=PASSWORD)
            try:
                await free.register_user(command)
            except EmailTaken:
                break
        hasher = free.log_in.hasher
        stored = await hasher.hash(PASSWORD)
        sides = {
            "argon2 alone": lambda _: hasher.verify(PASSWORD, stored),
            "login without limits": log_in(free),
            "login with limits": log_in(guarded),
        }
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for act in sides.values():
            await rate(act)
        for _ in range(ROUNDS):
            for name, act in sides.items():
                rates[name].append(await rate(act))
        alone, free_rates = rates["argon2 alone"], rates["login without limits"]
        for name, found in rates.items():
            print(f"{name:24}{told(found, alone)} of argon2 alone")
        print(f"{'with against without':24}{told(rates['login with limits'], free_rates)}")


def told(found: list[tuple[float, float]], other: list[tuple[float, float]]) -> str:
    """The medians of the rates, and of how they compare to another side in the same round."""
    parts = []
    for which, unit in ((0, "a second"), (1, "a second of processor time")):
        middle = statistics.median(each[which] for each in found)
        ratio = statistics.median(mine[which] / theirs[which] for mine, theirs in zip(found, other, strict=True))
        parts.append(f"{middle:7.1f} {unit} ({100 * ratio:5.1f} %)")
    return ",".join(parts)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
