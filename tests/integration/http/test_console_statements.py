"""How many statements a page of the console may send to the database: a bound that no load of the machine changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.integration.http.kit import in_process, sqlite_settings
from tests.integration.http.test_console import create, ubr_of
from tests.integration.http.test_pages import Person
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.roles.role import ADMIN_ROLE_ID
from ubr.entrypoints.http.app import HttpOptions

BUDGETS = {
    "/console": 6,
    "/console/users": 3,
    "/console/users?sort=-email": 3,
    "/console/users?q=ada": 5,
    "/console/users?q=ada&role=admin&status=active": 6,
    "/console/users/{user}": 6,
    "/console/users/{user}/login": 8,
    "/console/users/{user}/acts/disable": 4,
    "/console/users/{user}/acts/assign": 4,
    "/console/roles": 2,
    f"/console/roles/{ADMIN_ROLE_ID}": 2,
    f"/console/roles/{ADMIN_ROLE_ID}/delete": 4,
    "/console/log": 5,
    "/console/log?action=session.login_failed": 5,
    "/console/log/{entry}": 26,
    "/console/log/checkpoint": 6,
    "/console/machines": 2,
    "/console/mails": 2,
    "/console/keys": 2,
    "/console/health": 14,
}
"""The highest number of statements of each page on SQLite, after a first visit."""

_counted: ContextVar[Counter[str] | None] = ContextVar("_counted", default=None)


@contextmanager
def statements() -> Iterator[Counter[str]]:
    """Counts the statements of this task, and not those of jobs beside it."""

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if (counter := _counted.get()) is not None:
            counter[statement] += 1

    event.listen(Engine, "before_cursor_execute", count)
    counter: Counter[str] = Counter()
    token = _counted.set(counter)
    try:
        yield counter
    finally:
        _counted.reset(token)
        event.remove(Engine, "before_cursor_execute", count)


@pytest.fixture(scope="module")
async def admin(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Person]:
    settings = sqlite_settings(tmp_path_factory.mktemp("statements"))
    async with in_process(settings, HttpOptions()) as service:
        person = await Person(service).log_in()
        for number in range(30):
            await create(person, f"ada{number}@example.org", *(["admin"] if number % 3 == 0 else []))
        yield person


@pytest.mark.parametrize("path", BUDGETS)
async def test_a_page_sends_few_statements(path: str, admin: Person) -> None:
    """And no more with many users than with one: no statement is sent for each row of a page."""
    entries = await ubr_of(admin).list_logs(ListLogsCommand(action="user.created", limit=1), actor=SYSTEM)
    [entry] = entries.items
    assert entry.target is not None
    address = path.format(user=entry.target.id, entry=entry.id)
    assert (await admin.open(address)).status_code == 200
    with statements() as counted:
        answer = await admin.open(address)
    assert answer.status_code == 200
    sent = [statement for statement in counted.elements() if not statement.startswith(("BEGIN", "COMMIT", "ROLLBACK"))]
    assert 0 < len(sent) <= BUDGETS[path], "\n".join(sent)
