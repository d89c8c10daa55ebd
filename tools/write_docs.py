"""Write the pages of `docs/`, the files of `deploy/` and the public names that are made from the code: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from tools import monitoring, public_names
from tools.rooms import pictures
from ubr.domain.events import (
    Event,
    IdempotencyKeyMismatched,
    LogEntryRead,
    LogInFailed,
    LogInLocked,
    LogKeyEvent,
    MachineTokenRefused,
    NoSessionRevoked,
    RoleEvent,
    SessionEvent,
    SigningKeyEvent,
    UserEvent,
    VerifierRegistered,
    actions,
)
from ubr.domain.roles.permissions import MEANINGS
from ubr.entrypoints.findings import SUBJECTS
from ubr.entrypoints.http.log_fields import FIELDS
from ubr.entrypoints.http.metrics.alerts import ALERTS
from ubr.entrypoints.http.metrics.objectives import OBJECTIVES
from ubr.entrypoints.http.metrics.registry import METRICS, ROUTES
from ubr.entrypoints.http.openapi.document import described
from ubr.entrypoints.http.problems.catalogue import problems
from ubr.entrypoints.http.problems.pages import markdown
from ubr.entrypoints.http.problems.pages import pages as problem_pages
from ubr.settings import documentation

DOCS = Path(__file__).parents[1] / "docs"
PROBLEMS = DOCS / "problems"

_MADE = "<!-- {name}made by `make docs` -->"
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
    kinds: dict[type[Event], str] = {
        UserEvent: "user",
        RoleEvent: "role",
        SessionEvent: "session",
        SigningKeyEvent: "signing key",
        LogKeyEvent: "key of the log",
        LogEntryRead: "log entry",
        LogInFailed: "user",
        VerifierRegistered: "user",
        LogInLocked: "user",
        NoSessionRevoked: "user",
        MachineTokenRefused: "user",
        IdempotencyKeyMismatched: "user",
    }
    return next((name for kind, name in kinds.items() if issubclass(event, kind)), "")


def filled(page: str, made: str, name: str = "") -> str:
    """A page with a made part in its place, which bears a name where the page has several."""
    begin = _MADE.format(name=f"{name}: " if name else "")
    before, found, rest = page.partition(begin)
    if not found:
        raise ValueError(f"The page has no place {begin}")
    return f"{before}{begin}\n{made}\n{_END}{rest.partition(_END)[2]}"


def permissions_table() -> str:
    """Every built-in permission, with what it allows."""
    rows = [f"| `{permission}` | {meaning} |" for permission, meaning in MEANINGS.items()]
    return "\n".join(["| permission | allows to |", "| --- | --- |", *rows])


def permissions_page() -> str:
    """The page about permissions, with the table of the built-in ones."""
    return filled((DOCS / "permissions.md").read_text(), permissions_table())


def doctor_page() -> str:
    """The page about the doctor, with the table of its checks."""
    rows = [f"| {subject} | {checked} |" for subject, checked in SUBJECTS.items()]
    return filled(
        (DOCS / "doctor.md").read_text(), "\n".join(["| subject | what is checked |", "| --- | --- |", *rows])
    )


def audit_page() -> str:
    """The page about the audit log, with the table of its actions."""
    return filled((DOCS / "audit.md").read_text(), actions_table())


def architecture_page() -> str:
    """The page about the rooms, with their pictures."""
    page = (DOCS / "architecture.md").read_text()
    for name, picture in pictures().items():
        page = filled(page, picture, name)
    return page


def metrics_page() -> str:
    """The page on metrics, with its tables."""
    page = (DOCS / "metrics.md").read_text()
    parts = {"objectives": objectives_table, "alerts": alerts_table, "metrics": metrics_table, "labels": labels_table}
    for name, made in parts.items():
        page = filled(page, made(), name)
    return page


def objectives_table() -> str:
    """Every service level objective."""
    rows = [f"| {objective.title} | {objective.target:.1%} | {objective.meaning} |" for objective in OBJECTIVES]
    return "\n".join(["| objective | in 30 days | good events among all |", "| --- | --- | --- |", *rows])


def alerts_table() -> str:
    """Every alert by name, with its severities and a link to its runbook."""
    severities: dict[str, list[str]] = {}
    for alert in ALERTS:
        severities.setdefault(alert.name, []).append(alert.severity)
    rows = [
        f"| [`{name}`](runbooks/{name}.md) | {', '.join(found)} | "
        f"{next(alert for alert in ALERTS if alert.name == name).meaning} |"
        for name, found in severities.items()
    ]
    return "\n".join(["| alert | severity | meaning |", "| --- | --- | --- |", *rows])


def metrics_table() -> str:
    """Every metric, in the order of the answer."""
    rows = [
        f"| `{metric.name}` | {metric.kind.value} | {metric.unit} | "
        f"{', '.join(f'`{label.name}`' for label in metric.labels)} | {metric.meaning} | {metric.source.value} |"
        for metric in METRICS
    ]
    head = ["| name | kind | unit | labels | meaning | value |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def labels_table() -> str:
    """Every label, with its values. Those of the route are in the OpenAPI document."""
    labels = {label.name: label for metric in METRICS for label in metric.labels}
    rows = []
    for label in labels.values():
        values = () if label is ROUTES else label.values
        rows.append(f"| `{label.name}` | {label.meaning} | {', '.join(f'`{value}`' for value in values)} |")
    return "\n".join(["| label | meaning | values |", "| --- | --- | --- |", *rows])


def logs_page() -> str:
    """The page about the log of the service, with the table of its fields."""
    rows = [f"| `{field.name}` | {field.presence.value} | {field.meaning} |" for field in FIELDS]
    table = "\n".join(["| field | in | meaning |", "| --- | --- | --- |", *rows])
    return filled((DOCS / "operations" / "logs.md").read_text(), table)


def pages() -> dict[Path, str]:
    """The pages and what has to stand in them."""
    return {
        DOCS / "metrics.md": metrics_page(),
        DOCS / "operations" / "logs.md": logs_page(),
        DOCS / "settings.md": documentation(),
        DOCS / "problems.md": problems_page(),
        DOCS / "audit.md": audit_page(),
        DOCS / "doctor.md": doctor_page(),
        DOCS / "permissions.md": permissions_page(),
        DOCS / "architecture.md": architecture_page(),
        public_names.STUB: public_names.stub(),
        **monitoring.files(),
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
