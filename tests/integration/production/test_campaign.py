"""Two instances behind HAProxy under load, while everything is killed, frozen and restarted in turn.

`make test-campaign` runs it for ten minutes; CAMPAIGN_SECONDS is another length, and CAMPAIGN_SEED repeats a schedule.
Its output has the schedule, the figures and the alerts with their times.

Prometheus scrapes both instances with the files of deploy/monitoring, changed in this way only:

- A scrape and an evaluation each two seconds, because a fault lasts for half a minute and not for many.
- Each `for:` is a tenth, so 30 seconds of a dead instance instead of five minutes.

Alertmanager gets the alerts and sends them to a receiver, with a tenth of its waits.

No expression is changed, so windows of an hour or of three days see the campaign as the first minutes of a new
installation, and pages and tickets about objectives can fire. Alerts about a state that lasts for longer than the
campaign cannot: UbrMailsLate, UbrJobHangs, UbrSigningKeyOld. Nothing here leads to UbrDown, UbrAuditUnsigned,
UbrMailsDead, UbrMemoryHigh, UbrMixedVersions, UbrClientsDisconnect or UbrPasswordsGuessed, so they must not fire.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.deploy.kit import DEPLOY
from tests.integration.production.clients import Record, arrived
from tests.integration.production.ledgers import differences, figures, the_log, the_users, verdict
from tests.support.commands import PATIENCE
from tests.support.monitoring import Daemon, Receiver, running
from tests.support.plugin import PrivatePostgres, PrivateRedis
from tests.support.reaper import freeze, thaw
from tests.support.servers import PostgresServer, Proxy, RedisServer, find_haproxy
from tests.support.service import UbrProcess, on_postgres

pytestmark = [pytest.mark.anyio, pytest.mark.system, pytest.mark.long]

SECONDS: Final = float(os.environ.get("CAMPAIGN_SECONDS") or 600)  # noqa: TID251 - of the test, not of ubr
SEED: Final = int(os.environ.get("CAMPAIGN_SEED") or random.SystemRandom().randrange(10**6))  # noqa: TID251
CLIENTS: Final = 8
PACE: Final = 0.4
"""Seconds between two acts of a client: about 40 requests a second, of which Prometheus counts those that arrive."""
TOKEN: Final = "a-token-for-metrics"
SHORTER: Final = 10
"""The divisor of each `for:`."""
SCRAPE: Final = 2
OUTAGE: Final = 30.0
"""Seconds: longer than the shortened `for:` of the alerts about the database, 12 s and 6 s, on a busy machine too."""
FREEZE: Final = 50.0
"""Seconds: longer than the 30 s of UbrInstanceDown, and shorter than the time limit of the balancer, 60 s."""
BETWEEN_KILLS: Final = 8.0
"""Seconds: a supervisor gives up if a worker dies within 5.5 s after its start."""

LINES: Final = 100
"""The lines of each log in the report of a campaign that did not get to its end."""

EXPECTED: Final = {
    "an outage of PostgreSQL": {"UbrDatabaseUnreadable", "UbrSessionCacheOld", "UbrApiFails"},
    "a frozen instance": {"UbrInstanceDown", "UbrRevocationsAtBound", "UbrRevocationLate"},
    "seven killed workers": {"UbrRestarts"},
}
"""The alerts that have to fire after each fault."""
BUSY: Final = {"UbrApiSlow", "UbrLoginSlow", "UbrHashQueueLong", "UbrConnectionsAwaited"}
"""Those that a busy machine causes, at any time."""
OVERLOADED: Final = {"UbrRevocationsAtBound", "UbrRevocationLate"}
"""Those that it causes too if more than two processes want each core: a worker then misses the bound of a second."""
POSSIBLE: Final = {
    *BUSY,
    *OVERLOADED,
    "UbrLoginFails",
    "UbrJobFails",
    "UbrRestarts",
}
"""Those that may fire after a fault: whether they do depends on the machine and on the schedule."""
AT_ONCE: Final = {"UbrDown", "UbrInstanceDown", "UbrDatabaseUnreadable", "UbrSessionCacheOld"}
"""Those that look at no window, and so end with their cause."""
NOTIFIED: Final = {
    "an outage of PostgreSQL": ("pager", "UbrDatabaseUnreadable"),
    "a frozen instance": ("tickets", "UbrInstanceDown"),
    "seven killed workers": ("tickets", "UbrRestarts"),
}
"""The receiver that a fault must reach, and by which alert. No other alert inhibits these."""
RECEIVERS: Final = {"page": "pager", "ticket": "tickets"}
"""The receiver of each severity."""


# --- the servers ------------------------------------------------------------------------------------------------------


def balancer_for(ports: Sequence[int]) -> Callable[[Path, int], Sequence[str]]:
    """The example of deploy/proxies, with its checks and time limits, for two instances and without TLS."""

    def configured(folder: Path, port: int) -> Sequence[str]:
        text = (DEPLOY / "proxies" / "haproxy.cfg").read_text()
        head, _, rest = text.partition("frontend users\n")
        backend = rest[rest.index("\nbackend ubr\n") :]
        servers = "".join(f"  server ubr{number} 127.0.0.1:{port}\n" for number, port in enumerate(ports))
        backend, changed = re.subn(r"  server one 127\.0\.0\.1:8000\n(?:  #.*\n)*", servers, backend)
        assert changed == 1
        frontend = f"""\
frontend users
  bind 127.0.0.1:{port}
  http-request set-header X-Forwarded-For %[src]
  default_backend ubr

"""
        (folder / "haproxy.cfg").write_text(f"{head}{frontend}{backend}")
        return ["-db", "-f", str(folder / "haproxy.cfg")]

    return configured


def monitoring(folder: Path, ports: Sequence[int]) -> None:
    """Copy the files of deploy/monitoring, changed as the head of this module says, but for the addresses."""
    shutil.copytree(DEPLOY / "monitoring", folder)
    (folder / "metrics_token").write_text(f"{TOKEN}\n")
    targets = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    replaced(folder / "prometheus.yml", '"ubr-1:8000", "ubr-2:8000"', targets)
    text = (folder / "prometheus.yml").read_text()
    for name in ("scrape_interval", "scrape_timeout", "evaluation_interval"):
        text, changed = re.subn(rf"{name}: \w+", f"{name}: {SCRAPE}s", text)
        assert changed == 1
    (folder / "prometheus.yml").write_text(text)
    for file in ("alerts.yml", "alertmanager.yml"):
        path = folder / file
        path.write_text(re.sub(r'(for|group_wait|group_interval): "?(\d+)([smh])"?', _shorter, path.read_text()))


def _shorter(found: re.Match[str]) -> str:
    seconds = int(found[2]) * {"s": 1, "m": 60, "h": 3600}[found[3]]
    return f'{found[1]}: "{seconds * 1000 // SHORTER}ms"'


def replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))


@contextmanager
def watched(folder: Path, ports: Sequence[int], receiver: Receiver) -> Iterator[Daemon]:
    """Prometheus, and an Alertmanager that sends its alerts to a receiver. `folder` gets their logs."""
    files = folder / "monitoring"
    monitoring(files, ports)
    for name in RECEIVERS.values():
        replaced(files / "alertmanager.yml", f"http://{name}.example.org/alerts", f"{receiver.url}/{name}")
    options = [
        f"--config.file={files / 'alertmanager.yml'}",
        "--cluster.listen-address=",
        f"--storage.path={files / 'alerts'}",
    ]
    with running("prometheus-alertmanager", options, folder) as alertmanager:
        replaced(files / "prometheus.yml", "alertmanager:9093", urlsplit(alertmanager.url).netloc)
        options = [f"--config.file={files / 'prometheus.yml'}", f"--storage.tsdb.path={files / 'data'}"]
        with running("prometheus", options, folder) as prometheus:
            yield prometheus


@dataclass
class Servers:
    """Everything that can be killed, and what is done to it."""

    folder: Path
    environment: dict[str, str]
    postgres: PostgresServer
    redis: RedisServer
    record: Record
    dice: random.Random
    instances: dict[str, UbrProcess] = field(default_factory=dict)
    balancer: str = ""
    logs: list[str] = field(default_factory=list)
    """The logs of instances that have ended."""

    def begin(self, name: str, port: int | None = None) -> None:
        service = UbrProcess(self.folder, self.environment, port=port)
        self.instances[name] = service
        service.wait_until_ready()

    def end_all(self) -> None:
        for service in self.instances.values():
            thaw(service.process.pid)
            service.kill()
            self.logs.append(service.log)

    def restart(self, name: str) -> None:
        service = self.instances[name]
        assert service.stop() == 0
        self.logs.append(service.log)
        self.begin(name, service.port)

    async def recovered(self) -> None:
        """Wait until each instance answers, and the balancer sends requests to one that is ready."""
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient(timeout=PATIENCE) as client:
            places = [self.balancer, *(service.url for service in self.instances.values())]
            for url in places:
                while not await self._ready(client, url):  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.1)

    @staticmethod
    async def _ready(client: httpx.AsyncClient, url: str) -> bool:
        try:
            return (await client.get(f"{url}/health/ready")).status_code == 200
        except httpx.TransportError:
            return False

    # --- the faults --------------------------------------------------------------------------------------------------

    async def rolling_restart(self) -> None:
        """The balancer must not notice it; the connections to the instance itself break."""
        for name in self.instances:
            async with self.record.fault("a rolling restart", name):
                await asyncio.to_thread(self.restart, name)
                await self.recovered()
            await asyncio.sleep(3)  # the balancer checks each second

    async def kill_worker(self) -> None:
        name = self.dice.choice(sorted(self.instances))
        async with self.record.fault("a killed worker", "balancer", name):
            workers = await asyncio.to_thread(self.instances[name].workers)
            os.kill(self.dice.choice(sorted(workers)), signal.SIGKILL)
            await self._complete(name)
        await asyncio.sleep(BETWEEN_KILLS)

    async def _complete(self, name: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(await asyncio.to_thread(self.instances[name].workers)) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await self.recovered()

    async def kill_seven_workers(self) -> None:
        name = self.dice.choice(sorted(self.instances))
        for _ in range(7):
            async with self.record.fault("seven killed workers", "balancer", name):
                workers = await asyncio.to_thread(self.instances[name].workers)
                os.kill(self.dice.choice(sorted(workers)), signal.SIGKILL)
                await self._complete(name)
            await asyncio.sleep(BETWEEN_KILLS)

    async def kill_postgres(self) -> None:
        await self._outage("a killed PostgreSQL", self.dice.uniform(0, 3))

    async def keep_postgres_down(self) -> None:
        await self._outage("an outage of PostgreSQL", OUTAGE)

    async def _outage(self, name: str, seconds: float) -> None:
        # The balancer has no server then: both say that they are not ready.
        async with self.record.fault(name, "balancer"):
            await asyncio.to_thread(self.postgres.kill)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.postgres.restart)
            await self.recovered()

    async def kill_redis(self) -> None:
        async with self.record.fault("a killed Redis"):
            await asyncio.to_thread(self.redis.kill)
            await asyncio.sleep(self.dice.uniform(1, 6))
            await asyncio.to_thread(self.redis.restart)

    async def freeze_redis(self) -> None:
        async with self.record.fault("a frozen Redis"):
            await asyncio.to_thread(self.redis.pause)
            await asyncio.sleep(self.dice.uniform(2, 6))
            await asyncio.to_thread(self.redis.resume)

    async def freeze_instance(self) -> None:
        name = self.dice.choice(sorted(self.instances))
        async with self.record.fault("a frozen instance", name):
            pid = self.instances[name].process.pid
            await asyncio.to_thread(freeze, pid)
            await asyncio.sleep(FREEZE)
            await asyncio.to_thread(thaw, pid)
            await self.recovered()


async def havoc(servers: Servers, until: float) -> None:
    """Each fault once, in the order of the seed, then faults at random until it is time."""
    every: list[Callable[[], Awaitable[None]]] = [
        servers.rolling_restart,
        servers.kill_worker,
        servers.kill_postgres,
        servers.keep_postgres_down,
        servers.kill_redis,
        servers.freeze_redis,
        servers.freeze_instance,
        servers.kill_seven_workers,
    ]
    short = [servers.rolling_restart, servers.kill_worker, servers.kill_postgres, servers.kill_redis]
    rest = [*short, servers.freeze_redis]
    servers.dice.shuffle(every)
    while every or time.monotonic() < until:
        await (every.pop() if every else servers.dice.choice(rest))()
        await asyncio.sleep(servers.dice.uniform(4, 8))


@asynccontextmanager
async def everything(
    folder: Path, postgres: PostgresServer, redis: RedisServer, record: Record
) -> AsyncIterator[tuple[Servers, Daemon, Receiver]]:
    environment = {
        **on_postgres(await asyncio.to_thread(postgres.create_database, "ubr"), redis.url(), workers=2),
        "UBR_ISSUER": "https://users.example.org",
        "UBR_METRICS_TOKEN": TOKEN,
        "UBR_SHUTDOWN_DELAY": "5s",
        "UBR_TRUSTED_PROXIES": "127.0.0.1",
    }
    servers = Servers(folder, environment, postgres, redis, record, random.Random(SEED))  # noqa: S311
    async with AsyncExitStack() as stack:
        stack.callback(servers.end_all)
        for name in ("one", "two"):
            await asyncio.to_thread(servers.begin, name)
        ports = [service.port for service in servers.instances.values()]
        found = find_haproxy(install=True)
        balancer = stack.enter_context(await asyncio.to_thread(Proxy.start, found, balancer_for(ports)))
        servers.balancer = f"http://127.0.0.1:{balancer.port}"
        receiver = stack.enter_context(Receiver())
        prometheus = stack.enter_context(watched(folder, ports, receiver))
        await servers.recovered()
        try:
            yield servers, prometheus, receiver
        except BaseException:
            for name, service in servers.instances.items():
                print(name, service.process.poll(), *service.log.splitlines()[-LINES:], sep="\n")  # noqa: T201
            print(*record.faults, sep="\n")  # noqa: T201
            raise


# --- the alerts -------------------------------------------------------------------------------------------------------


def fired(prometheus: Daemon, began: float, ended: float) -> list[tuple[str, str, float, float]]:
    """The periods in which an alert fired: its name, its severity, and the seconds of start and end."""
    query = 'max by (alertname, severity) (ALERTS{alertstate="firing"})'
    answer = prometheus.get("/api/v1/query_range", query=query, start=f"{began}", end=f"{ended}", step="1")
    periods: list[tuple[str, str, float, float]] = []
    for series in answer["data"]["result"]:
        moments = [float(moment) for moment, _ in series["values"]]
        start = moments[0]
        for moment, following in zip(moments, [*moments[1:], float("inf")], strict=True):
            if following - moment > 1.5:
                about = series["metric"]
                periods.append((about["alertname"], about["severity"], start - began, moment - began))
                start = following
    return sorted(periods, key=lambda period: period[2])


def busyness() -> tuple[float, set[str]]:
    """The load of the machine in the last quarter of an hour, and the alerts that it explains."""
    *_, load = os.getloadavg()
    return load, BUSY | (OVERLOADED if load > 2 * (os.cpu_count() or 1) else set())


async def wrong_notices(
    receiver: Receiver, prometheus: Daemon, began: float, expected: set[tuple[str, str]]
) -> set[tuple[str, str, str]]:
    """The notices that are missing after a while, and those of alerts that did not fire since `began`.

    Each of the `expected` alerts has to be known as fired, and those of AT_ONCE also as resolved.
    """
    missing: set[tuple[str, str, str]] = set()
    for name, alert in expected:
        missing |= {(name, "firing", alert)} | ({(name, "resolved", alert)} if alert in AT_ONCE else set())
    deadline = time.monotonic() + PATIENCE
    while missing - receiver.notices and time.monotonic() < deadline:  # noqa: ASYNC110 - another process sends them
        await asyncio.sleep(0.1)
    notices = {*receiver.notices}
    # Until now, and not until the end of the load: meanwhile, the first mail may be late.
    alerts = fired(prometheus, began, time.time())  # noqa: TID251 - Prometheus has no other clock
    known = {(RECEIVERS[severity], name) for name, severity, *_ in alerts}
    return (missing - notices) | {notice for notice in notices if (notice[0], notice[2]) not in known}


async def test_nothing_is_lost_and_the_alerts_fire_while_everything_is_killed(
    tmp_path: Path, private_postgres: PrivatePostgres, private_redis: PrivateRedis
) -> None:
    print(f"{SECONDS:g} s, CAMPAIGN_SEED={SEED}")  # noqa: T201 - to repeat it
    postgres, redis = private_postgres(durable=True), private_redis()
    record, over, quiet = Record(), asyncio.Event(), SECONDS / 10
    async with everything(tmp_path, postgres, redis, record) as (servers, prometheus, receiver):
        urls = {name: service.url for name, service in servers.instances.items()}
        clients = await arrived(record, servers.balancer, urls, number=CLIENTS, seed=SEED, pace=PACE)
        record.began, wall = time.monotonic(), time.time()  # noqa: TID251 - Prometheus has no other clock
        working = [asyncio.create_task(client.run(over)) for client in clients]
        try:
            await asyncio.sleep(quiet)
            await havoc(servers, record.began + SECONDS - 2 * quiet)
            healthy = time.monotonic()
            await asyncio.sleep(quiet)  # what began in a fault ends
            calm = time.monotonic()
            await asyncio.sleep(quiet)
            ended = time.monotonic()
        finally:
            over.set()
            await asyncio.gather(*working)
            for client in clients:
                client.wire.close()
        await asyncio.gather(*record.later)
        await asyncio.gather(*(client.use_ended() for client in clients))
        users = await the_users(servers.balancer)
        entries = await asyncio.to_thread(the_log, servers.folder, servers.environment)
        alerts = fired(prometheus, wall, wall + ended - record.began)
        done = {fault.name for fault in record.faults}
        expected_notices = {NOTIFIED[name] for name in done if name in NOTIFIED}
        notices = await wrong_notices(receiver, prometheus, wall, expected_notices)

    load, busy = busyness()
    lost = differences(clients, users, entries)
    lines = [f"load of the machine: {load:.1f}", *figures(record, clients, servers.logs)]
    lines += [f"  {severity} {name}: {start:.0f} s to {end:.0f} s" for name, severity, start, end in alerts]
    lines += [f"  {'/'.join(notice)}" for notice in sorted(receiver.notices)]
    print(*lines, *verdict(record, lost), sep="\n")  # noqa: T201 - the figures are the result
    assert record.wrong == []
    assert lost == []
    # A busy machine makes ubr refuse now and then; nothing else may happen while all is well.
    rest = [each for each in record.failures if each.moment < record.began + quiet or each.moment > calm]
    assert [str(each) for each in rest if each.outcome != "503 of ubr"] == []
    assert set(record.uses_after_end) <= {f"{name}: 401" for name in urls}
    assert record.uses_after_end.total() > 0

    expected = set().union(*(names for fault, names in EXPECTED.items() if fault in done))
    assert expected <= (seen := {name for name, *_ in alerts}), expected - seen
    assert seen <= expected | POSSIBLE, seen - expected - POSSIBLE
    assert {name for name, _, start, _ in alerts if start < quiet} <= busy
    assert {name for name, _, start, _ in alerts if start > calm - record.began} <= busy
    assert [name for name, _, _, end in alerts if name in AT_ONCE and end > calm - record.began] == []
    assert healthy < calm
    assert notices == set()
