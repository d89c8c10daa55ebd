"""Acts: each is confirmed on a page that says what it ends, before a form does it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from ubr.application.kernel.paging import MAX_LIMIT
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.domain.errors import Invalid, NotFound, UbrError
from ubr.domain.roles.permissions import SESSIONS_READ
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages.console.desk import Desk, said
from ubr.entrypoints.http.pages.words import Words
from ubr.entrypoints.http.response import Response

A = TypeVar("A")

_LOCAL: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?", re.ASCII)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A page that asks whether an act is meant.

    `consequences` are sentences. `asks` are fields that the page shows, by name, and `hidden` those that it only sends.
    `typed` is a text that has to be typed as confirmation. `path` does the act, and `back` is the page before it.
    """

    title: str
    button: str
    consequences: Sequence[str]
    path: str
    back: str
    section: str
    subject: str
    danger: bool = True
    typed: str | None = None
    asks: Sequence[str] = ()
    hidden: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)


async def ask(desk: Desk, question: Question, *, error: UbrError | None = None, **shown: Any) -> Response:
    """The page of a question."""
    return await desk.show(
        "confirm.html", question.section, question=question, error=error, place=question.path, **shown
    )


def act_of(desk: Desk, acts: Mapping[str, A]) -> A:
    """The act that the path names. Errors: `NotFound`."""
    found = acts.get(desk.call.path_params["act"])
    if found is None:
        raise NotFound("This path does not exist")
    return found


def check_typed(form: Form, wanted: str) -> None:
    """Errors: `Invalid` unless the form has the text that confirms the act."""
    if form.get("confirmation").strip() != wanted:
        raise Invalid.at("/confirmation", "is not the text that was asked for")


def moment_of(form: Form, name: str) -> datetime | None:
    """The value of a field for date and time, in UTC; None if it is empty. Errors: `Invalid`."""
    text = form.get(name).strip()
    if not text:
        return None
    wrong = Invalid.at(f"/{name}", "is not a date with a time, such as 2027-01-31T12:00")
    if not _LOCAL.fullmatch(text):
        raise wrong
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:  # such as a 31st of February
        raise wrong from None


class Count(msgspec.Struct, frozen=True):
    """A number of sessions; with `more`, at least that many."""

    n: int
    more: bool = False

    def said(self, words: Words) -> str:
        """The number with its noun."""
        return said(words, "act.sessions_more" if self.more else "act.sessions", n=self.n)


async def sessions_of(desk: Desk, user_id: UUID) -> Count | None:
    """How many sessions a user has; None for a reader who may not know it."""
    if not desk.may(SESSIONS_READ):
        return None
    command = ListSessionsCommand(user_id=user_id, limit=MAX_LIMIT)
    found = await desk.call.ubr.list_sessions(command, actor=desk.actor)
    return Count(len(found.items), more=found.next_cursor is not None)


def ending(words: Words, sessions: Count | None) -> str:
    """The sentence about the sessions that an act ends."""
    if sessions is None:
        return said(words, "act.ends_all")
    if sessions.n == 0:
        return said(words, "act.ends_none")
    return said(words, "act.ends_more" if sessions.more else "act.ends", n=sessions.n)
