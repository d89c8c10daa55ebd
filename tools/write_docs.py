"""Write the pages of `docs/` that are made from the code: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from ubr.domain.events import (
    Event,
    LogEntryRead,
    LogInFailed,
    LogKeyEvent,
    RoleEvent,
    SessionEvent,
    SigningKeyEvent,
    UserEvent,
    actions,
)
from ubr.entrypoints.http.openapi.document import described
from ubr.entrypoints.http.problems.catalogue import problems
from ubr.entrypoints.http.problems.pages import markdown
from ubr.entrypoints.http.problems.pages import pages as problem_pages
from ubr.settings import documentation

DOCS = Path(__file__).parents[1] / "docs"
PROBLEMS = DOCS / "problems"

_MADE = "<!-- made by `make docs` -->"
_END = "<!-- end -->"


def problems_page() -> str:
    """Every problem, by status and name."""
    rows = [
        f"| [`{problem.slug}`](problems/{problem.slug}.md) | {problem.status} | {problem.title} |"
        for problem in problems()
    ]
    return "\n".join(
        [
            "# Problems",
            "",
            "Every error is an `application/problem+json` (RFC 9457). Its `type` is `/problems/` and the name below;",
            "names do not change. `detail` describes the specific case, `errors` lists the invalid input, and",
            "`request_id` finds the request in the service's own log. The service shows each page below at that path.",
            "",
            "| name | status | title |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def actions_table() -> str:
    """Every action of the log, by name."""
    rows = [
        f"| `{action}` | {event.level} | {_about(event)} | {event.message} |"
        for action, event in sorted(actions().items())
    ]
    return "\n".join(["| action | level | about a | message |", "| --- | --- | --- | --- |", *rows])


def _about(event: type[Event]) -> str:
    """The type of its target; empty where it has none."""
    kinds = {
        UserEvent: "user",
        RoleEvent: "role",
        SessionEvent: "session",
        SigningKeyEvent: "signing key",
        LogKeyEvent: "key of the log",
        LogEntryRead: "log entry",
        LogInFailed: "user",
    }
    return next((name for kind, name in kinds.items() if issubclass(event, kind)), "")


def audit_page() -> str:
    """The page about the log, with the table of today."""
    page = (DOCS / "audit.md").read_text()
    before, begin, rest = page.partition(_MADE)
    _, end, after = rest.partition(_END)
    return f"{before}{begin}\n{actions_table()}\n{end}{after}"


def pages() -> dict[Path, str]:
    """The pages and what has to stand in them."""
    return {
        DOCS / "settings.md": documentation(),
        DOCS / "problems.md": problems_page(),
        DOCS / "audit.md": audit_page(),
        **{PROBLEMS / f"{slug}.md": markdown(page) for slug, page in problem_pages(described()).items()},
    }


def left_over() -> list[Path]:
    """Pages about problems that there are no more."""
    return sorted(set(PROBLEMS.glob("*")) - pages().keys())


if __name__ == "__main__":
    PROBLEMS.mkdir(exist_ok=True)
    for page, text in pages().items():
        page.write_text(text)
        sys.stdout.write(f"{page.name}\n")
    for page in left_over():
        page.unlink()
