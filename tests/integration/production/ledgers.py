"""What is stored after a campaign, compared with the ledgers of its clients, and the figures of all of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.integration.production.clients import ROLE, Client, Record
from tests.support import commands
from tests.support.commands import PATIENCE, clean_environment
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD


async def the_users(url: str) -> dict[str, Any]:
    """All users that a service has, by their e-mail."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        login = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        token = (await client.post("/api/auth/login", json=login)).json()["access_token"]
        found: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            query = {"limit": "200", **({"cursor": cursor} if cursor else {})}
            page = (await client.get("/api/users", params=query, headers={"authorization": f"Bearer {token}"})).json()
            found += page["items"]
            cursor = page["next_cursor"]
    users = {user["email"]: user for user in found}
    assert len(users) == len(found)
    return users


def the_log(folder: Path, settings: Mapping[str, str]) -> list[dict[str, Any]]:
    """All entries of the audit log, after `ubr audit verify` has found no mistake in it. `folder` gets a file."""
    environment = clean_environment(**settings)
    deadline = time.monotonic() + PATIENCE
    while True:
        code, out, err = commands.run("audit", "verify", folder=folder, environment=environment)
        assert code == 0, out + err
        if "Not signed yet" not in out:
            break
        assert time.monotonic() < deadline, out
        time.sleep(0.1)
    print(out)  # noqa: T201 - figures
    file = folder / "log.jsonl"
    code, out, err = commands.run("audit", "export", "--output", str(file), folder=folder, environment=environment)
    assert code == 0, out + err
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [found for line in lines if (found := line.get("entry", line)) and "action" in found]


def differences(clients: Sequence[Client], users: dict[str, Any], entries: Sequence[dict[str, Any]]) -> list[str]:
    """What is stored otherwise than the ledgers say."""
    wrong: list[str] = []
    logged = Counter((entry["action"], (entry["target"] or {}).get("id")) for entry in entries)
    opened: Counter[str] = Counter()
    sessions: dict[str, set[str]] = {}
    for entry in entries:
        if entry["action"] == "session.opened":
            opened[entry["actor_id"] or entry["data"].get("user_id")] += 1
            sessions.setdefault(entry["actor_id"] or entry["data"].get("user_id"), set()).add(entry["target"]["id"])
    for client in clients:
        user = users.get(client.email)
        if user is None or (client.name and user["full_name"] != client.name):
            wrong.append(f"lost: {client.email} should be {client.name!r}: {user}")
        elif (ROLE in user["roles"]) != client.has_role:
            wrong.append(f"lost: the role of {client.email}: {user}")
        for email, known in client.registered.items():
            if users.get(email, {}).get("id") != known:
                wrong.append(f"lost: {email}, {known}")
            if logged["user.registered", known] != 1:
                wrong.append(f"{logged['user.registered', known]} registrations of {email} in the log")
        wrong += [
            f"{client.email}: {client.done[action]} {action}, {logged[action, client.id]} in the log"
            for action in ("user.updated", "role.assigned", "role.unassigned")
            if logged[action, client.id] != client.done[action]
        ]
        if not client.opened <= sessions.get(client.id, set()):
            wrong.append(f"{client.email}: logins that the log does not have")
        if not len(client.opened) <= opened[client.id] <= len(client.opened) + client.unknown_logins:
            wrong.append(f"{client.email}: {len(client.opened)} logins, {opened[client.id]} in the log")
        wrong += [
            f"{logged['session.revoked', ended]} ends of the session {ended} in the log"
            for ended in client.ended
            if logged["session.revoked", ended] != 1
        ]
    return wrong


def figures(record: Record, clients: Sequence[Client], logs: Iterable[str]) -> list[str]:
    """The lines of a report: requests by act and outcome, what took effect, the faults, and the log lines of ubr."""
    lines = [f"{record.outcomes.total()} requests"]
    acts: dict[str, Counter[str]] = {}
    for (act, outcome), number in sorted(record.outcomes.items()):
        acts.setdefault(act, Counter())[outcome] += number
    lines += [f"  {act}: {dict(outcomes)}, {record.longest[act]:.1f} s at most" for act, outcomes in acts.items()]
    written = Counter[str]()
    for client in clients:
        written.update(client.done)
        written["user.registered"] += len(client.registered)
        written["session.opened"] += len(client.opened)
        written["session.revoked"] += len(client.ended)
        written["unknown logins"] += client.unknown_logins
    lines.append(f"acknowledged or found out: {dict(written)}; uses after an end: {dict(record.uses_after_end)}")
    lines += [
        f"  {record.at(fault.began)} to {record.at(fault.ended or fault.began)}: {fault.name} {sorted(fault.places)}"
        for fault in record.faults
    ]
    said: Counter[tuple[str, str]] = Counter()
    for line in filter(None, "\n".join(logs).splitlines()):
        try:
            told = json.loads(line)
        except ValueError:
            said["no JSON", line] += 1
        else:
            said[told["level"], told["event"]] += 1
    lines += [f"  log {level}: {number} x {event}" for (level, event), number in sorted(said.items())]
    return lines + [f"  {record.at(failure.moment)}: {failure}" for failure in record.failures[:40]]


def verdict(record: Record, lost: Sequence[str]) -> list[str]:
    """The last lines of a report: wrong answers, and what is stored otherwise than the ledgers say."""
    return [f"wrong {len(record.wrong)}, lost {len(lost)}", *record.wrong[:40], *lost[:40]]
