"""The page on sessions says what the code does."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from tests.support.room import PRODUCTION_TIMES
from ubr.application.revocation.follow_revocations import MAX_RECORDS, MAX_WAIT_MS
from ubr.domain.keys.access_token import HORIZON
from ubr.domain.roles.permissions import REVOCATIONS_READ
from ubr.domain.sessions.termination import SESSION_TERMINATION
from ubr.settings import Settings
from ubr.verifier.verifier import _HISTORY, _KEYS_LAST, _KEYS_RENEWED

DOCS = Path(__file__).parents[3] / "docs"
SESSIONS = (DOCS / "sessions.md").read_text()
VERIFIER = (DOCS / "verifier.md").read_text()


def test_the_table_of_what_ends_what() -> None:
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| ([^|]+) \|$", SESSIONS, re.MULTILINE)
    assert rows == [(event.value, reach.value) for event, reach in SESSION_TERMINATION.items()]


def test_the_table_stands_in_one_place() -> None:
    assert "sessions.md" in (DOCS / "architecture.md").read_text()
    for page in DOCS.glob("**/*.md"):
        assert (page.name == "sessions.md") == ("| sessions that end |" in page.read_text()), page


def test_the_numbers() -> None:
    times, defaults = PRODUCTION_TIMES, Settings.memory()
    assert (times.renewal, times.lease, times.row, times.patience) == (3, 10, 60, 1)
    assert f"every {times.renewal:g} s; a lease lasts for {times.lease:g} s" in SESSIONS
    assert f"unchanged for {times.row:g} s" in SESSIONS
    assert f"every {_KEYS_RENEWED / 60:g} minutes" in VERIFIER
    assert f"older than {_KEYS_LAST / 60:g} minutes" in VERIFIER
    assert f"(`{times.bound:g} s`)".replace("`", "") in SESSIONS
    assert defaults.revocation_bound.total_seconds() == times.bound
    assert f"`UBR_REVOCATION_POLL` ({defaults.revocation_poll.total_seconds() * 1000:g} ms)" in SESSIONS
    assert f"`UBR_ACCESS_TOKEN_LIFETIME` ({defaults.access_token_lifetime.total_seconds() / 60:g} min)" in SESSIONS
    assert f"`UBR_SESSION_IDLE` ({defaults.session_idle.days} d)" in SESSIONS
    assert f"`UBR_SESSION_LIFETIME` ({defaults.session_lifetime.days} d)" in SESSIONS
    assert f"`UBR_SESSIONS_PER_USER` ({defaults.sessions_per_user})" in SESSIONS
    assert f"up to {MAX_WAIT_MS} ms" in VERIFIER
    assert f"({MAX_RECORDS:,} records)" in VERIFIER
    assert f"{_HISTORY:,} records back" in VERIFIER
    assert timedelta(minutes=17) > HORIZON
    assert f"`{REVOCATIONS_READ}`" in VERIFIER
