"""Every metric of the service, declared once: `/metrics` and `docs/metrics.md` are made from this table."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from math import prod
from typing import Final

import msgspec

from ubr.entrypoints.http.openapi.operations import operations
from ubr.entrypoints.http.problems.catalogue import problems
from ubr.entrypoints.http.routes import CONTROLLERS

OTHER: Final = "other"
"""The value of a label for everything that is not listed: no client can add values."""

UNMATCHED: Final = "unmatched"
"""The route of a request that was answered before a route was found."""

HUNG_UP: Final = 499
"""Only in metrics and in the log: the client disconnected before the response, or seems to have."""


class Kind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(Enum):
    """The origin of a value, and how the values of several workers become one."""

    SUM = "the sum over all workers"
    MAX = "the highest of all workers"
    OLDEST = "the highest of all workers, at the moment of the scrape"
    """A worker notes the moment from which the age counts, so the age of a frozen worker grows."""
    STORE = "the same in all workers and instances, read from the database at the scrape"
    PROCESS = "the same in all workers"


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """A label and all of its values."""

    name: str
    values: tuple[str, ...]
    meaning: str


class Metric(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A metric. `meaning` is one sentence, for `/metrics` and for the page."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    """The upper bounds of a histogram, without the last one, which is infinite."""
    source: Source = Source.SUM
    zeros: tuple[str, ...] = ()
    """Values of the last label that are shown as 0 as soon as another one of the same combination has occurred. Without
    it, a rate misses all events before the first scrape that has any."""

    @property
    def series(self) -> int:
        """The maximum number of combinations of the labels' values."""
        return prod(len(label.values) for label in self.labels)

    @property
    def width(self) -> int:
        """The number of cells of each combination. A histogram has one for each bucket, and one for the sum."""
        return len(self.buckets) + 2 if self.kind is Kind.HISTOGRAM else 1

    @property
    def sparse(self) -> bool:
        """True if a combination is shown only once it has occurred, because there are very many."""
        return self.series > _MANY


_MANY: Final = 100

_OPERATIONS: Final = tuple(operations(CONTROLLERS))

METHODS: Final = Label(
    name="method",
    values=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER),
    meaning="The method of the request.",
)
ROUTES: Final = Label(
    name="route",
    values=(*sorted({path for path, _, _ in _OPERATIONS}), UNMATCHED),
    meaning=f"The template of the path, such as `/api/users/{{user_id}}`; `{UNMATCHED}` if the path has no route.",
)
_ANSWERED: Final = (
    HTTPStatus.ACCEPTED,
    HTTPStatus.NO_CONTENT,
    HTTPStatus.NOT_MODIFIED,
    *(operation.status for _, _, operation in _OPERATIONS),
    *(problem.status for problem in problems()),
)
STATUSES: Final = Label(
    name="status",
    values=(*map(str, sorted({*map(int, _ANSWERED), HUNG_UP})), OTHER),
    meaning=f"The status of the response; {HUNG_UP} if the client disconnected before it.",
)
_FAILURES: Final = tuple(status for status in STATUSES.values if status.startswith("5"))
LIMITS: Final = Label(
    name="limit",
    values=(
        "account",
        "login-ip",
        "session",
        "session-ip",
        "refresh",
        "refresh-ip",
        "machine-key",
        "machine-ip",
        "register-ip",
        "mail",
        "mail-ip",
        "link-ip",
        "own-change",
        "own-change-confirmed",
        "verifier",
        "verifiers-of-user",
        "running-requests",
        OTHER,
    ),
    meaning="The limit that refused: see [limits.md](limits.md). Those that end with `-ip` count a client IP.",
)
POOLS: Final = Label(
    name="pool",
    values=("requests", "background"),
    meaning="The connections for requests (`UBR_POOL_SIZE`), or those for background jobs.",
)
JOBS: Final = Label(
    name="background_job",  # Prometheus itself gives every series a label `job`
    values=(
        "SessionCache.poll_feed",
        "SessionCache.renew",
        "WorkerReaper",
        "KeyRing.ensure_current",
        "Sequencer",
        "DenialRecorder.settle",
        "BacklogWatch",
        "DeliverMail",
        "Leader",
        "FieldIndexer",
        "Exporter.publish",
        "EmbeddedMetrics.write",
        "Janitor",
        "Janitor, successors of refresh tokens",
        "Janitor, expired sessions",
        "Janitor, expired links",
        "Janitor, undeliverable mails",
        "Janitor, reserved e-mails",
        "Janitor, former names of roles",
        "Janitor, results of idempotency keys",
        "Janitor, ended grants",
        "Janitor, ended keys of machines",
        "Janitor, grants of removed roles",
        "Janitor, change records",
        "Janitor, password attempts",
        "Janitor, known clients",
        "Janitor, counters",
        OTHER,
    ),
    meaning="The name of the job in the log.",
)
VERSION: Final = Label(name="version", values=(), meaning="The version of ubr.")

_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_HASH_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_WAIT_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)

REQUESTS: Final = Metric(
    name="ubr_http_requests_total",
    kind=Kind.COUNTER,
    unit="requests",
    meaning="Requests that were answered, or whose client disconnected.",
    labels=(METHODS, ROUTES, STATUSES),
    zeros=_FAILURES,
)
REQUEST_DURATION: Final = Metric(
    name="ubr_http_request_duration_seconds",
    kind=Kind.HISTOGRAM,
    unit="seconds",
    meaning="Time from the head of a request to the end of its response. Requests whose client was too slow (408) or "
    "disconnected (499) are not part of it.",
    labels=(METHODS, ROUTES),
    buckets=_REQUEST_BUCKETS,
)
REQUESTS_RUNNING: Final = Metric(
    name="ubr_http_requests_running",
    kind=Kind.GAUGE,
    unit="requests",
    meaning="Requests that are being answered, this one included.",
)
RATE_LIMITED: Final = Metric(
    name="ubr_rate_limited_total",
    kind=Kind.COUNTER,
    unit="attempts",
    meaning="Attempts that a limit refused.",
    labels=(LIMITS,),
)
HASHES_RUNNING: Final = Metric(
    name="ubr_password_hashes_running",
    kind=Kind.GAUGE,
    unit="passwords",
    meaning="Passwords that are being hashed.",
)
HASHES_WAITING: Final = Metric(
    name="ubr_password_hashes_waiting",
    kind=Kind.GAUGE,
    unit="passwords",
    meaning="Passwords that wait to be hashed.",
)
HASH_DURATION: Final = Metric(
    name="ubr_password_hash_duration_seconds",
    kind=Kind.HISTOGRAM,
    unit="seconds",
    meaning="Time to hash a password, without the wait before it.",
    buckets=_HASH_BUCKETS,
)
CONNECTIONS_IN_USE: Final = Metric(
    name="ubr_database_connections_in_use",
    kind=Kind.GAUGE,
    unit="connections",
    meaning="Database connections that are in use.",
    labels=(POOLS,),
)
CONNECTIONS_AWAITED: Final = Metric(
    name="ubr_database_connections_awaited",
    kind=Kind.GAUGE,
    unit="units of work",
    meaning="Units of work that wait for a database connection.",
    labels=(POOLS,),
)
CACHED_SESSIONS: Final = Metric(
    name="ubr_session_cache_entries",
    kind=Kind.GAUGE,
    unit="sessions",
    meaning="Sessions in the session caches, where each worker has its own.",
)
CACHE_AGE: Final = Metric(
    name="ubr_session_cache_age_seconds",
    kind=Kind.GAUGE,
    unit="seconds",
    meaning="Time since the start of the newest completed poll of the change feed, or of the worker; beyond "
    "`UBR_REVOCATION_BOUND`, requests wait for the next poll.",
    source=Source.OLDEST,
)
REVOCATION_WAIT: Final = Metric(
    name="ubr_revocation_wait_seconds",
    kind=Kind.HISTOGRAM,
    unit="seconds",
    meaning="Time that the end of a session, or another revocation, waited for the other workers.",
    buckets=_WAIT_BUCKETS,
)
REVOCATIONS_AT_BOUND: Final = Metric(
    name="ubr_revocation_bound_reached_total",
    kind=Kind.COUNTER,
    unit="revocations",
    meaning="Revocations that waited for the whole `UBR_REVOCATION_BOUND`, because a worker or the database did not "
    "answer.",
)
REVOCATION_BOUND: Final = Metric(
    name="ubr_revocation_bound_seconds",
    kind=Kind.GAUGE,
    unit="seconds",
    meaning="The setting `UBR_REVOCATION_BOUND`.",
    source=Source.PROCESS,
)
AUDIT_WAITING: Final = Metric(
    name="ubr_audit_entries_waiting",
    kind=Kind.GAUGE,
    unit="entries",
    meaning="Audit log entries that are not signed yet.",
    source=Source.STORE,
)
AUDIT_AGE: Final = Metric(
    name="ubr_audit_oldest_waiting_seconds",
    kind=Kind.GAUGE,
    unit="seconds",
    meaning="Age of the oldest audit log entry that is not signed yet, or 0.",
    source=Source.STORE,
)
MAILS_DUE: Final = Metric(
    name="ubr_mails_due",
    kind=Kind.GAUGE,
    unit="mails",
    meaning="Queued mails that are due.",
    source=Source.STORE,
)
MAILS_DEAD: Final = Metric(
    name="ubr_mails_dead",
    kind=Kind.GAUGE,
    unit="mails",
    meaning="Mails that were given up, and are kept for a week.",
    source=Source.STORE,
)
MAIL_AGE: Final = Metric(
    name="ubr_mail_oldest_due_seconds",
    kind=Kind.GAUGE,
    unit="seconds",
    meaning="Time for which the queued mail that has been due for the longest has been so, or 0.",
    source=Source.STORE,
)
JOB_FAILURES: Final = Metric(
    name="ubr_job_failures",
    kind=Kind.GAUGE,
    unit="failures",
    meaning="Failures in a row of a background job; 0 after a success.",
    labels=(JOBS,),
    source=Source.MAX,
)
JOB_SUCCESS_AGE: Final = Metric(
    name="ubr_job_success_age_seconds",
    kind=Kind.GAUGE,
    unit="seconds",
    meaning="Time since the last success of a background job, or since its first start.",
    labels=(JOBS,),
    source=Source.OLDEST,
)
KEY_AGE: Final = Metric(
    name="ubr_signing_key_age_seconds",
    kind=Kind.GAUGE,
    unit="seconds",
    meaning="Time since the creation of the key that signs access tokens.",
    source=Source.STORE,
)
STORE_READABLE: Final = Metric(
    name="ubr_database_readable",
    kind=Kind.GAUGE,
    unit="0 or 1",
    meaning="1 if the metrics that come from the database could be read within a second; otherwise 0, and they are "
    "missing.",
    source=Source.PROCESS,
)
WORKER_STARTS: Final = Metric(
    name="ubr_worker_starts_total",
    kind=Kind.COUNTER,
    unit="workers",
    meaning="Workers that were started, the first ones included.",
)
START_TIME: Final = Metric(
    name="ubr_start_time_seconds",
    kind=Kind.GAUGE,
    unit="seconds",
    meaning="The start of the service, in seconds since 1970.",
    source=Source.PROCESS,
)
MEMORY: Final = Metric(
    name="ubr_memory_bytes",
    kind=Kind.GAUGE,
    unit="bytes",
    meaning="Memory of the workers, where each shared page counts once (Linux only, otherwise 0).",
)
MEMORY_LIMIT: Final = Metric(
    name="ubr_memory_limit_bytes",
    kind=Kind.GAUGE,
    unit="bytes",
    meaning="The memory limit of the container or of the service, or the memory of the machine if there is no limit.",
    source=Source.PROCESS,
)
BUILD: Final = Metric(
    name="ubr_build_info",
    kind=Kind.GAUGE,
    unit="1",
    meaning="Always 1.",
    labels=(VERSION,),
    source=Source.PROCESS,
)

METRICS: Final = (
    REQUESTS,
    REQUEST_DURATION,
    REQUESTS_RUNNING,
    RATE_LIMITED,
    HASHES_RUNNING,
    HASHES_WAITING,
    HASH_DURATION,
    CONNECTIONS_IN_USE,
    CONNECTIONS_AWAITED,
    CACHED_SESSIONS,
    CACHE_AGE,
    REVOCATION_WAIT,
    REVOCATIONS_AT_BOUND,
    REVOCATION_BOUND,
    AUDIT_WAITING,
    AUDIT_AGE,
    MAILS_DUE,
    MAILS_DEAD,
    MAIL_AGE,
    JOB_FAILURES,
    JOB_SUCCESS_AGE,
    KEY_AGE,
    STORE_READABLE,
    WORKER_STARTS,
    START_TIME,
    MEMORY,
    MEMORY_LIMIT,
    BUILD,
)
COUNTED: Final = tuple(metric for metric in METRICS if metric.source not in {Source.STORE, Source.PROCESS})
"""The metrics whose values each worker keeps."""
