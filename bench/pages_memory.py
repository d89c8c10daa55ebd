"""How much memory pages cost a worker of `ubr serve`: run it as `python -m bench.pages_memory`, on Linux.

It starts the service with one worker on SQLite, and opens every page several times: those of one's own account, then
those of the console. It prints the memory of the worker before and after each part in MiB: `Private_Dirty`, which no
other process shares, and `Pss`. Before the first page, the worker has served a login and every list of the HTTP
interface, so that the figures are those of the pages. They include the statements of the database that only the console
sends. The code of the templates is stored first, as an installation stores it.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import httpx

from tests.support.servers import free_port
from tests.support.service import ADMIN, ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess
from ubr.entrypoints.http.pages.rendering import compile_built_in

ROUNDS: Final = 5
INTERFACE: Final = ("users/me", "auth/sessions", "users", "roles", "logs", "machines")
ACCOUNT: Final = (
    "/login",
    "/register",
    "/forgot",
    "/reset-password",
    "/verify-email",
    "/verify-email/resend",
    "/undo-email",
    "/account",
    "/account/password",
    "/account/sessions",
    "/account/data",
    "/account/delete",
    "/account/confirm",
    "/no/such/page",
)
CONSOLE: Final = (
    "/console",
    "/console/users",
    "/console/users?q=admin",
    "/console/users/new",
    "/console/users/{user}",
    "/console/users/{user}/login",
    "/console/users/{user}/acts/assign",
    "/console/users/{user}/acts/delete",
    "/console/roles",
    "/console/roles/new",
    "/console/log",
    "/console/log/{entry}",
    "/console/log/checkpoint",
    "/console/machines",
    "/console/machines/new",
    "/console/mails",
    "/console/keys",
    "/console/keys/rotate",
    "/console/health",
)


def memory(service: UbrProcess) -> tuple[float, float]:
    """MiB of the worker: written by it alone, and with a share of what several processes use."""
    (worker,) = service.workers()
    rollup = Path(f"/proc/{worker}/smaps_rollup").read_text("ascii")
    private, share = (re.search(rf"^{name}: +(\d+) kB", rollup, re.MULTILINE) for name in ("Private_Dirty", "Pss"))
    return (int(private[1]) / 1024 if private else 0.0, int(share[1]) / 1024 if share else 0.0)


def visit(client: httpx.Client, paths: Iterable[str]) -> None:
    """Open each page several times, with the files that it names, in both languages."""
    for language in ("en", "de") * ROUNDS:
        for path in paths:
            page = client.get(path, headers={"accept": "text/html", "accept-language": language})
            if page.is_server_error:
                raise SystemExit(f"{path}: {page.status_code}")
            for asset in re.findall(r'(?:href|src)="([^"]*/?assets/[^"]+)"', page.text):
                client.get(str(page.url.join(asset)))


def main() -> None:
    compile_built_in()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"UBR_WORKERS": "1", "UBR_LOG_LEVEL": "warning", "UBR_PUBLIC_URL": f"http://127.0.0.1:{port}"}
        settings |= {f"UBR_{name}_RATE_LIMIT": "off" for name in ("LOGIN", "SESSION", "CLIENT_SESSION")}
        service = UbrProcess(Path(folder), {**ADMIN, **settings}, port=port, script=True)
        try:
            measure(service.wait_until_ready())
        finally:
            service.stop()


def measure(service: UbrProcess) -> None:
    with httpx.Client(base_url=service.url, headers={"origin": service.url}) as client:
        client.post("/login", data={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})  # leads to a page, and is none
        for _ in range(ROUNDS * 20):
            for name in INTERFACE:
                client.get(f"/api/{name}").raise_for_status()
        user = client.get("/api/users/me").json()["id"]
        entry = client.get("/api/logs").json()["items"][0]["id"]
        before = memory(service)
        print(f"{'MiB':20} {'private':>8} {'Pss':>8}")
        print(f"{'before':20} {before[0]:8.1f} {before[1]:8.1f}")
        for name, paths in (("pages of an account", ACCOUNT), ("with the console", CONSOLE)):
            visit(client, [path.format(user=user, entry=entry) for path in paths])
            after = memory(service)
            print(f"{name:20} {after[0] - before[0]:+8.1f} {after[1] - before[1]:+8.1f}", flush=True)


if __name__ == "__main__":
    main()
