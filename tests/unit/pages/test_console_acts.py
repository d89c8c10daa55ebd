"""The acts of the console, and what their questions look up."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from ubr.application.kernel.representations import UserResult
from ubr.domain.accounts.user import UserStatus
from ubr.entrypoints.http.pages.console import user
from ubr.entrypoints.http.pages.console.acts import Count
from ubr.entrypoints.http.pages.words import load

LANGUAGES = load()
NOW = datetime(2026, 2, 1, tzinfo=UTC)
SOMEBODY = UserResult(
    id=UUID(int=1),
    email="somebody@example.org",
    full_name=None,
    status=UserStatus.ACTIVE,
    email_verified=True,
    roles=["user"],
    created_at=NOW,
    updated_at=NOW,
)


@pytest.mark.parametrize("name", user.ACTS)
@pytest.mark.parametrize("language", ["en", "de"])
def test_sessions_are_counted_for_the_acts_that_name_their_number_and_for_no_other(name: str, language: str) -> None:
    words, act = LANGUAGES[language], user.ACTS[name]
    known, unknown = [
        act.tells(user.Subject(words, name, SOMEBODY, sessions, {"role": "editor"})) for sessions in (Count(3), None)
    ]
    assert act.names_sessions == (known != unknown)
