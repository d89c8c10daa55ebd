"""What a request of a logged-in user costs: run it as `python -m bench.hot_path`.

Prints the processor time of this process for `GET /api/users/me` through the whole application, without a server and
with the log on /dev/null, and for its parts. It keeps everything in memory. Each figure is the lowest of many rounds:
compare two commits in turn.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uvloop

from ubr import Actor, Application, LogInCommand, RegisterUserCommand, Settings, connect
from ubr.entrypoints.http.app import HttpOptions, create_app
from ubr.entrypoints.http.connections import Connections
from ubr.entrypoints.http.log_lines import DELAY, configure
from ubr.testing import TINY_HASHING

PASSWORD: Final = "correct horse battery staple"
EMAIL: Final = "user@example.org"
ROUNDS: Final = 30
CALLS: Final = 500

Act = Callable[[], Awaitable[object]]


def acts(ubr: Application, token: str, actor: Actor) -> dict[str, Act]:
    edge = create_app(ubr, options=HttpOptions(connections=Connections(limit=10)))
    fields = [(b"host", b"127.0.0.1:8000"), (b"authorization", b"Bearer " + token.encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "client": ("127.0.0.1", "40000"),
        "server": ("127.0.0.1", 8000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "query_string": b"",
        "headers": fields,
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message.get("status", 200) != 200:  # noqa: PLR2004
            raise SystemExit(f"The answer has the status {message['status']}")

    def request(path: str) -> Act:
        return lambda: edge({**scope, "path": path, "raw_path": path.encode(), "state": {}}, receive, send)

    return {
        "GET /api/users/me": request("/api/users/me"),
        "GET /health/live": request("/health/live"),
        "authenticate": lambda: ubr.authenticate(token),
        "get_me": lambda: ubr.get_me(actor=actor),
    }


async def cost(act: Act) -> float:
    """Microseconds of processor time for one call."""
    lowest = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(CALLS):
            await act()
        lowest = min(lowest, time.thread_time() - began)
        await asyncio.sleep(0)  # the log is written
    return lowest / CALLS * 1e6


async def main() -> None:
    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115, ASYNC230 - for as long as this runs
    configure("info", form="json", delay=DELAY)
    async with connect(Settings.memory(**TINY_HASHING)) as ubr:
        await ubr.register_user(RegisterUserCommand(email=EMAIL, password=PASSWORD))
        token = (await ubr.log_in(LogInCommand(email=EMAIL, password=PASSWORD))).access_token
        each = acts(ubr, token, await ubr.authenticate(token))
        gc.collect()
        gc.freeze()  # as the service does
        for name, act in each.items():
            print(f"{name:20} {await cost(act):6.1f} µs")


if __name__ == "__main__":
    uvloop.run(main())
