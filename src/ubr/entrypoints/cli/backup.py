"""The commands about backups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from ubr.entrypoints.cli.options import lost_secret_option
from ubr.entrypoints.cli.output import ExitCode, Refused, moment, print_json, print_table
from ubr.settings import MEMORY, Settings, format_duration, parse_database_url, parse_duration, parse_place

if TYPE_CHECKING:
    from ubr.application.backups.list_backups import ListedBackups
    from ubr.application.backups.verify_backup import VerifiedBackup
    from ubr.application.ports.backups import Progress
    from ubr.bootstrap.backups import Backups

# Each command imports its dependencies when it runs, so that help and usage errors are fast.
# ruff: noqa: PLC0415


class _Parsed(click.ParamType[Any]):
    """A value in the form of a setting."""

    name = "text"

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


_PLACE: Final = _Parsed(parse_place)
_from_option: Final = click.option(
    "--from",
    "place",
    type=_PLACE,
    metavar="PLACE",
    help="The folder of the backups, or s3://bucket/prefix. Default: UBR_BACKUP_DIR.",
)
_max_age_option: Final = click.option(
    "--max-age",
    type=_Parsed(parse_duration),
    metavar="DURATION",
    help="Fail if the newest backup that is good is older, for instance than 26h.",
)
_MIB: Final = 1024 * 1024


@click.group()
def backup() -> None:
    """Create, verify and restore encrypted backups of the database.

    They are in UBR_BACKUP_DIR, a folder or a bucket of S3, encrypted with UBR_BACKUP_KEY. Without that key, and
    without UBR_SECRET_KEY, a backup is worthless: keep both elsewhere.
    """


@backup.command()
@click.option(
    "--to", "place", type=_PLACE, metavar="PLACE", help="A folder, or s3://bucket/prefix. Default: UBR_BACKUP_DIR."
)
def create(*, place: str | None) -> None:
    """Back up the database while the service runs, and print the name of the backup."""
    settings = Settings.from_env(secret=False)
    if settings.database_url == MEMORY:
        raise Refused("UBR_DATABASE_URL is memory:, which nothing can be restored into.", ExitCode.USAGE)
    import asyncio

    with _explained(), _progress() as progress:
        made = asyncio.run(_backups(settings, place).create()(progress))
    click.echo(made.name)


@backup.command("list")
@_from_option
@_max_age_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the manifest of each backup.")
def list_backups(*, place: str | None, max_age: timedelta | None, as_json: bool) -> None:
    """Show every complete backup, oldest first. A damaged or foreign manifest is named, and the exit code is 1.

    "verified" is the moment of its newest successful verification.
    """
    with _explained():
        backups = _backups(Settings.from_env(secret=False), place)
        listed = backups.list()()
    if as_json:
        print_json(listed.manifests)
    else:
        _show(listed)
    age = backups.clock() - listed.manifests[-1].began if listed.manifests else None
    _refuse((*listed.unreadable, *_too_old(age, max_age)))


@backup.command()
@click.argument("name", required=False)
@_from_option
@_max_age_option
@click.option(
    "--on",
    "server",
    metavar="DATABASE_URL",
    help="A database on the PostgreSQL server for the rehearsal. Default: that of the settings. The password may be "
    "left to PGPASSWORD or ~/.pgpass.",
)
def verify(*, name: str | None, place: str | None, max_age: timedelta | None, server: str | None) -> None:
    """Restore the backup NAME, by default the newest, into a database made for this, and check it.

    Checks the file, the rows, tables and constraints, the audit log with its checkpoint, and that UBR_SECRET_KEY
    decrypts the keys. Prints the recovery time and the age of the backup. On any finding the exit code is 1.
    """
    settings = _with_secret()
    on = None if server is None else _url(server, "--on")
    if on is not None and not on.startswith("postgresql"):
        raise click.UsageError("--on must begin with postgresql://")
    import asyncio

    with _explained(), _progress() as progress:
        found = asyncio.run(_backups(settings, place).verify(on)(name, progress))
    _report(found)
    _refuse(_too_old(found.age, max_age))


@backup.command()
@click.argument("name")
@_from_option
@click.option(
    "--to",
    "target",
    required=True,
    metavar="DATABASE_URL",
    help="An empty database: a file that does not exist, or a PostgreSQL database without the tables. The password may "
    "be left to PGPASSWORD or ~/.pgpass.",
)
@click.option(
    "--checkpoint",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The newest saved checkpoint of the audit log. Default: UBR_AUDIT_CHECKPOINT.",
)
@lost_secret_option
def restore(*, name: str, place: str | None, target: str, checkpoint: Path | None, lost_secret: bool) -> None:
    """Restore the backup NAME into an empty database, and end what must not live on.

    Checks the whole backup before it writes. Afterwards it does what `ubr after-restore` does: ends all sessions,
    revokes all signing keys, and continues the audit log under a new name and key, which is printed.
    """
    settings = _with_secret()
    url = _url(target, "--to")
    if checkpoint is None and settings.audit_checkpoint is not None and Path(settings.audit_checkpoint).exists():
        checkpoint = Path(settings.audit_checkpoint)
    import asyncio

    from ubr.application.backups.restore_backup import NotAcknowledged
    from ubr.application.operations.acknowledge_restore import AcknowledgeRestoreCommand
    from ubr.bootstrap.backups import restored
    from ubr.entrypoints.cli.audit import note_in

    command = AcknowledgeRestoreCommand(
        checkpoint=None if checkpoint is None else note_in(checkpoint), lost_secret=lost_secret
    )
    try:
        with _explained(), _progress() as progress:
            manifest, done = asyncio.run(_backups(settings, place).restore()(name, restored(url), command, progress))
    except NotAcknowledged as error:
        raise Refused(
            f"The backup is restored, but its sessions are still valid, because the last step failed: {error}. Set "
            "UBR_DATABASE_URL to this database, correct this, and run `ubr after-restore` before you start the service."
        ) from None
    click.echo(f"Restored the database as it was at {moment(manifest.began)}. Sessions ended: {done.sessions}.")
    click.echo(f"The log's new signing key is\n{done.key}")
    if checkpoint is None:
        click.echo(
            "No saved checkpoint was given. If there is a later one, also run `ubr after-restore --checkpoint FILE`.",
            err=True,
        )
    click.echo(
        "Next: set UBR_DATABASE_URL to this database, run `ubr migrate`, replace the saved checkpoint with "
        "`ubr audit checkpoint --output FILE`, and start the service.",
        err=True,
    )


@backup.command()
@_from_option
@click.option("--keep", type=click.IntRange(min=1), required=True, metavar="N", help="The number of backups to keep.")
def prune(*, place: str | None, keep: int) -> None:
    """Delete all backups except the newest N. A damaged or foreign backup is not counted, and stays.

    One that Object Lock protects stays too, until a later call. Also deletes what killed processes left.
    """
    with _explained():
        done = _backups(Settings.from_env(secret=False), place).prune()(keep)
    for name in done.removed:
        click.echo(f"Deleted {name}.")
    for sentence in done.protected:
        click.echo(f"{sentence}.")
    _refuse(done.unreadable)


# --- shared functions ------------------------------------------------------------------------------------------------


def _backups(settings: Settings, place: str | None) -> Backups:
    from ubr.bootstrap.backups import Backups

    chosen = place or settings.backup_dir
    if chosen is None:
        raise Refused("Set UBR_BACKUP_DIR to the place of the backups, or name it as an option.", ExitCode.USAGE)
    if settings.backup_key is None:
        raise Refused(
            "Set UBR_BACKUP_KEY, which encrypts backups: 32 bytes or more, for instance the output of "
            "`openssl rand -hex 32`.",
            ExitCode.USAGE,
        )
    return Backups.of(settings, chosen)


def _with_secret() -> Settings:
    settings = Settings.from_env()
    if not settings.secret_keys:
        raise Refused(
            "There is no secret to decrypt the keys in the backup: put back the file var/secret_key of the "
            "installation, or set UBR_SECRET_KEY.",
            ExitCode.USAGE,
        )
    return settings


def _url(raw: str, option: str) -> str:
    try:
        url = parse_database_url(raw)
    except ValueError as error:
        raise click.UsageError(f"{option} {error}") from None
    if url == MEMORY:
        raise click.UsageError(f"{option} must not be memory:, which ends with this process.")
    return url


def _refuse(sentences: tuple[str, ...]) -> None:
    if sentences:
        raise Refused("\n".join(f"{sentence}." for sentence in sentences))


def _too_old(age: timedelta | None, most: timedelta | None) -> tuple[str, ...]:
    if most is None or (age is not None and age <= most):
        return ()
    if age is None:
        return ("There is no good backup in this place",)
    return (f"The newest good backup is {_age(age)} old, and must be at most {format_duration(most)} old",)


def _show(listed: ListedBackups) -> None:
    names = ("name", "began", "verified", "MiB", "database", "users", "ubr")
    rows = (
        (
            each.name,
            moment(each.began),
            moment(listed.verified[each.name].at) if each.name in listed.verified else "never",
            f"{each.size / _MIB:.1f}",
            f"{each.database.kind} {each.database.server}",
            str(each.database.rows.get("users", 0)),
            each.ubr,
        )
        for each in listed.manifests
    )
    print_table(names, rows, whole=names, width=180)


def _report(found: VerifiedBackup) -> None:
    rows = found.manifest.database.rows
    click.echo(f"{found.manifest.name} can be restored.")
    click.echo(
        f"Users: {rows.get('users', 0)}, sessions: {rows.get('sessions', 0)}, roles: {rows.get('roles', 0)}. "
        f"Entries of the audit log that match their signatures: {found.entries}."
    )
    click.echo(f"Recovery time (RTO): {found.took.total_seconds():.1f} s, with all checks.")
    click.echo(f"Age of the backup (RPO): {_age(found.age)}.")
    if found.not_noted is not None:
        click.echo(f"The verification is not noted in the backup. {found.not_noted}.", err=True)


def _age(age: timedelta) -> str:
    seconds = max(0, round(age.total_seconds()))
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    parts = (f"{days} d" * bool(days), f"{hours} h" * bool(hours), f"{rest // 60} min")
    return " ".join(filter(None, parts)) if seconds >= 60 else f"{seconds} s"  # noqa: PLR2004 - a minute


@contextmanager
def _explained() -> Iterator[None]:
    from ubr.application.ports.backups import BackupFailed

    try:
        yield
    except BackupFailed as error:
        raise Refused(f"{error}.") from None


@contextmanager
def _progress() -> Iterator[Progress]:
    """The current step with its progress on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda step, done, of: bar.update(task, description=step, completed=done, total=of)
