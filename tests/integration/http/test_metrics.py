"""`/metrics`: what is counted, how it is written, and who may read it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from tests.contracts.kit import new_user
from tests.integration.http.kit import (
    ADMIN,
    OWN_PAGE,
    PASSWORD,
    bearer,
    database_settings,
    memory_settings,
    sqlite_settings,
)
from tests.support.exposition import Family, parse
from tests.support.servers import free_port
from tests.support.values import names_of, replace
from ubr.adapters.memory.rate_limit_store import MemoryRateLimitStore
from ubr.adapters.security.system import elapsed
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.kernel.field_declarations import FieldRules
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.kernel.periodic import Watched, collecting_jobs, running_beside
from ubr.application.ports.metrics import Load
from ubr.application.ports.protection import Quota
from ubr.application.protection.rate_limits import Quotas, RateLimiter
from ubr.bootstrap import CLEANING, migrate, open_environment
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import InvalidLink, RateLimited
from ubr.domain.ids import MachineKeyId, SessionId
from ubr.domain.mail.kinds import MailKind
from ubr.entrypoints.http.app import HttpOptions, create_app
from ubr.entrypoints.http.connections import Connections
from ubr.entrypoints.http.fields import fields_of
from ubr.entrypoints.http.metrics import memory, registry
from ubr.entrypoints.http.metrics.access import MetricsAccess
from ubr.entrypoints.http.metrics.board import Board
from ubr.entrypoints.http.metrics.emf import EmbeddedMetrics
from ubr.entrypoints.http.metrics.exporter import Exporter
from ubr.entrypoints.http.metrics.registry import COUNTED, METRICS, Kind, Label, Metric, Source
from ubr.entrypoints.http.metrics.text import written
from ubr.entrypoints.http.metrics.worker import WorkerMetrics
from ubr.settings import Limit, LoginRateLimit, Settings
from ubr.testing import MovableClock

pytestmark = pytest.mark.anyio

TOKEN = "a-token-for-metrics"
LOCAL = MetricsAccess(local=True)
HERE = "127.0.0.1"
HOUR = timedelta(hours=1)
ONE = LoginRateLimit(Limit(1, HOUR), None)


@asynccontextmanager
async def serving(
    settings: Settings,
    access: MetricsAccess = LOCAL,
    connections: Connections | None = None,
    *,
    worker: WorkerMetrics | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client on this machine of a service in this process, with an administrator."""
    worker = worker or WorkerMetrics()
    async with open_environment(settings, metrics=worker) as environment:
        ubr = environment.application
        await ubr.create_admin(CreateAdminCommand(email=ADMIN, password=PASSWORD), actor=SYSTEM)
        exporter = Exporter(worker=worker, access=access, environment=environment, jobs={}, elapsed=elapsed)
        edge = create_app(ubr, options=HttpOptions(connections=connections, metrics=exporter))
        transport = httpx.ASGITransport(edge, client=(HERE, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://ubr.test") as client:
            yield client


async def scraped(client: httpx.AsyncClient) -> dict[str, Family]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.text)


def totals(board: Board, metric: Metric) -> dict[tuple[str, ...], list[float]]:
    """The cells of each combination that is shown."""
    return {values: list(cells) for values, cells in board.totals(metric, elapsed())}


# --- the registry and the text ----------------------------------------------------------------------------------------


def test_every_metric_is_declared_once_by_the_rules_of_prometheus() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"ubr_[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert metric.name.endswith("_seconds") == (metric.unit == "seconds")
        assert metric.meaning.endswith(".")
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_labels_have_few_values_and_none_is_about_a_person() -> None:
    for metric in COUNTED:
        assert 1 <= metric.series < 10_000
        for label in metric.labels:
            assert len(set(label.values)) == len(label.values) <= 64
            assert label.name in {"method", "route", "status", "limit", "pool", "background_job"}


def test_values_of_labels_and_meanings_are_escaped() -> None:
    label = Label(name="name", values=(), meaning="")
    metric = Metric(name="ubr_odd", kind=Kind.GAUGE, unit="1", meaning='A "\\" and a\nline.', labels=(label,))
    lines = written(metric, [(['a "\\"\nb'], [1.5])]).splitlines()
    assert lines == [
        '# HELP ubr_odd A "\\\\" and a\\nline.',
        "# TYPE ubr_odd gauge",
        'ubr_odd{name="a \\"\\\\\\"\\nb"} 1.5',
    ]
    assert parse("\n".join([*lines, ""]))["ubr_odd"].value(name='a "\\"\nb') == 1.5


def test_the_buckets_of_a_histogram_add_up() -> None:
    worker = WorkerMetrics()
    for seconds in (0.0, 0.01, 0.011, 4.0, 60.0):
        worker.password_hashed(seconds)
    family = parse(written(registry.HASH_DURATION, worker.board.totals(registry.HASH_DURATION, 0)))[
        "ubr_password_hash_duration_seconds"
    ]
    found = {bound: family.value("_bucket", le=bound) for bound in ("0.01", "0.025", "2.5", "5", "+Inf")}
    assert found == {"0.01": 2, "0.025": 3, "2.5": 3, "5": 4, "+Inf": 5}
    assert family.value("_sum") == pytest.approx(64.021)


# --- the board --------------------------------------------------------------------------------------------------------


def test_workers_are_added_up_and_a_replaced_one_stays_counted() -> None:
    board = Board(2)
    first, second = WorkerMetrics(board, 0), WorkerMetrics(board, 1)
    for worker, times in ((first, 3), (second, 4)):
        for _ in range(times):
            worker.request_began()
            worker.request_ended("GET", "/api/users", 200, 0.5)
        worker.request_began()
    failures = {("GET", "/api/users", status): [0] for status in ("500", "503")}
    assert totals(board, registry.REQUESTS) == {("GET", "/api/users", "200"): [7], **failures}
    assert totals(board, registry.REQUESTS_RUNNING) == {(): [2]}

    for generation in range(1, 5):
        replaced = WorkerMetrics(board, 0)
        assert totals(board, registry.REQUESTS_RUNNING) == {(): [1]}, "its requests ended with it"
        replaced.request_began()
        replaced.request_ended("GET", "/api/users", 200, 0.5)
        assert totals(board, registry.REQUESTS) == {("GET", "/api/users", "200"): [7 + generation], **failures}


def test_a_worker_that_still_answers_while_its_successor_starts_is_counted() -> None:
    board = Board()
    former = WorkerMetrics(board)
    former.rate_limited("account")
    successor = WorkerMetrics(board)
    for worker in (former, successor, former):
        worker.request_began()
        worker.rate_limited("account")
    assert totals(board, registry.REQUESTS_RUNNING) == {(): [1]}, "of the successor: they have areas of their own"
    assert totals(board, registry.RATE_LIMITED)["account",] == [4]


def test_forks_share_the_board() -> None:
    board = Board(2)
    WorkerMetrics(board, 0).rate_limited("mail")
    child = os.fork()
    if child == 0:
        WorkerMetrics(board, 1).rate_limited("mail")
        os._exit(0)
    os.waitpid(child, 0)
    assert totals(board, registry.RATE_LIMITED)["mail",] == [2]


def test_of_the_workers_caches_the_oldest_is_shown() -> None:
    board = Board(3)
    workers = [WorkerMetrics(board, number) for number in range(3)]
    assert list(board.totals(registry.CACHE_AGE, 100.0)) == [], "none has polled yet"
    workers[0].session_cache(5, 99.0)
    workers[1].session_cache(7, 90.0)
    assert list(board.totals(registry.CACHE_AGE, 100.0)) == [((), [10.0])]
    assert totals(board, registry.CACHED_SESSIONS) == {(): [12]}


def test_gauges_of_workers_are_added_up_and_failures_are_the_most() -> None:
    board = Board(2)
    one, other = WorkerMetrics(board, 0), WorkerMetrics(board, 1)
    one.connections({"requests": Load(2, 1), "background": Load(1, 0)})
    other.connections({"requests": Load(3, 4)})
    one.hashing(Load(1, 2))
    other.hashing(Load(2, 0))
    one.job("Sequencer", failures=2, succeeded_at=7.0)
    other.job("Sequencer", failures=5, succeeded_at=4.0)
    other.job("no such job", failures=1, succeeded_at=9.0)
    one.memory(1000)
    other.memory(2000)
    assert totals(board, registry.CONNECTIONS_IN_USE) == {("requests",): [5], ("background",): [1]}
    assert totals(board, registry.CONNECTIONS_AWAITED)["requests",] == [5]
    assert totals(board, registry.HASHES_RUNNING) == {(): [3]}
    assert totals(board, registry.HASHES_WAITING) == {(): [2]}
    failures = totals(board, registry.JOB_FAILURES)
    assert (failures["Sequencer",], failures["other",], failures["Janitor",]) == ([5], [1], [0])
    assert dict(board.totals(registry.JOB_SUCCESS_AGE, 10.0)) == {("Sequencer",): [6], ("other",): [1]}
    assert totals(board, registry.MEMORY) == {(): [3000]}


def test_starts_of_workers_are_counted_also_when_one_is_replaced() -> None:
    board = Board(2)
    for number in (0, 1, 1, 1):
        WorkerMetrics(board, number)
    assert totals(board, registry.WORKER_STARTS) == {(): [4]}


@pytest.mark.parametrize("status", [408, 499])
def test_a_duration_that_the_client_determined_is_not_counted(status: int) -> None:
    worker = WorkerMetrics()
    for each in (status, 200):
        worker.request_began()
        worker.request_ended("POST", "/api/auth/login", each, 20.0)
    [[*counts, seconds]] = totals(worker.board, registry.REQUEST_DURATION).values()
    assert (sum(counts), seconds) == (1, 20.0)
    assert sum(count for [count] in totals(worker.board, registry.REQUESTS).values()) == 2


# --- the memory -------------------------------------------------------------------------------------------------------


def test_the_memory_is_the_proportional_size(tmp_path: Path) -> None:
    source = tmp_path / "smaps_rollup"
    source.write_text("00400000-7ffe ---p 00000000 00:00 0  [rollup]\nRss:  2000 kB\nPss:  1500 kB\nPss_Anon: 3 kB\n")
    assert memory.used(source) == 1500 * 1024
    assert memory.used(tmp_path / "missing") == 0


def test_the_limit_of_memory_is_the_lowest_of_the_control_groups(tmp_path: Path) -> None:
    group, groups = tmp_path / "cgroup", tmp_path / "groups"
    folder = groups / "system.slice" / "ubr.service"
    folder.mkdir(parents=True)
    group.write_text("0::/system.slice/ubr.service\n")
    machine = memory.limit(group, groups)
    assert machine > 1024
    (folder / "memory.max").write_text("max\n")
    assert memory.limit(group, groups) == machine
    (folder.parent / "memory.max").write_text("1024\n")
    assert memory.limit(group, groups) == 1024
    (folder / "memory.max").write_text("512\n")
    assert memory.limit(group, groups) == 512
    group.write_text("4:memory:/version/one\n")
    assert memory.limit(group, groups) == memory.limit(tmp_path / "missing", groups) == machine


# --- who may read them ------------------------------------------------------------------------------------------------

NO_PROXY: list[tuple[bytes, bytes]] = [(b"host", b"ubr.test")]
WITH_TOKEN = MetricsAccess(token=TOKEN, local=True)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_without_a_token_the_machine_itself_may_read_them(peer: str) -> None:
    assert LOCAL.permits(peer, fields_of(NO_PROXY))
    assert not MetricsAccess().permits(peer, fields_of(NO_PROXY)), "others can reach the service"


@pytest.mark.parametrize("peer", [None, "", "192.0.2.1", "::2", "::ffff:192.0.2.1", "a socket"])
def test_without_a_token_no_other_machine_may(peer: str | None) -> None:
    assert not LOCAL.permits(peer, fields_of(NO_PROXY))


@pytest.mark.parametrize(
    "name", [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"via", b"x-real-ip"]
)
def test_without_a_token_no_proxy_may(name: bytes) -> None:
    assert not LOCAL.permits(HERE, fields_of([*NO_PROXY, (name, b"127.0.0.1")]))
    assert not LOCAL.permits(HERE, fields_of([*NO_PROXY, (name, b"")]))


@pytest.mark.parametrize(
    ("given", "permitted"),
    [
        ([b"Bearer " + TOKEN.encode()], True),
        ([b"bearer  " + TOKEN.encode()], True),
        ([], False),
        ([b"Bearer"], False),
        ([b"Bearer " + TOKEN.encode()[:-1]], False),
        ([b"Bearer " + TOKEN.upper().encode()], False),
        ([b"Basic " + TOKEN.encode()], False),
        ([b"Bearer \xe9" + TOKEN.encode()], False),
        ([b"Bearer " + TOKEN.encode()] * 2, False),
    ],
)
@pytest.mark.parametrize("peer", [HERE, "192.0.2.1", None])
def test_with_a_token_it_alone_counts(given: list[bytes], permitted: bool, peer: str | None) -> None:
    fields = fields_of([*NO_PROXY, *((b"authorization", value) for value in given)])
    assert WITH_TOKEN.permits(peer, fields) is permitted


async def test_whoever_may_not_read_them_gets_the_answer_of_a_path_that_does_not_exist() -> None:
    async with serving(memory_settings(), WITH_TOKEN) as client:
        granted = await client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        refused, nowhere = await client.get("/metrics"), await client.get("/nowhere")
        head = await client.head("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert (granted.status_code, head.status_code, head.content) == (200, 200, b"")
    assert refused.status_code == nowhere.status_code == 404
    for answer in (refused, nowhere):
        body = answer.json()
        assert (body.pop("instance"), bool(body.pop("request_id"))) in {("/metrics", True), ("/nowhere", True)}
        assert body == {
            "type": "/problems/not-found",
            "title": "Not found",
            "status": 404,
            "detail": "This path does not exist",
        }
    assert set(refused.headers) == set(nowhere.headers)


async def test_a_machine_reads_them_as_prometheus_does_with_its_key() -> None:
    """By the form of Prometheus: the client and its key as Basic, the scope in the form."""
    async with serving(memory_settings(), MetricsAccess(token=TOKEN)) as client:
        login = await client.post("/api/auth/login", json={"email": ADMIN, "password": PASSWORD})
        admin = {"authorization": f"Bearer {login.json()['access_token']}"}
        assert (await client.get("/metrics", headers=admin)).status_code == 200, "everything includes it"
        role = {"name": "monitoring", "permissions": ["metrics:read", "users:read"]}
        assert (await client.post("/api/roles", json=role, headers=admin)).status_code == 201
        machine = await client.post(
            "/api/machines", json={"name": "prometheus", "roles": ["monitoring"]}, headers=admin
        )
        path = f"/api/machines/{machine.json()['id']}"
        key = (await client.post(f"{path}/keys", json={"name": "scraper"}, headers=admin)).json()

        async def token(scope: str) -> dict[str, str]:
            answer = await client.post(
                "/api/auth/token",
                data={"grant_type": "client_credentials", "scope": scope},
                auth=(key["client_id"], key["client_secret"]),
            )
            assert answer.status_code == 200, answer.text
            return {"authorization": f"Bearer {answer.json()['access_token']}"}

        scraping = await token("metrics:read")
        assert "ubr_build_info" in (await client.get("/metrics", headers=scraping)).text
        assert (await client.get("/metrics", headers=await token("users:read"))).status_code == 404
        for wrong in (f"Bearer {key['client_secret']}", scraping["authorization"] + "x"):
            assert (await client.get("/metrics", headers={"authorization": wrong})).status_code == 404
        assert (await client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})).status_code == 200
        assert (await client.delete(f"{path}/keys/{key['key']['id']}", headers=admin)).status_code == 204
        refused = await client.get("/metrics", headers=scraping)
        assert (refused.status_code, refused.json()["type"]) == (404, "/problems/not-found")


async def test_a_user_who_may_not_read_them_is_not_told_that_there_are_any() -> None:
    async with serving(memory_settings(), MetricsAccess()) as client:
        await client.post("/api/auth/register", json={"email": "user@example.org", "password": PASSWORD})
        login = {"email": "user@example.org", "password": PASSWORD}
        token = (await client.post("/api/auth/login", json=login)).json()["access_token"]
        assert (await client.get("/metrics", headers={"authorization": f"Bearer {token}"})).status_code == 404
        assert (await client.get("/metrics")).status_code == 404
        admin = {"email": ADMIN, "password": PASSWORD}
        browser = await client.post("/api/auth/login/browser", json=admin, headers=OWN_PAGE)
        assert "set-cookie" in browser.headers
        assert client.cookies
        assert (await client.get("/metrics")).status_code == 404, "no cookie opens it"


async def test_a_service_without_metrics_has_none(standing: Any) -> None:
    assert (await standing.client.get("/metrics")).status_code == 404


# --- what is counted --------------------------------------------------------------------------------------------------


async def test_requests_are_counted_by_method_route_and_status() -> None:
    async with serving(memory_settings()) as client:
        for _ in range(3):
            await client.get("/health/live")
        await client.head("/health/live")
        await client.post("/health/live")
        await client.request("BREW", "/health/live")
        await client.get(f"/api/users/{uuid4()}")
        await client.get(f"/secret/{uuid4()}?email=reader@example.org")
        answer = await client.get("/metrics")
    found = parse(answer.text)
    requests = found["ubr_http_requests_total"]
    counted = {
        tuple(dict(labels)[name] for name in ("method", "route", "status")): n
        for (_, labels), n in requests.samples.items()
    }
    zeros = {key for key, n in counted.items() if n == 0}
    # A rate of failures needs them before the first one.
    assert zeros == {(method, route, status) for method, route, _ in counted for status in ("500", "503")}
    assert {key: n for key, n in counted.items() if n} == {
        ("GET", "/health/live", "200"): 3,
        ("HEAD", "/health/live", "200"): 1,
        ("POST", "/health/live", "405"): 1,
        ("other", "/health/live", "405"): 1,
        ("GET", "/api/users/{user_id}", "401"): 1,
        ("GET", "unmatched", "404"): 1,
    }
    durations = found["ubr_http_request_duration_seconds"]
    assert durations.value("_count", method="GET", route="/health/live") == 3
    assert found["ubr_http_requests_running"].value() == 1
    assert found["ubr_build_info"].sum() == 1
    assert "secret" not in answer.text
    assert "@" not in answer.text


async def test_passwords_sessions_and_ends_are_counted() -> None:
    settings = memory_settings(
        revocation_bound=timedelta(milliseconds=300), revocation_poll=timedelta(milliseconds=100)
    )
    async with serving(settings) as client:
        user = {"email": ADMIN, "password": PASSWORD}
        tokens = [(await client.post("/api/auth/login", json=user)).json() for _ in range(2)]
        for each in tokens:
            assert (await client.get("/api/users/me", headers=bearer(each))).status_code == 200
        found = await scraped(client)
        assert found["ubr_password_hash_duration_seconds"].value("_count") == 3
        assert found["ubr_session_cache_entries"].value() == 2
        assert found["ubr_session_cache_age_seconds"].value() >= 0
        assert found["ubr_audit_entries_waiting"].value() > 0
        assert found["ubr_database_readable"].value() == 1
        ended = found["ubr_revocation_wait_seconds"].value("_count")

        assert (await client.post("/api/auth/logout", headers=bearer(tokens[0]))).status_code == 204
        found = await scraped(client)
        assert found["ubr_revocation_wait_seconds"].value("_count") == ended + 1
        assert found["ubr_revocation_bound_reached_total"].value() == 0

        verifier = await client.get(f"/api/revocations?verifier={uuid4()}", headers=bearer(tokens[1]))
        assert verifier.status_code == 200
        assert (await client.post("/api/auth/logout", headers=bearer(tokens[1]))).status_code == 204
        found = await scraped(client)
        assert found["ubr_revocation_wait_seconds"].value("_count") == ended + 2
        assert found["ubr_revocation_bound_reached_total"].value() == 1, "the verifier did not answer"


async def test_a_refused_password_and_a_refused_verifier_are_counted() -> None:
    async with serving(memory_settings(login_rate_limit=ONE, verifiers_per_user=1)) as client:
        user = {"email": ADMIN, "password": PASSWORD}
        token = bearer((await client.post("/api/auth/login", json=user)).json())
        answers = [await client.get(f"/api/revocations?verifier={uuid4()}", headers=token) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        stranger = {**user, "email": "nobody@example.org"}
        answers = [await client.post("/api/auth/login", json=stranger) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [401, 429]
        limited = (await scraped(client))["ubr_rate_limited_total"]
    assert limited.value(limit="verifiers-of-user") == 1
    assert limited.value(limit="account") == 1
    assert limited.sum() == 2


async def test_requests_beyond_those_that_a_client_may_run_are_counted() -> None:
    worker = WorkerMetrics()
    async with serving(memory_settings(), connections=Connections(0), worker=worker) as client:
        assert (await client.get("/api/users")).status_code == 429
        assert (await client.get("/health/live")).status_code == 200
    assert totals(worker.board, registry.RATE_LIMITED)["running-requests",] == [1]


async def _bad_link(limits: RateLimiter) -> None:
    async with limits.redeeming():
        raise InvalidLink


READER = new_user("reader")
LIMITS: list[tuple[str, str, Callable[[RateLimiter], Awaitable[object]]]] = [
    ("registrations", "register-ip", lambda limits: limits.registration()),
    ("mails", "mail-ip", lambda limits: limits.mail(MailKind.PASSWORD_RESET, READER.email)),
    ("mails_to_one", "mail", lambda limits: limits.mail(MailKind.PASSWORD_RESET, READER.email)),
    ("mails_to_one", "mail", lambda limits: limits.admits_mail(MailKind.PASSWORD_RESET, READER.email)),
    ("mails_to_one", "mail", lambda limits: limits.email_change(READER, READER.email)),
    ("client_sessions", "session-ip", lambda limits: limits.login(READER)),
    ("sessions", "session", lambda limits: limits.login(READER)),
    ("refreshes", "refresh", lambda limits: limits.refresh(SessionId(READER.id))),
    ("own_changes", "own-change", lambda limits: limits.own_change(READER.id)),
    ("own_changes", "own-change-confirmed", lambda limits: limits.own_change(READER.id, confirmed=True)),
    ("verifiers", "verifier", lambda limits: limits.verifier(READER.id)),
    ("machine_logins", "machine-key", lambda limits: limits.machine_login(MachineKeyId(UUID(int=7)))),
    ("bad_keys", "machine-ip", lambda limits: limits.bad_key()),
    ("bad_refreshes", "refresh-ip", lambda limits: limits.bad_refresh()),
    ("bad_links", "link-ip", _bad_link),
    ("log_in", "login-ip", lambda limits: limits.password_attempt()),
]


@pytest.mark.parametrize(("quota", "limit", "act"), LIMITS, ids=range(len(LIMITS)))
async def test_each_limit_is_counted_by_its_name(
    quota: str, limit: str, act: Callable[[RateLimiter], Awaitable[object]]
) -> None:
    worker = WorkerMetrics()
    quotas = replace(Quotas.off(), **{quota: Quota(limit=1, per=HOUR)})
    limits = RateLimiter(MemoryRateLimitStore(MovableClock()), quotas, worker)
    with calling_from(Origin(ip="192.0.2.1")):
        for _ in range(2):
            with suppress(RateLimited, InvalidLink):
                await act(limits)
    counted = {
        values[0]: cells[0] for values, cells in totals(worker.board, registry.RATE_LIMITED).items() if any(cells)
    }
    assert counted == {limit: 1}


def test_every_limit_and_every_quota_is_in_the_registry() -> None:
    others = {"account", "verifiers-of-user", "running-requests", "other"}
    assert {limit for _, limit, _ in LIMITS} | others == set(registry.LIMITS.values)
    assert {quota for quota, _, _ in LIMITS} | {"account"} == set(names_of(Quotas))


class WithASearchableField(msgspec.Struct):
    plan: Annotated[str, FieldRules(searchable=True)] = "free"


async def test_every_background_job_and_its_steps_are_in_the_registry(tmp_path: Path) -> None:
    settings = sqlite_settings(tmp_path)
    await migrate(settings)
    with collecting_jobs() as jobs:
        async with open_environment(settings, user_fields=WithASearchableField) as environment:
            exporter = Exporter(
                worker=WorkerMetrics(), access=LOCAL, environment=environment, jobs=jobs, elapsed=elapsed
            )
            await environment.janitor()
            embedded = EmbeddedMetrics(exporter, "an issuer", 60)
            jobs_of_all = ((environment.janitor, CLEANING), (exporter.publish, CLEANING), (embedded.write, CLEANING))
            async with running_beside(*jobs_of_all):
                await asyncio.sleep(0)  # each of them has begun
            assert {*jobs, "other"} == set(registry.JOBS.values)


async def test_the_age_of_a_job_begins_again_with_each_success() -> None:
    now = [100.0]
    worker = WorkerMetrics()
    with collecting_jobs() as jobs:
        watched = Watched("Sequencer")
        async with open_environment(memory_settings(), metrics=worker) as environment:
            exporter = Exporter(worker=worker, access=LOCAL, environment=environment, jobs=jobs, elapsed=lambda: now[0])

            async def age() -> float:
                return parse((await exporter.text()).decode())["ubr_job_success_age_seconds"].value()

            async def work() -> None:
                if now[0] == 130:
                    raise ValueError

            assert await age() == 0
            for moment, expected in ((110, 0), (130, 20), (140, 0)):
                now[0] = moment
                await watched(work)
                assert await age() == expected
            now[0] = 200
            assert await age() == 60


# --- what comes from the database -------------------------------------------------------------------------------------


async def test_backlogs_are_read_by_the_clock_of_the_store() -> None:
    clock = MovableClock()
    worker = WorkerMetrics()
    async with open_environment(memory_settings(), clock=clock, metrics=worker) as environment:
        ubr = environment.application
        command = RegisterUserCommand(email="reader@example.org", password=PASSWORD)
        await ubr.register_user(command, actor=SYSTEM)
        now = [0.0]
        exporter = Exporter(worker=worker, access=LOCAL, environment=environment, jobs={}, elapsed=lambda: now[0])
        before = parse((await exporter.text()).decode())
        clock.move(minutes=2)
        same = parse((await exporter.text()).decode())
        now[0] = 1.0
        later = parse((await exporter.text()).decode())
    assert before["ubr_audit_entries_waiting"].value() > 0
    assert before["ubr_audit_oldest_waiting_seconds"].value() == 0
    assert same["ubr_signing_key_age_seconds"].value() == 0, "read once a second at most"
    assert later["ubr_audit_oldest_waiting_seconds"].value() == 120
    assert later["ubr_signing_key_age_seconds"].value() == 120
    assert later["ubr_mails_due"].value() == 1
    assert later["ubr_mail_oldest_due_seconds"].value() == 120
    assert later["ubr_mails_dead"].value() == 0


async def test_without_the_database_the_other_metrics_are_shown() -> None:
    settings = database_settings(f"postgresql+asyncpg://nobody@127.0.0.1:{free_port()}/nothing")
    worker = WorkerMetrics()
    async with open_environment(settings, metrics=worker, prepared=False, following=False) as environment:
        exporter = Exporter(worker=worker, access=LOCAL, environment=environment, jobs={}, elapsed=elapsed)
        found = parse((await exporter.text()).decode())
    assert found["ubr_database_readable"].value() == 0
    missing = {metric.name for metric in METRICS if metric.source is Source.STORE} | {"ubr_job_success_age_seconds"}
    sparse = {metric.name for metric in METRICS if metric.kind is not Kind.GAUGE and metric.series > 100}
    assert set(found) == {metric.name for metric in METRICS} - missing - sparse


async def test_connections_are_shown_by_their_pools(tmp_path: Path) -> None:
    settings = replace(sqlite_settings(tmp_path), pool_size=1)
    await migrate(settings)
    async with open_environment(settings, following=False) as environment:
        unit_of_work = environment.read_backlogs.unit_of_work
        assert environment.store.connections == {"requests": Load(), "background": Load()}
        async with unit_of_work.read():
            assert environment.store.connections == {"requests": Load(), "background": Load(1, 0)}
        assert environment.store.connections == {"requests": Load(), "background": Load()}
