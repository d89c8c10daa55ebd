"""The command `ubr upgrade-check`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import rich_click as click

from ubr.entrypoints.cli.output import ExitCode, print_json, print_lines, print_table
from ubr.settings import DATABASE_FILE, Settings

if TYPE_CHECKING:
    from ubr.adapters.sql.migrations.preview import LockedTable, PendingMigration, Preview

# The command imports its dependencies when it runs, so that help and usage errors are fast.
# ruff: noqa: PLC0415

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024
_WAIT: Final = 10
_BACKUP: Final = 24


@click.command("upgrade-check")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--max-wait",
    type=click.IntRange(min=0),
    default=_WAIT,
    show_default=True,
    metavar="SECONDS",
    help="Maximum time that requests may wait for a locked table, as estimated.",
)
@click.option(
    "--backup-within",
    type=click.IntRange(min=1),
    default=_BACKUP,
    show_default=True,
    metavar="HOURS",
    help="Maximum age of the newest backup in UBR_BACKUP_DIR.",
)
@click.pass_context
def upgrade_check(context: click.Context, *, as_json: bool, max_wait: int, backup_within: int) -> None:
    """Compare the database with this version of ubr, before `ubr migrate`.

    Shows the pending migrations, the size of the tables that they lock, and whether the running version can stay up
    meanwhile. Changes nothing, and locks nothing. Run it with the new version and the environment of the service.

    Exit codes: 0 the upgrade can run while the service runs; 1 something has to be done first; 2 wrong usage, or a
    setting that this version does not accept.
    """
    settings = Settings.from_env()
    import asyncio

    from ubr.bootstrap import upgrade_preview
    from ubr.entrypoints.cli.starting import lasting

    if settings.embedded and not DATABASE_FILE.exists():
        found = None
    else:
        lasting(settings)
        found = asyncio.run(upgrade_preview(settings))
    pending = found.pending if found is not None and found.revision is not None else ()
    todo = [] if found is None or not pending else [*_before(found, max_wait), *_backup(settings, backup_within)]
    if as_json:
        print_json(
            {
                "revision": None if found is None else found.revision,
                "newest": None if found is None else found.newest,
                "pending": pending,
                "first": todo,
            }
        )
    else:
        _print(found, pending, todo)
    context.exit(ExitCode.FAILED if todo else ExitCode.OK)


def _before(preview: Preview, max_wait: int) -> Iterator[str]:
    """The steps before `ubr migrate`, as sentences."""
    breaking = [each.revision for each in preview.pending if not each.rolling]
    if breaking:
        yield (
            f"Stop the service before `ubr migrate`: the running version does not work with {', '.join(breaking)}. "
            "Start the new version afterwards."
        )
    elif not preview.postgresql:
        yield "Stop the service before `ubr migrate`: SQLite locks the whole file, and every change would wait."
    else:
        waits = sum(each.seconds for migration in preview.pending for each in migration.tables)
        if waits > max_wait:
            yield (
                f"Requests may wait about {waits} s for locked tables: run `ubr migrate` at a quiet time, with the "
                "service stopped, or accept this with --max-wait."
            )


def _backup(settings: Settings, hours: int) -> Iterator[str]:
    """A sentence if the newest backup is too old. Without settings of backups nothing is known about them."""
    if settings.backup_dir is None or settings.backup_key is None:
        return
    from ubr.adapters.security.system import utc_now
    from ubr.application.ports.backups import BackupFailed
    from ubr.bootstrap.backups import Backups

    try:
        manifests = Backups.of(settings, settings.backup_dir).list()().manifests
    except BackupFailed as error:
        yield f"Make a backup with `ubr backup create`: {error}."
        return
    newest: datetime | None = max((manifest.ended for manifest in manifests), default=None)
    if newest is None:
        yield "Make a backup with `ubr backup create`: there is none in UBR_BACKUP_DIR."
    elif (age := utc_now() - newest) > timedelta(hours=hours):
        yield f"Make a backup with `ubr backup create`: the newest one is {age // timedelta(hours=1)} hours old."


def _print(found: Preview | None, pending: tuple[PendingMigration, ...], todo: list[str]) -> None:
    if found is None or found.revision is None:
        print_lines(["There are no tables yet: `ubr migrate` creates them."])
        return
    if not pending:
        print_lines([f"The schema is up to date, at revision {found.revision}."])
        return
    print_lines([f"The database is at revision {found.revision}, this version of ubr has {found.newest}."])
    print_table(("migration", "running version", "locks"), [_row(each) for each in pending], whole=("migration",))
    print_lines(todo or ["`ubr migrate` can run while the service runs. Afterwards replace the instances in turn."])


def _row(migration: PendingMigration) -> tuple[str, str, str]:
    works = "can stay up" if migration.rolling else "has to be stopped"
    return migration.revision, works, "; ".join(_lock(each) for each in migration.tables) or "none"


def _lock(table: LockedTable) -> str:
    duration = f"about {table.seconds} s" if table.seconds else "a moment"
    return f"{table.name} ({_size(table.size)}): {table.blocks} wait {duration}"


def _size(count: int) -> str:
    number, unit = float(count), 0
    while number >= _STEP and unit < len(_UNITS) - 1:
        number, unit = number / _STEP, unit + 1
    return f"{number:.3g} {_UNITS[unit]}"
