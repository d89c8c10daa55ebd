"""The age of the newest backup, and of its verification."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from ubr.application.ports.backups import BackupFailed
from ubr.bootstrap.backups import Backups
from ubr.entrypoints.cli.output import moment
from ubr.entrypoints.findings import Finding, error, ok, or_ok, warning
from ubr.settings import Settings, format_duration

if TYPE_CHECKING:
    from ubr.application.backups.list_backups import ListedBackups

UNPROVED: Final = timedelta(days=8)
"""The age of the newest verification from which on the backups count as unproved: a week, and a day of margin."""


async def check_backups(settings: Settings) -> list[Finding]:
    if settings.backup_dir is None:
        return [ok("backups", "UBR_BACKUP_DIR is not set here, so the age of the backups is not known.")]
    if settings.backup_key is None:
        return [
            warning(
                "backups",
                "UBR_BACKUP_DIR is set without UBR_BACKUP_KEY, which authenticates the backups: set both for this "
                "command, or none.",
            )
        ]
    try:
        backups = await asyncio.to_thread(Backups.of, settings, settings.backup_dir, hurried=True)
        listed = await asyncio.to_thread(backups.list())
    except BackupFailed as failed:
        return [error("backups", f"{failed}.")]
    return _findings(listed, backups.clock(), settings.backup_max_age)


def _findings(listed: ListedBackups, now: datetime, most: timedelta) -> list[Finding]:
    found = [error("backups", f"{sentence}.") for sentence in listed.unreadable]
    if not listed.manifests:
        return [*found, error("backups", "There is no backup: run `ubr backup create`.")]
    newest = listed.manifests[-1]
    if now - newest.began > most:
        found.append(
            warning(
                "backups",
                f"The newest backup is of {moment(newest.began)}, longer ago than UBR_BACKUP_MAX_AGE "
                f"({format_duration(most)}): look why `ubr backup create` does not run.",
            )
        )
    proved = max((each.at for each in listed.verified.values()), default=None)
    if proved is None or now - proved > UNPROVED:
        when = "No backup was ever verified" if proved is None else f"The last backup was verified at {moment(proved)}"
        found.append(warning("backups", f"{when}: run `ubr backup verify` every day."))
        return found
    good = f"The newest is of {moment(newest.began)}, and the last verification was at {moment(proved)}."
    return or_ok(found, "backups", good)
