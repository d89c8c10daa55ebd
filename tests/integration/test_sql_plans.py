"""Every question that is asked of a table that grows is answered by an index."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.contracts.conftest import LIMITS
from tests.contracts.kit import NOON, MovableClock, email, new_role
from tests.support.plugin import Desk, NewDatabase
from tests.support.servers import PostgresServer
from tests.support.values import replace
from ubr.adapters.sql import SqlUnitOfWork, make_engine, user_search
from ubr.adapters.sql.migrations import upgrade
from ubr.adapters.sql.revocation import SqlChangeFeed
from ubr.application.audit.recorder import Recorder
from ubr.application.ports.accounts import UserFilter
from ubr.application.ports.audit import LogFilter
from ubr.application.ports.paging import After
from ubr.application.ports.unit_of_work import Transaction
from ubr.domain.accounts.search import Prefix
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.ids import LogEntryId, SessionId, TokenDigest, UserId
from ubr.domain.roles.role import Role, RoleName
from ubr.domain.sessions.termination import SecurityEvent

pytestmark = pytest.mark.anyio


FOUND = ("expired", "sealed", "ended", "found", "ahead", "counted", "beyond", "some", "CONSTANT ROW")
BATCHES = {f"SCAN {name}" for name in FOUND}
"""What a statement has found itself before."""


async def ask_about_sessions(tx: Transaction, user_id: UserId, behind: After[datetime]) -> None:
    await tx.sessions.page(user_id, NOON, behind, 50)
    await tx.sessions.end_of(user_id, SecurityEvent.ALL_REVOKED, NOON, spared=SessionId(uuid4()))
    await tx.sessions.evict(user_id, NOON, keep=49, limit=100)
    await tx.sessions.end_any(NOON, 100, after=SessionId(uuid4()))
    await tx.sessions.forget(NOON, 100)
    await tx.sessions.forget(NOON, 100, reached=NOON - timedelta(hours=1))


async def test_no_question_reads_a_whole_table_or_sorts_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'ubr.db'}"
    await upgrade(url)
    engine = make_engine(url, durable=False)
    asked: dict[str, Any] = {}

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def remember(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            asked[statement] = parameters

    user_id, behind = UserId(uuid4()), After(NOON, uuid4())
    async with SqlUnitOfWork(engine, Recorder(uuid4, os.urandom), MovableClock()).begin(SYSTEM) as tx:
        await tx.users.get(user_id)
        await tx.users.by_email(email("somebody"))
        await tx.users.another_admin_stays(user_id)
        await tx.users.search(UserFilter(sort="created_at"), behind, 50)
        await tx.users.search(UserFilter(sort="-created_at"), behind, 50)
        await tx.users.search(UserFilter(sort="email"), After("a", uuid4()), 50)
        await tx.users.search(UserFilter(sort="-email"), After("a", uuid4()), 50)
        await tx.users.search(UserFilter(status=UserStatus.ACTIVE), behind, 50)
        await tx.users.search(UserFilter(status=UserStatus.ACTIVE, sort="email"), After("a", uuid4()), 50)
        await tx.roles.add(role := new_role("r"))
        await _names_of(tx, role)
        for few in (user_search.MAX_SORTED, -1):  # as where there are few, and where there are many
            monkeypatch.setattr(user_search, "MAX_SORTED", few)
            for prefix, name in ((Prefix.parse("a"), None), (None, RoleName("r")), (Prefix.parse("a"), RoleName("r"))):
                for status in (None, UserStatus.ACTIVE):
                    which = UserFilter(prefix=prefix, role=name, status=status)
                    await tx.users.search(which, behind, 50)
                    await tx.users.search(replace(which, sort="-email"), After("a", uuid4()), 50)
        await tx.roles.page(behind, 50)
        await tx.roles.remove(new_role("r"))
        await tx.roles.forget_removed(100, reached=user_id)
        await ask_about_sessions(tx, user_id, behind)
        digest = TokenDigest(bytes(32))
        await tx.refresh_tokens.get(digest)
        await tx.refresh_tokens.spend(digest, successor=b"", now=NOON)
        await tx.refresh_tokens.reseal(digest, successor=b"")
        await tx.refresh_tokens.forget_successors(NOON, 100)
        await tx.idempotency.find(bytes(32), NOON)
        await tx.idempotency.claim(bytes(32), NOON)
        await _forget_what_is_old(tx)
        await tx.principals.get(SessionId(uuid4()))
        await tx.principals.many([SessionId(uuid4()), SessionId(uuid4())])
        for entries in (
            LogFilter(),
            LogFilter(level="warning"),
            LogFilter(action="user.created"),
            LogFilter(actor_id=user_id),
            LogFilter(target_id="x"),
            LogFilter(request_id="x"),
            LogFilter(session_id=SessionId(uuid4())),
            LogFilter(since=NOON, until=NOON + timedelta(days=1)),
        ):
            await tx.logs.page(entries, behind, 50)
    assert len(asked) > 20
    questions = list(asked.items())
    async with engine.connect() as connection:
        for statement, parameters in questions:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [str(step.detail) for step in plan]
            assert not [step for step in steps if step.startswith("SCAN ") and step not in BATCHES], statement
            # Only a principal's few roles are put in order when they are read, the live sessions of one user, and users
            # who were found by an index.
            few = any(part in statement for part in ("LEFT OUTER JOIN roles", "found AS", "AS ahead", "WITH beyond AS"))
            assert few or not [step for step in steps if "B-TREE" in step], statement
    await engine.dispose()


async def _forget_what_is_old(tx: Transaction) -> None:
    await tx.users.forget_grants(NOON, 100)
    await tx.idempotency.forget(NOON, 100)
    await tx.links.forget(NOON, 100)
    await tx.outbox.forget(NOON, 100)
    await tx.users.forget_reservations(NOON, 100)
    await tx.password_attempts.forget(NOON, 100)
    await tx.known_clients.forget(NOON, 100)


async def _names_of(tx: Transaction, role: Role) -> None:
    await tx.roles.held(role.id, NOON)
    await tx.roles.give_up_name(role, NOON)
    await tx.roles.name_given_up(role, NOON)
    await tx.roles.forget_names(NOON, 100)


# --- the log ---------------------------------------------------------------------------------------------------------

Question: TypeAlias = Callable[[Transaction], Awaitable[object]]

MANY = 10_000
"""Entries of the log in PostgreSQL: so many that reading all of them is not what a plan would come to by itself."""
LIMIT = 50
SIZES = {"many": MANY, "waiting": LIMIT}
ACTOR, TARGET, REQUEST, SESSION = UserId(UUID(int=7)), str(UUID(int=7)), f"{7:032x}", SessionId(UUID(int=7))
LAST = After(NOON + timedelta(seconds=MANY // 2), UUID(int=0))

PAGES: dict[str, LogFilter] = {
    "everything": LogFilter(),
    "level": LogFilter(level="warning"),
    "action": LogFilter(action="user.created"),
    "actor": LogFilter(actor_id=ACTOR),
    "target": LogFilter(target_id=TARGET),
    "request": LogFilter(request_id=REQUEST),
    "session": LogFilter(session_id=SESSION),
    "session within": LogFilter(session_id=SESSION, since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=2)),
    "since": LogFilter(since=NOON + timedelta(hours=1)),
    "until": LogFilter(until=NOON + timedelta(hours=1)),
    "level within": LogFilter(level="warning", since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=2)),
    "actor within": LogFilter(actor_id=ACTOR, since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=2)),
}
TREE: dict[str, Question] = {
    "waiting": lambda tx: tx.log_tree.waiting(LIMIT),
    "anything waiting": lambda tx: tx.log_tree.anything_waiting(),
    "newest checkpoint": lambda tx: tx.log_tree.newest_checkpoint(),
    "index of": lambda tx: tx.log_tree.index_of(LogEntryId(uuid4())),
    "leaf hashes": lambda tx: tx.log_tree.hashes(0, MANY // 2, LIMIT),
    "node hashes": lambda tx: tx.log_tree.hashes(8, 10, LIMIT),
    "leaves": lambda tx: tx.log_records.leaves(MANY // 2, LIMIT),
    "checkpoints": lambda tx: tx.log_records.checkpoints(MANY // 2, LIMIT),
    "older": lambda tx: tx.log_records.older(NOON + timedelta(seconds=200), 100, LIMIT),
    "entry": lambda tx: tx.logs.get(LogEntryId(uuid4())),
}


def page_of(which: LogFilter, after: After[Any] | None) -> Question:
    return lambda tx: tx.logs.page(which, after, LIMIT)


QUESTIONS: dict[str, Question] = {
    **TREE,
    **{f"first page, {name}": page_of(which, None) for name, which in PAGES.items()},
    **{f"next page, {name}": page_of(which, LAST) for name, which in PAGES.items()},
}
HOURS = [NOON + timedelta(hours=ahead) for ahead in range(3)]
"""Two, each with more entries of the action than are counted."""


def counts(tx: Transaction) -> Awaitable[object]:
    return tx.logs.counts("user.created", HOURS, LIMIT)


@contextmanager
def listening(engine: AsyncEngine, *wanted: str) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that is sent meanwhile and begins in one of these ways, with its parameters."""
    asked: list[tuple[str, Any]] = []
    begins = wanted or ("SELECT", "WITH")

    def remember(statement: str, parameters: object) -> None:
        if statement.startswith(begins) and not statement.startswith("SELECT clock_timestamp"):
            asked.append((statement, parameters))

    def executed(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        remember(statement, parameters)

    def logged(query: Any) -> None:
        remember(query.query, query.args)

    drivers: set[Any] = set()

    def taken(connection: Any, *_: object) -> None:
        drivers.add(connection.driver_connection)
        connection.driver_connection.add_query_logger(logged)

    kind, listener = ("before_cursor_execute", executed) if engine.dialect.name == "sqlite" else ("checkout", taken)
    event.listen(engine.sync_engine, kind, listener)
    try:
        yield asked
    finally:
        event.remove(engine.sync_engine, kind, listener)
        for driver in drivers:
            driver.remove_query_logger(logged)


def units(engine: AsyncEngine) -> SqlUnitOfWork:
    return SqlUnitOfWork(engine, Recorder(uuid4, os.urandom), MovableClock())


SMALL = {"SCAN log_queue"}
"""What is read only until something is found. The queue is as long as what came in within a second."""


async def test_in_sqlite_an_index_answers_every_question_about_the_log(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ubr.db'}"
    await upgrade(url)
    engine = make_engine(url, durable=False)
    bad: dict[str, list[str]] = {}
    for name, question in QUESTIONS.items():
        with listening(engine) as asked:
            async with units(engine).read() as tx:
                await question(tx)
        assert asked
        async with engine.connect() as connection:
            for statement, parameters in asked:
                plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                bad[name] = [str(step.detail) for step in plan if reads_or_sorts_all(str(step.detail), statement)]
    await engine.dispose()
    assert {name: steps for name, steps in bad.items() if steps} == {}


async def test_in_sqlite_an_index_counts_each_hour(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ubr.db'}"
    await upgrade(url)
    engine = make_engine(url, durable=False)
    with listening(engine) as asked:
        async with units(engine).read() as tx:
            await counts(tx)
    [(statement, parameters)] = asked
    async with engine.connect() as connection:
        plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        steps = [str(step.detail) for step in plan if " logs" in str(step.detail)]
    await engine.dispose()
    index = "ix_logs_action_timestamp_id (action=? AND timestamp>? AND timestamp<?)"
    assert steps == [f"SEARCH logs USING COVERING INDEX {index}"]


def reads_or_sorts_all(step: str, statement: str) -> bool:
    if step.startswith("SCAN ") and step not in SMALL:
        # Along an index from one of its ends, up to a limit, is no more than that many rows; but not in a join, unless
        # it adds to each row what has its id.
        joined = statement.replace("LEFT OUTER JOIN log_client_ips ON log_client_ips.entry_id = logs.id", "")
        return " USING " not in step or "LIMIT" not in statement or ("JOIN" in joined and "log_queue" not in step)
    return "B-TREE" in step


FILL = """
SET LOCAL session_replication_role = replica;
INSERT INTO logs (id, format, level, action, message, timestamp, actor_id, target_id, request_id, request_id_given,
        data, salt, session_id, target_type)
    SELECT (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid, 1,
        CASE WHEN n % 50 = 0 THEN 'warning' ELSE 'info' END,
        CASE WHEN n % 40 = 0 THEN 'user.created' ELSE 'session.refreshed' END, 'something happened',
        timestamptz '2026-03-01 12:00+00' + n * interval '1 second',
        lpad(to_hex(n % 100), 32, '0')::uuid, lpad(to_hex(n % 100), 32, '0')::uuid::text,
        lpad(to_hex(n % 100), 32, '0'), false,
        '{"user_id":"00000000-0000-0000-0000-000000000000"}', sha256(n::text::bytea),
        CASE WHEN n % 3 = 0 THEN lpad(to_hex(n % 100), 32, '0')::uuid END, 'session'
    FROM generate_series(1, CAST(:many AS int) + CAST(:waiting AS int)) AS n;
INSERT INTO log_leaves
    SELECT row_number() OVER (ORDER BY id) - 1, id, sha256(id::text::bytea) FROM logs ORDER BY id LIMIT :many;
INSERT INTO log_nodes SELECT 8, n, sha256(n::text::bytea) FROM generate_series(0, CAST(:many AS int) / 256) AS n;
INSERT INTO log_checkpoints
    SELECT n, 'a note of about as many bytes as one has that is signed by a key, which is ' || n
    FROM generate_series(1, CAST(:many AS int)) AS n
"""


@pytest.fixture(scope="module")
async def large(desk: Desk, postgres_server: PostgresServer, migrated_template: str) -> AsyncIterator[AsyncEngine]:
    """A log of many entries, all of them in the tree but the last few."""
    name = f"{desk.run_id}_{uuid4().hex[:12]}"
    engine = make_engine(await asyncio.to_thread(postgres_server.create_database, name, migrated_template), LIMITS)
    async with engine.begin() as connection:
        for statement in FILL.split(";"):
            values = {name: value for name, value in SIZES.items() if f":{name}" in statement}
            await connection.execute(text(statement), values)
    yield engine
    await engine.dispose()
    await asyncio.to_thread(postgres_server.drop_database, name)


async def let_wait(engine: AsyncEngine, *, believed: int, really: int) -> None:
    """So many wait, the newest, and the statistics say that so many do."""
    async with engine.begin() as connection:
        for count in (believed, really):
            await connection.execute(text("DELETE FROM log_queue"))
            await connection.execute(
                text("INSERT INTO log_queue SELECT id FROM logs ORDER BY id DESC LIMIT :count"), {"count": count}
            )
            if count == believed:
                await connection.execute(text("ANALYZE logs, log_leaves, log_queue, log_nodes, log_checkpoints"))


async def rows_looked_at(engine: AsyncEngine, question: Question) -> Counter[str]:
    """How many rows of each table PostgreSQL looks at to answer a question."""
    with listening(engine) as asked:
        async with units(engine).read() as tx:
            await question(tx)
    assert asked
    rows: Counter[str] = Counter()
    async with engine.connect() as connection:
        for statement, parameters in asked:
            found = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            told = found.scalar_one()
            for step in steps_of((json.loads(told) if isinstance(told, str) else told)[0]["Plan"]):
                if "Relation Name" in step:
                    passed = step.get("Rows Removed by Filter", 0) + step.get("Rows Removed by Index Recheck", 0)
                    rows[step["Relation Name"]] += round((step["Actual Rows"] + passed) * step["Actual Loops"])
    return rows


def steps_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from steps_of(inner)


ENOUGH = 2 * LIMIT
"""Whoever sorts a table or passes over its rows looks at more of them. Two queries answer for a session."""


async def test_in_postgresql_an_index_answers_every_question_about_a_large_log(large: AsyncEngine) -> None:
    await let_wait(large, believed=LIMIT, really=LIMIT)
    questions = {**QUESTIONS, "counts": counts}
    found = {name: await rows_looked_at(large, question) for name, question in questions.items()}
    assert {name: rows for name, rows in found.items() if max(rows.values()) > ENOUGH} == {}


@pytest.mark.parametrize("after", [None, LAST])
@pytest.mark.parametrize(
    "which",
    [
        LogFilter(action="user.created", level="error"),
        LogFilter(actor_id=ACTOR, action="user.deleted"),
        LogFilter(actor_id=ACTOR, level="warning", since=NOON + timedelta(hours=1)),
        LogFilter(request_id=REQUEST, target_id="nothing", until=NOON + timedelta(hours=2)),
    ],
    ids=repr,
)
async def test_a_search_with_several_conditions_looks_at_so_many_entries(
    large: AsyncEngine, monkeypatch: pytest.MonkeyPatch, which: LogFilter, after: After[datetime] | None
) -> None:
    await let_wait(large, believed=LIMIT, really=LIMIT)
    monkeypatch.setattr("ubr.adapters.sql.audit.entries.AHEAD", 2 * LIMIT)
    rows = await rows_looked_at(large, lambda tx: tx.logs.search(which, after, LIMIT))
    assert rows["logs"] <= 2 * 2 * LIMIT + 2


@pytest.mark.parametrize(("believed", "really"), [(MANY, LIMIT), (0, MANY)])
async def test_what_waits_is_found_whatever_is_believed_of_how_much_does(
    large: AsyncEngine, believed: int, really: int
) -> None:
    """After a migration all waited, and the statistics say so still; or they say that nothing does, and all does."""
    await let_wait(large, believed=believed, really=really)
    assert (await rows_looked_at(large, TREE["waiting"]))["logs"] <= ENOUGH


@pytest.mark.system
async def test_the_feed_is_trimmed_by_its_index_however_long_it_is(new_database: NewDatabase) -> None:
    engine = make_engine(new_database(), LIMITS)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO feed (batch, ordinal, kind, thing, at) SELECT gen_random_uuid(), 0, 'user', 'x', "
                "clock_timestamp() - n * interval '1 second' FROM generate_series(1, 20000) AS n"
            )
        )
    async with engine.connect() as connection:
        await connection.execute(text("ANALYZE feed"))
        await connection.commit()
    feed = SqlChangeFeed(engine)
    with listening(engine, "WITH") as asked:
        assert await feed.forget(timedelta(hours=6), 1000) == 0
    [(statement, parameters)] = asked
    async with engine.begin() as connection:
        plan = await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        told = json.dumps(plan.scalar())
    # Nothing in a row is compared one by one, and nothing is read that is not old enough.
    assert '"Index Cond": "(at <' in told, told
    assert '"Filter": "(at' not in told, told
    # Two at once delete each row once.
    outcomes = await asyncio.gather(*(feed.forget(timedelta(hours=5), 1000) for _ in range(4)))
    deleted = sum(outcomes)
    while more := await feed.forget(timedelta(hours=5), 1000):
        deleted += more
    async with engine.connect() as connection:
        left = (await connection.execute(text("SELECT count(*) FROM feed"))).scalar()
    assert left is not None
    assert deleted + left == 20_000
    assert 17_900 < left <= 18_000
    await engine.dispose()
