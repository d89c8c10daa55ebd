"""Guesses at once, on two instances with one PostgreSQL: as many are looked at as the limit says, whoever comes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from datetime import timedelta

import pytest

from tests.support.plugin import NewDatabase
from tests.support.races import rounds, two_instances
from ubr import SYSTEM, Application, ListLogsCommand, LogInCommand, RegisterUserCommand, Settings
from ubr.application.kernel.origin import Origin, calling_from
from ubr.domain.errors import InvalidCredentials, RateLimited
from ubr.settings import Limit, LoginRateLimit
from ubr.testing import TINY_HASHING

pytestmark = pytest.mark.system

PASSWORD, WRONG = "a long enough password", "another long password"
LIMIT = 10


@pytest.fixture
async def instances(new_database: NewDatabase) -> AsyncIterator[tuple[Application, Application]]:
    """Without Redis, so that PostgreSQL counts for clients too."""
    per_hour = timedelta(hours=1)
    settings = Settings.memory(
        database_url=new_database(),
        migrate="check",
        login_rate_limit=LoginRateLimit(Limit(LIMIT, per_hour), Limit(1000, per_hour)),
        **TINY_HASHING,
    )
    async with two_instances(settings) as both:
        yield both


async def counted(calls: Iterable[Awaitable[object]]) -> Counter[str]:
    """Run all at once; how often each outcome came. One that is not expected is raised."""
    outcomes: Counter[str] = Counter()
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, InvalidCredentials | RateLimited):
            raise result
        outcomes[type(result).__name__ if isinstance(result, BaseException) else "done"] += 1
    return outcomes


async def log_in(ubr: Application, email: str, password: str, ip: str) -> object:
    with calling_from(Origin(ip=ip)):
        return await ubr.log_in(LogInCommand(email=email, password=password))


@rounds(1, 30)
async def test_the_limit_is_exact_and_the_owner_is_not_shut_out(
    instances: tuple[Application, Application], rounds: int
) -> None:
    for number in range(rounds):
        email = f"user{number}@example.org"
        await instances[0].register_user(RegisterUserCommand(email=email, password=PASSWORD), actor=SYSTEM)

        rights = await counted(log_in(instances[at % 2], email, PASSWORD, "192.0.2.1") for at in range(24))
        assert rights == {"done": 24}

        guesses = [log_in(instances[at % 2], email, WRONG, f"198.51.{number}.{at}") for at in range(48)]
        owner = [log_in(instances[at % 2], email, PASSWORD, "192.0.2.1") for at in range(2)]
        assert await counted([*guesses, *owner]) == {"InvalidCredentials": LIMIT, "RateLimited": 38, "done": 2}
        assert await counted([log_in(instances[0], email, PASSWORD, "203.0.113.1")]) == {"RateLimited": 1}

        command = ListLogsCommand(limit=200, action="session.login_failed")
        assert len((await instances[0].list_logs(command, actor=SYSTEM)).items) == min(200, LIMIT * (number + 1))
