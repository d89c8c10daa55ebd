"""Findings about an installation: the results of the checks of `ubr doctor`, some of which the console shows too."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    """It works, but less safely or less well than it could."""
    ERROR = "error"
    """The service does not start, does not do a part of its work, or does not protect its users."""
    NOT_CHECKED = "not checked"
    """An earlier error made the check impossible."""


SUBJECTS: Final = {
    "settings": "Every variable is known and readable, and no two contradict each other. The files that settings name "
    "can be used.",
    "secret": "`UBR_SECRET_KEY` is not an example or a pattern.",
    "addresses": "Issuer, public URL, return URL and CORS origins use `https`, except on this machine.",
    "proxies": "`UBR_TRUSTED_PROXIES` names no large public network.",
    "rate limits": "No rate limit is off.",
    "process": "The user is not root, and may open enough files for `UBR_MAX_CONNECTIONS`.",
    "files": "No other user can read the SQLite database or a secret, or replace the database. The disk is not full.",
    "database": "It is reachable and writable. A connection to another machine uses TLS. A pooler is announced in the "
    "URL.",
    "schema": "It is that of this version of ubr, in a supported PostgreSQL that is encoded as UTF-8.",
    "rights": "The role has the privileges that the service needs, and cannot change the audit log.",
    "clock": "The clocks of the database and of this machine agree.",
    "connections": "The database has enough connections for all workers.",
    "keys": "A key signs, and the secrets decrypt all keys in use and the password hashes of the oldest users.",
    "audit log": "Entries are signed in time, the log continues the checkpoint in `UBR_AUDIT_CHECKPOINT`, and the "
    "secrets decrypt its key.",
    "administrators": "An active administrator has the role without an end.",
    "machine keys": "Every key of a machine has an end and is used, and none ends soon without a successor.",
    "user fields": "Every user is found by every searchable field of `UBR_USER_FIELDS_FILE`.",
    "outbox": "No mail is overdue, and none was given up.",
    "backups": "In `UBR_BACKUP_DIR`, the newest backup is younger than `UBR_BACKUP_MAX_AGE`, one was verified in the "
    "last 8 days, and no manifest is damaged.",
    "redis": "It is reachable, supported and a primary, accepts the commands of ubr, and evicts nothing. A connection "
    "to another machine uses TLS.",
    "mail": "The mail server is reachable, uses TLS and accepts the login. With `--mail-to` it accepts a test mail.",
}
"""Everything that is checked, in the order of the report."""


class Finding(msgspec.Struct, frozen=True):
    """One line of the report. The sentence of a warning or an error also names the remedy. It contains no secret."""

    level: Level
    subject: str
    sentence: str

    def __post_init__(self) -> None:
        """Errors: `ValueError` for a subject that the documentation does not have."""
        if self.subject not in SUBJECTS:
            raise ValueError(f"{self.subject} is not a subject")


def ok(subject: str, sentence: str) -> Finding:
    return Finding(Level.OK, subject, sentence)


def warning(subject: str, sentence: str) -> Finding:
    return Finding(Level.WARNING, subject, sentence)


def error(subject: str, sentence: str) -> Finding:
    return Finding(Level.ERROR, subject, sentence)


def not_checked(why: str, *subjects: str) -> list[Finding]:
    return [Finding(Level.NOT_CHECKED, subject, f"not checked: {why}.") for subject in subjects]


def failed(findings: Iterable[Finding]) -> bool:
    """True if one of them is an error."""
    return count(findings, Level.ERROR) > 0


def count(findings: Iterable[Finding], level: Level) -> int:
    return sum(finding.level is level for finding in findings)


def or_ok(findings: list[Finding], subject: str, sentence: str) -> list[Finding]:
    """These findings; without any, that all is well with the subject."""
    return findings or [ok(subject, sentence)]


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """In the order of the subjects."""
    places = list(SUBJECTS)
    return sorted(findings, key=lambda finding: places.index(finding.subject))
