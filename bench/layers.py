"""What one call costs in each layer: run it as `python -m bench.layers DATABASE_URL`.

Prints a line for each call: the layer and the call, a tab, and the microseconds of processor time of this process. The
database is an empty one, of PostgreSQL or SQLite. `make bench` runs this for two commits in turn.
"""

# ruff: noqa: INP001 - a script, not a package

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Final

import uvloop

from bench.hot_path import EMAIL, PASSWORD
from bench.hot_path import acts as requests
from bench.use_cases import acts as use_cases
from bench.use_cases import measured_settings
from ubr import LogInCommand, RegisterUserCommand, connect
from ubr.domain.accounts.email import Email
from ubr.domain.roles.permissions import Permission, Permissions, forbid_escalation
from ubr.entrypoints.http.log_lines import DELAY, configure
from ubr.settings import MEMORY

ROUNDS: Final = 5
SECONDS: Final = 0.02
"""Processor time of a round, at least."""

Act = Callable[[], Awaitable[object]]


def domain() -> dict[str, Act]:
    names = [Permission.parse(name) for name in ("users:read", "users:write", "roles:assign", "logs:read")]
    own, other = Permissions.of(names), Permissions.of(names[:2])

    async def email() -> None:
        Email.parse("Some.User@mail.example.org")

    async def escalation() -> None:
        forbid_escalation(own, other)

    return {"an e-mail": email, "a check for escalation": escalation}


async def cost(act: Act) -> float:
    """Microseconds of processor time for one call."""
    calls, took = 1, 0.0
    while True:
        began = time.process_time()
        for _ in range(calls):
            await act()
        took = time.process_time() - began
        if took >= SECONDS:
            break
        calls = max(calls + 1, min(10 * calls, int(1.2 * calls * SECONDS / max(took, 1e-9))))
    rounds = [took / calls]
    for _ in range(ROUNDS - 1):
        began = time.process_time()
        for _ in range(calls):
            await act()
        rounds.append((time.process_time() - began) / calls)
    return median(rounds) * 1e6


async def report(layer: str, acts: dict[str, Act], *, out: int) -> None:
    gc.collect()
    for name, act in acts.items():
        await act()
        os.write(out, f"{layer}: {name}\t{await cost(act):.2f}\n".encode())


async def main(url: str) -> None:
    out = os.dup(sys.stdout.fileno())
    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115, ASYNC230 - for as long as this runs
    configure("info", form="json", delay=DELAY)
    await report("domain", domain(), out=out)
    async with connect(measured_settings(MEMORY)) as ubr:
        await report("application", await use_cases(ubr), out=out)
        await ubr.register_user(RegisterUserCommand(email=EMAIL, password=PASSWORD))
        token = (await ubr.log_in(LogInCommand(email=EMAIL, password=PASSWORD))).access_token
        await report("HTTP", requests(ubr, token, await ubr.authenticate(token)), out=out)
    async with connect(measured_settings(url)) as ubr:
        await report("store", await use_cases(ubr), out=out)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
