"""The fleet of deploy/aws as processes of this machine, with its times and its settings.

- The balancer is an HAProxy with the checks and time limits of the ALB. Like it, it sends requests to every target if
  none is healthy.
- The tasks are processes of `ubr serve`. A roll-out starts as many new ones as twice the desired number allows, and
  stops an old one for each new one that is healthy. A task that ended, or that the balancer finds unhealthy, is
  replaced, and an unhealthy one stops only when its replacement is healthy. A stop takes the task out of the balancer,
  waits for its running requests, and sends SIGTERM.
- The migration task runs before each roll-out, with the password that the owner has then.

Sources: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service_definition_parameters.html (deployments),
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
"""

from __future__ import annotations

import asyncio
import csv
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Final

from deploy.aws.fleet.parameters import (
    FINISH_SECONDS,
    GRACE_SECONDS,
    HEALTH_INTERVAL_SECONDS,
    HEALTHY_AFTER,
    IDLE_SECONDS,
    UNHEALTHY_AFTER,
    Parameters,
)
from tests.integration.production.clients import Record
from tests.support import commands
from tests.support.commands import PATIENCE, clean_environment
from tests.support.servers import Proxy, find_haproxy, free_port, may_install
from tests.support.service import UbrProcess

PAUSE: Final = 5.0
"""Seconds until a task that ended is replaced."""
NO_TASK: Final = "no healthy task"
_CONNECT: Final = 10
"""Seconds: the ALB gives up a connection to a target then."""


class Balancer:
    """The ALB. Its targets are places for tasks, each with a port."""

    def __init__(self, places: int) -> None:
        ports = [free_port() for _ in range(places)]
        self.ports = {f"task{number}": port for number, port in enumerate(ports)}
        self._proxy = Proxy.start(find_haproxy(install=may_install()), self._configured)
        self.url = f"http://127.0.0.1:{self._proxy.port}"

    def stop(self) -> None:
        self._proxy.stop()

    def _configured(self, folder: Path, port: int) -> Sequence[str]:
        servers = "".join(f"  server {name} 127.0.0.1:{its} disabled\n" for name, its in self.ports.items())
        (folder / "haproxy.cfg").write_text(
            f"""\
global
  stats socket {folder}/admin level admin
defaults
  mode http
  timeout connect {_CONNECT}s
  timeout client {IDLE_SECONDS}s
  timeout server {IDLE_SECONDS}s
  timeout http-keep-alive {IDLE_SECONDS}s
  timeout check {HEALTH_INTERVAL_SECONDS - 1}s
  retries 0
frontend users
  bind 127.0.0.1:{port}
  http-request set-header X-Forwarded-For %[src]
  use_backend all if {{ nbsrv(healthy) eq 0 }}
  default_backend healthy
backend healthy
  balance leastconn
  option httpchk GET /health/ready
  http-check send hdr Host ubr
  http-check expect status 200
  default-server check inter {HEALTH_INTERVAL_SECONDS}s fall {UNHEALTHY_AFTER} rise {HEALTHY_AFTER}
{servers}\
backend all
  balance leastconn
{servers}"""
        )
        return ["-db", "-f", str(folder / "haproxy.cfg")]

    async def register(self, name: str) -> None:
        """Send requests to a target, once its checks succeed."""
        # HAProxy takes a new server for healthy until a check fails. Without a weight it gets no request.
        for change in ("weight 0", "state ready", "health down", "weight 100%"):
            await self._say(f"set server healthy/{name} {change}")
        await self._say(f"set server all/{name} state ready")

    async def drain(self, name: str) -> None:
        """Send no further requests, and wait for the running ones."""
        for backend in ("all", "healthy"):
            await self._say(f"set server {backend}/{name} state drain")
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                while await self._running(name):  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.2)

    async def remove(self, name: str) -> None:
        for backend in ("all", "healthy"):
            await self._say(f"set server {backend}/{name} state maint")

    async def healthy(self) -> set[str]:
        """The targets whose checks succeed."""
        return {
            row["svname"]
            for row in await self._stats()
            if row["pxname"] == "healthy" and row["status"].startswith("UP") and row["weight"] != "0"
        }

    async def _running(self, name: str) -> int:
        return sum(int(row["scur"]) for row in await self._stats() if row["svname"] == name)

    async def _stats(self) -> list[dict[str, str]]:
        told = await self._say("show stat -1 4 -1")
        return [*csv.DictReader(told.removeprefix("# ").splitlines())]

    async def _say(self, command: str) -> str:
        reader, writer = await asyncio.open_unix_connection(self._proxy.folder / "admin")
        writer.write(f"{command}\n".encode())
        told = (await reader.read()).decode().strip()
        writer.close()
        assert command.startswith("show") or not told, told
        return told


@dataclass(eq=False)
class Task:
    """A task of ECS."""

    name: str
    service: UbrProcess
    began: float
    replaced_by: Task | None = None
    replaces: Task | None = None
    stopping: bool = False


@dataclass
class Fleet:
    """The service of ECS, with its tasks."""

    folder: Path
    parameters: Parameters
    settings: dict[str, str]
    owner_settings: dict[str, str]
    """What only the migration task has beside them, without the password."""
    record: Record
    version: str | None = None
    """The console script of another version; None is this one."""
    owner_password: str = ""
    tasks: list[Task] = field(default_factory=list)
    instances: dict[str, str] = field(default_factory=dict)
    """The addresses of the tasks that have been healthy and do not stop."""
    counts: Counter[str] = field(default_factory=Counter)
    logs: list[str] = field(default_factory=list)
    """Those of the tasks that have ended."""
    deploying: bool = False
    stops: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.balancer = Balancer(2 * self.desired)

    @property
    def desired(self) -> int:
        return self.parameters.service.instances

    def end_all(self) -> None:
        for task in self.tasks:
            task.service.kill()
            self.logs.append(task.service.log)
        self.balancer.stop()

    # --- a roll-out --------------------------------------------------------------------------------------------------

    async def migrate(self) -> None:
        """The migration task. Errors: `AssertionError` if it fails."""
        environment = clean_environment(
            **self.settings, **self.owner_settings, UBR_MIGRATION_DATABASE_PASSWORD=self.owner_password
        )
        code, out, err = await asyncio.to_thread(
            commands.run, "migrate", folder=self.folder, environment=environment, program=self.version
        )
        assert code == 0, out + err
        self.counts["migrations"] += 1

    async def deploy(self) -> None:
        """Migrate once, then replace every task. If the migration fails, no task changes."""
        self.deploying = True
        try:
            await self.migrate()
            old = [task for task in self.tasks if not task.stopping]
            room = 2 * self.desired - len(self.tasks)
            new = [await self._start() for _ in range(min(self.desired, room))]
            for task in new:
                await self._serving(task)
                if old:
                    self._stop(old.pop())
            await asyncio.gather(*self.stops)
        finally:
            self.deploying = False
        self.counts["roll-outs"] += 1

    async def _serving(self, task: Task) -> None:
        """Wait until a new task is healthy. One that ends before is replaced."""
        async with asyncio.timeout(4 * PATIENCE):
            while task.name not in self.instances:
                if task.service.process.poll() is not None:
                    self.counts["tasks that ended"] += 1
                    self._stop(task)
                    await asyncio.sleep(PAUSE)
                    task = await self._start()
                await self._look()
                await asyncio.sleep(0.2)

    async def _start(self) -> Task:
        taken = {task.name for task in self.tasks}
        name = next(name for name in self.balancer.ports if name not in taken)
        environment = {**self.settings, "UBR_PORT": str(self.balancer.ports[name])}
        port = self.balancer.ports[name]
        service = await asyncio.to_thread(UbrProcess, self.folder, environment, port=port, program=self.version)
        task = Task(name, service, time.monotonic())
        self.tasks.append(task)
        await self.balancer.register(name)
        return task

    async def _look(self) -> set[str]:
        """The healthy targets. New ones become instances."""
        healthy = await self.balancer.healthy()
        for task in self.tasks:
            if task.name in healthy and not task.stopping:
                self.instances[task.name] = task.service.url
        return healthy

    def _stop(self, task: Task) -> None:
        """Begin to stop a task."""
        task.stopping = True
        self.instances.pop(task.name, None)
        stop = asyncio.create_task(self._stopped(task))
        self.stops.add(stop)
        stop.add_done_callback(self.stops.discard)

    async def _stopped(self, task: Task) -> None:
        await self.balancer.drain(task.name)
        await self.balancer.remove(task.name)
        service = task.service
        ended = service.process.poll()
        if ended is None:
            service.process.terminate()
            try:
                ended = await asyncio.to_thread(service.process.wait, self.parameters.stop_seconds)
            except TimeoutExpired:
                self.record.blame(f"{task.name} did not stop in {self.parameters.stop_seconds} s")
                service.kill()
            if ended:
                self.record.blame(f"{task.name} ended with {ended}")
        self.logs.append(service.log)
        self.tasks.remove(task)

    # --- the replacement of tasks -------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Note when no task is healthy, until cancelled: the balancer then also asks those that do not serve yet."""
        while True:
            if not await self.balancer.healthy():
                async with self.record.fault(NO_TASK, "balancer"):
                    await self.some_healthy()
            await asyncio.sleep(0.2)

    async def supervise(self) -> None:
        """Replace tasks until cancelled."""
        while True:
            await asyncio.sleep(1)
            if not self.deploying:
                await self._inspect(await self._look())

    async def _inspect(self, healthy: set[str]) -> None:
        for task in [task for task in self.tasks if not task.stopping]:
            if task.service.process.poll() is not None:
                self.counts["tasks that ended"] += 1
                self._forget(task)
            elif task.name not in healthy and time.monotonic() - task.began > GRACE_SECONDS:
                if task.replaces is not None:
                    self.counts["unhealthy replacements"] += 1
                    self._forget(task)
                elif task.replaced_by is None and len(self.tasks) < 2 * self.desired:
                    self.counts["replacements of unhealthy tasks"] += 1
                    task.replaced_by = await self._start()
                    task.replaced_by.replaces = task
            elif task.replaces is not None and task.name in healthy:
                self._stop(task.replaces)
                task.replaces = None
        serving = [task for task in self.tasks if not task.stopping and task.replaces is None]
        if len(serving) < self.desired and len(self.tasks) < 2 * self.desired:
            await asyncio.sleep(PAUSE)
            await self._start()

    def _forget(self, task: Task) -> None:
        """Take a task away that never served, or does not any more."""
        if task.replaces is not None:
            task.replaces.replaced_by = None
        if task.replaced_by is not None:
            task.replaced_by.replaces = None
        self._stop(task)

    async def settled(self) -> None:
        """Wait until the desired tasks are healthy, and no other is there."""
        async with asyncio.timeout(4 * PATIENCE):
            while True:
                healthy = await self._look()
                names = {task.name for task in self.tasks}
                if names == healthy == set(self.instances) and len(names) == self.desired:
                    return
                await asyncio.sleep(0.5)

    async def some_healthy(self) -> None:
        """Wait until the balancer has a healthy target."""
        async with asyncio.timeout(4 * PATIENCE):
            while not await self._look():  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.2)

    def rotate(self) -> str:
        """A new password of the owner, as RDS makes one."""
        self.owner_password = secrets.token_urlsafe(24)
        return self.owner_password
