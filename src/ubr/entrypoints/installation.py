"""Findings about the state in the database: keys, audit log, administrators, machine keys, fields and outbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from ubr.application.audit.backlog import OVERDUE
from ubr.application.operations.initialize import LOCKED_HASHES
from ubr.application.operations.inspect_installation import ENDING, LOOKED_AT, UNUSED, InspectionResult
from ubr.entrypoints.findings import Finding, error, ok, or_ok, warning

_OLD: Final = timedelta(days=365)
"""The age of a signing key that calls for a rotation."""
_LATE: Final = timedelta(minutes=10)
"""A running service sends a due mail within seconds, unless the mail server is slow."""


def judged(state: InspectionResult, about_log: Sequence[Finding] = ()) -> list[Finding]:
    """The findings about a prepared installation, at least one about each subject.

    `about_log` are findings about the audit log that the database does not show.
    """
    return [
        *_of_keys(state),
        *_of_log(state, about_log),
        *_of_administrators(state),
        *_of_machine_keys(state),
        *_of_fields(state),
        *_of_outbox(state),
    ]


def _of_keys(state: InspectionResult) -> list[Finding]:
    found = [
        error(
            "keys",
            f"UBR_SECRET_KEY does not decrypt the signing key {kid}: append the secret that encrypted it, or, if that "
            f"is lost, run `ubr keys revoke --lost-secret {kid}`.",
        )
        for kid in state.keys.locked
    ]
    if state.locked_passwords:
        found.append(error("keys", f"{LOCKED_HASHES % (state.locked_passwords, state.passwords)}."))
    since = state.keys.since
    if since is not None and state.now - since > _OLD:
        found.append(warning("keys", f"The signing key is {(state.now - since).days} days old: run `ubr keys rotate`."))
    return or_ok(found, "keys", f"{state.keys.signing} signs, and the secrets decrypt every key in use.")


def _of_log(state: InspectionResult, more: Sequence[Finding]) -> list[Finding]:
    log = state.log
    found = []
    if log.damage is not None:
        found.append(error("audit log", f"{log.damage}: run `ubr audit verify`, and keep a copy of the database."))
    if log.locked is not None:
        found.append(
            error(
                "audit log",
                f"UBR_SECRET_KEY does not decrypt the key {log.locked}, which signs the log: append the secret that "
                "encrypted it, or, if that is lost, run `ubr audit rotate-key --lost-secret`.",
            )
        )
    if log.waiting_since is not None and (age := state.now - log.waiting_since) > OVERDUE:
        found.append(
            error(
                "audit log",
                f"{log.waiting} entries are not signed, the oldest for {age.total_seconds():.0f} s: start `ubr serve`, "
                "or read its log. Changes to these entries cannot be detected.",
            )
        )
    return or_ok(
        [*found, *more], "audit log", f"{log.size or 0} entries are signed, and {log.waiting} are about to be."
    )


def _of_administrators(state: InspectionResult) -> list[Finding]:
    if state.administrator:
        return [ok("administrators", "There is an active administrator without an end.")]
    return [error("administrators", "There is no active administrator without an end: run `ubr admin create`.")]


def _of_machine_keys(state: InspectionResult) -> list[Finding]:
    """A finding for each kind of key that needs a look. It names one key, so that the report stays short."""
    keys, found = state.machine_keys, []
    if keys.lasting:
        first = keys.lasting[0]
        found.append(
            warning(
                "machine keys",
                f"{len(keys.lasting)} keys have no end, such as {first.id} of {first.machine}: set "
                "UBR_MACHINE_KEY_MAX_LIFETIME, and replace them by `ubr machines rotate-key`.",
            )
        )
    if keys.unused:
        first = keys.unused[0]
        since = "never" if first.last_used_at is None else f"last at {_moment(first.last_used_at)}"
        found.append(
            warning(
                "machine keys",
                f"{len(keys.unused)} keys were not used for {UNUSED.days} days, such as {first.id} of {first.machine}, "
                f"{since}: revoke what is not needed by `ubr machines revoke-key`.",
            )
        )
    if keys.ending:
        first = min(keys.ending, key=lambda key: key.expires_at or state.now)
        end = _moment(first.expires_at or state.now)
        found.append(
            warning(
                "machine keys",
                f"{len(keys.ending)} keys end within {ENDING.days} days without a successor, the first at {end}: run "
                f"`ubr machines rotate-key {first.machine} {first.id}`.",
            )
        )
    return or_ok(found, "machine keys", f"{keys.accepted} keys are accepted, and none needs a look.")


def _of_fields(state: InspectionResult) -> list[Finding]:
    found = []
    if state.unindexed_fields:
        names = ", ".join(state.unindexed_fields)
        found.append(
            warning(
                "user fields",
                f"Not every user is indexed by {names}, so a search by it is refused: wait for `ubr serve`, which "
                "indexes them once no process has an earlier declaration, or run `ubr users index-fields`.",
            )
        )
    return or_ok(found, "user fields", "Users are found by every searchable field that is declared here.")


def _of_outbox(state: InspectionResult) -> list[Finding]:
    outbox = state.outbox
    found = []
    if outbox.given_up:
        found.append(
            warning(
                "outbox",
                f"{_number(outbox.given_up)} mails were given up: `ubr outbox list --given-up` shows the reasons, and "
                "`ubr outbox retry --all` sends them.",
            )
        )
    if outbox.due_since is not None and state.now - outbox.due_since > _LATE:
        found.append(
            warning(
                "outbox",
                f"A mail has been due since {_moment(outbox.due_since)}: start `ubr serve` with UBR_SMTP_URL, or read "
                "its log.",
            )
        )
    return or_ok(found, "outbox", f"{_number(outbox.waiting)} mails are queued, and none is overdue.")


def _number(count: int) -> str:
    return f"{count} or more" if count == LOOKED_AT else str(count)


def _moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
