"""Whether anybody can tell by an answer who has an account: what it says, and how long it takes.

Run it as `python -m bench.enumeration [PAIRS]`: `ubr serve` on PostgreSQL, where registration is `verified`, with a
real mail server. Login, registration, forgotten password and resending are asked for an e-mail that has an account and
for one that has none, in pairs whose order is drawn by lot. Answers must be equal but for their request id and date. Of
the differences in time it prints the median, with its interval of 95 % (by order statistics). It has to contain 0, or
be within a millisecond of it; one wider than 2 ms to either side shows nothing, and fails as well.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import math
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.support.mail import mail_server
from tests.support.servers import PostgresServer
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, on_postgres, serving
from tests.support.wire import Answer, Wire

ACCOUNTS: Final = 100
PASSWORD: Final = "a long enough password"
ONCE: Final = {"x-request-id", "date"}
CLOSE: Final = 1.0
WIDE: Final = 2.0
"""Milliseconds."""

CALLS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "login": ("/api/auth/login", {"password": "not the right password"}),
    "registration": ("/api/auth/register", {}),
    "forgotten": ("/api/auth/password/forgot", {}),
    "resend": ("/api/auth/email/verify/resend", {}),
}


@dataclass
class Seen:
    with_account: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)
    unlike: int = 0

    def report(self, name: str) -> bool:
        differences = sorted(one - other for one, other in zip(self.with_account, self.without, strict=True))
        count = len(differences)
        reach = math.ceil(1.96 * math.sqrt(count) / 2)
        low, high = differences[max(0, count // 2 - reach)], differences[min(count - 1, count // 2 + reach)]
        near = low <= 0 <= high or max(abs(low), abs(high)) < CLOSE
        good = self.unlike == 0 and near and (high - low) / 2 <= WIDE
        print(
            f"{name:12} {count} pairs: {median(self.with_account):6.2f} ms with an account, "
            f"{median(self.without):6.2f} ms without; difference {median(differences):+.3f} ms, "
            f"95 % {low:+.3f} to {high:+.3f}; unlike answers: {self.unlike}; {'good' if good else 'NOT GOOD'}"
        )
        return good


def told(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """All that an answer says, but for what no two have in common."""
    headers = {name: value for name, value in answer.headers.items() if name not in ONCE}
    request_id = answer.headers.get("x-request-id", "").encode()
    return answer.status, headers, answer.body.replace(request_id, b"") if request_id else answer.body


async def ask(wire: Wire, path: str, body: dict[str, Any]) -> tuple[float, Answer]:
    began = time.perf_counter()
    answer = await wire.ask("POST", path, body=body)
    return 1000 * (time.perf_counter() - began), answer


async def pair(wire: Wire, name: str, number: int, seen: Seen) -> None:
    path, body = CALLS[name]
    emails = {True: f"known{number % ACCOUNTS}@example.org", False: f"nobody{number % ACCOUNTS}@example.org"}
    answers: dict[bool, Answer] = {}
    for there in random.sample((True, False), 2):
        took, answers[there] = await ask(wire, path, {"email": emails[there], **body})
        (seen.with_account if there else seen.without).append(took)
    seen.unlike += told(answers[True]) != told(answers[False])


async def main(pairs: int) -> int:
    with PostgresServer.start(private=True, durable=True) as postgres:
        database_url = await asyncio.to_thread(postgres.create_database, "ubr")
        async with mail_server() as mails:
            environment = on_postgres(database_url, workers=1) | {
                "UBR_REGISTRATION": "verified",
                "UBR_SMTP_URL": f"smtp://127.0.0.1:{mails.port}",
                "UBR_MAIL_FROM": "ubr@example.org",
                "UBR_PUBLIC_URL": "http://127.0.0.1",
            }
            with tempfile.TemporaryDirectory() as folder:
                return await asyncio.to_thread(_serve, Path(folder), environment, pairs)


def _serve(folder: Path, environment: dict[str, str], pairs: int) -> int:
    with serving(folder, environment) as service:
        return asyncio.run(_measure(service.url, pairs))


async def _measure(url: str, pairs: int) -> int:
    seen = {name: Seen() for name in CALLS}
    async with Wire(url) as wire:
        admin = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        access = (await wire.ask("POST", "/api/auth/login", body=admin)).json()["access_token"]
        for number in range(ACCOUNTS):
            user = {"email": f"known{number}@example.org", "password": PASSWORD}
            await wire.ask("POST", "/api/users", access, user)
        for number in range(50):  # until everything is warm
            for name in CALLS:
                await pair(wire, name, number, Seen())
        for number in range(pairs):
            for name, one in seen.items():
                await pair(wire, name, number, one)
    good = [one.report(name) for name, one in seen.items()]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)))
