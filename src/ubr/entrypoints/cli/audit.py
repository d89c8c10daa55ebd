"""The commands about the audit log and after a restore."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import rich_click as click

from ubr.entrypoints.cli.options import lost_secret_option
from ubr.entrypoints.cli.output import ExitCode, Refused, moment, written
from ubr.settings import Settings, parse_duration

if TYPE_CHECKING:
    from ubr.application.audit.verify_log import Progress, VerifiedLogResult
    from ubr.domain.audit.checkpoint import Note, NoteKey

# Each command imports its dependencies when it runs, so that help and usage errors are fast.
# ruff: noqa: PLC0415

T = TypeVar("T")

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def audit() -> None:
    """Manage the audit log: verify it, sign checkpoints, export it, prune old entries."""


@audit.command()
@click.argument("export", type=_FILE, required=False)
@click.option(
    "--checkpoint", type=_FILE, multiple=True, help="A checkpoint saved outside the database. May be repeated."
)
@click.option("--key", type=_FILE, help="The key to trust. Default: the keys that the log itself names.")
def verify(*, export: Path | None, checkpoint: tuple[Path, ...], key: Path | None) -> None:
    """Verify every audit log entry against its signatures.

    Reads the database, or the file EXPORT from `ubr audit export`. Needs no secret. Also compares the checkpoint in
    UBR_AUDIT_CHECKPOINT, and the administrators and signing keys in the database with their entries. On a mismatch, or
    if an entry has been waiting to be signed for more than a minute, it prints one sentence and exits with 1.
    """
    from ubr.audit_verifier import read_keys, read_note, report

    keys = [] if key is None else _opened(key, read_keys)
    notes = [_opened(path, read_note) for path in checkpoint]
    found = _verify_export(export, keys, notes) if export is not None else _verify_database(keys, notes)
    if found.finding is not None:
        raise Refused(f"{found.finding}.")
    for line in report(
        found.size,
        pruned=found.pruned,
        checkpoints=found.checkpoints,
        unsigned=found.unsigned,
        signer=found.signer,
        trusted=bool(keys),
        restores=found.restores,
    ):
        click.echo(line)
    for sentence in found.unexplained:
        click.echo(f"{sentence}. That entry may have been pruned: check this by hand.")
    if found.waiting:
        since = "" if found.waiting_since is None else f", the oldest since {moment(found.waiting_since)}"
        click.echo(f"Not signed yet: {found.waiting}{since}.")


@audit.command()
@click.option(
    "--output",
    metavar="FILE",
    help="Write to this file, or s3://bucket/name, replacing an older checkpoint that it continues.",
)
def checkpoint(*, output: str | None) -> None:
    """Print the newest checkpoint: the size of the log and the signed root of its tree.

    Keep it where no one with write access to the database can write. An existing file is replaced only if the log
    continues it: otherwise the log was truncated, rolled back or forked, and the exit code is 1. After a restore that
    names the existing checkpoint, the earlier file is kept beside the new one. In S3, earlier checkpoints are earlier
    versions of the object: let the bucket keep and lock them.
    """
    settings = Settings.from_env()
    if output is not None and output.startswith("s3://"):
        _run(_checkpoint_in_s3(settings, output))
        click.echo(f"Wrote {output}.", err=True)
    else:
        _checkpoint_in_file(settings, Path(output) if output else None)


def _checkpoint_in_file(settings: Settings, output: Path | None) -> None:
    kept = note_in(output) if output is not None and output.exists() else None
    note = _run(_checkpoint(settings, kept))
    if output is None:
        click.echo(note, nl=False)
    else:
        if kept is not None and _origin(kept) != _origin(note):
            aside = _put_aside(output, kept)
            click.echo(f"The log was restored since. The earlier checkpoint is kept as {aside}.", err=True)
        with written(output) as file:
            file.write(note)
        click.echo(f"Wrote {output}.", err=True)


@audit.command()
@click.option("--output", type=_FILE, help="Write to this file instead of standard output.")
def export(*, output: Path | None) -> None:
    """Export the whole log as lines of JSON, which `ubr audit verify` checks without the database.

    The export is recorded in the log.
    """
    settings = Settings.from_env()
    with written(output, private=True) as file, _progress("exported") as progress:
        result = _run(_export(settings, file, progress))
    click.echo(f"Exported {result} entries.", err=True)


@audit.command()
@click.option("--before", metavar="DATE", help="Prune entries written before this day (UTC), such as 2026-01-31.")
@click.option("--keep", metavar="DURATION", help="Prune entries older than this duration, such as 365d.")
@click.option("--force", is_flag=True, help="Allow the pruning of entries of the last 30 days.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def prune(*, before: str | None, keep: str | None, force: bool, yes: bool) -> None:
    """Delete the content of old entries permanently. Their hashes stay, so the rest still verifies.

    On PostgreSQL it uses the role of UBR_MIGRATION_DATABASE_URL, if set. The pruning is recorded in the log. Entries of
    the last 30 days stay unless --force is given.
    """
    if (before is None) == (keep is None):
        raise click.UsageError("Use either --before or --keep.")
    until = _moment(before, keep)
    settings = Settings.from_env()
    if not yes:
        click.confirm(f"Delete the content of all entries before {moment(until)}?", abort=True)
    with _progress("pruned") as progress:
        result = _run(_prune(settings, until, progress, force=force))
    click.echo(f"Deleted the content of {result} entries.")


@audit.command()
def key() -> None:
    """Print the log's public signing key, for `--key`. Earlier keys go to standard error."""
    settings = Settings.from_env()
    newest, *earlier = _run(_keys(settings))
    for one in earlier:
        click.echo(f"earlier: {one}", err=True)
    click.echo(newest)


@audit.command("rotate-key")
@lost_secret_option
def rotate_key(*, lost_secret: bool) -> None:
    """Replace the log's signing key with a new one, and print its public half.

    Both keys sign the first checkpoint over the change: verifiers that trust the current key can trust the new one.
    The command is refused if UBR_SECRET_KEY does not decrypt the current key.
    """
    click.echo(_run(_rotate_key(Settings.from_env(), lost_secret=lost_secret)))


@click.command("after-restore")
@click.option("--checkpoint", type=_FILE, help="The newest saved checkpoint. Default: UBR_AUDIT_CHECKPOINT.")
@lost_secret_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def after_restore(*, checkpoint: Path | None, lost_secret: bool, yes: bool) -> None:
    """Acknowledge that the database was restored to an earlier state. Stop every instance first.

    Ends all sessions, revokes all signing keys, and continues the log under a new name and key, which are printed:
    give the new key to everyone who verifies the log. The command is refused if UBR_SECRET_KEY decrypts none of the
    keys in use.
    """
    settings = Settings.from_env()
    if checkpoint is None and settings.audit_checkpoint is not None and Path(settings.audit_checkpoint).exists():
        checkpoint = Path(settings.audit_checkpoint)
    note = None if checkpoint is None else note_in(checkpoint)
    if not yes:
        click.confirm("End every session and revoke every signing key?", abort=True)
    click.echo(_run(_after_restore(settings, note, lost_secret=lost_secret)))
    if note is None:
        click.echo(
            "No earlier checkpoint was given, so the entry names the one of the database. The log will not continue a "
            "later checkpoint that was saved elsewhere.",
            err=True,
        )


# --- the same with an application ------------------------------------------------------------------------------------


def _verify_database(keys: list[NoteKey], notes: list[Note]) -> VerifiedLogResult:
    from ubr.audit_verifier import read_note

    settings = Settings.from_env(secret=False)
    kept = Path(settings.audit_checkpoint or "")
    if settings.audit_checkpoint is not None and kept.exists():
        notes = [*notes, _opened(kept, read_note)]
    return _run(_verify(settings, keys, notes))


async def _verify(settings: Settings, keys: list[NoteKey], notes: list[Note]) -> VerifiedLogResult:
    from ubr.application.audit.verify_log import VerifyLogCommand
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    command = VerifyLogCommand(keys=tuple(map(str, keys)), checkpoints=tuple(map(str, notes)))
    async with opened(settings, prepared=False, following=False) as ubr:
        with _progress("verified") as progress:
            return await ubr.verify_log(command, actor=SYSTEM, progress=progress)


def _verify_export(export: Path, keys: list[NoteKey], notes: list[Note]) -> VerifiedLogResult:
    from ubr.application.audit.verify_log import finding_result, verified_result
    from ubr.audit_verifier import NotAnExport, check_export
    from ubr.domain.audit.checkpoint import BadNote
    from ubr.domain.audit.log_check import Tampered

    try:
        with (
            export.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines,
            _progress("verified") as progress,
        ):
            return verified_result(check_export(lines, keys=keys, against=notes, progress=progress))
    except OSError as error:
        raise Refused(f"{export} cannot be read: {error.strerror}.", ExitCode.USAGE) from None
    except NotAnExport as error:
        raise Refused(f"{error}.", ExitCode.USAGE) from None
    except BadNote as error:
        raise Refused(f"A checkpoint {error}.", ExitCode.USAGE) from None
    except Tampered as found:
        return finding_result(found, 0)


async def _checkpoint(settings: Settings, kept: str | None) -> str:
    from ubr.application.audit.compare_checkpoint import CompareCheckpointCommand
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        if kept is None:
            return (await ubr.get_checkpoint(actor=SYSTEM)).note
        return (await ubr.compare_checkpoint(CompareCheckpointCommand(checkpoint=kept), actor=SYSTEM)).note


async def _checkpoint_in_s3(settings: Settings, url: str) -> None:
    """Errors: `Refused` if S3 does not have the object, or its content is not a checkpoint."""
    from ubr.adapters.aws.credentials import NoCredentials
    from ubr.adapters.aws.objects import ObjectFailed, S3Object, read_object, write_object
    from ubr.domain.audit.checkpoint import BadNote, Note

    try:
        place = S3Object.parsed(url)
    except ValueError as error:
        raise Refused(f"--output {error}.", ExitCode.USAGE) from None
    try:
        content = await read_object(place)
        kept = content.decode() if content is not None else None
        if kept is not None:
            Note.parse(kept)
        note = await _checkpoint(settings, kept)
        if note != kept:
            await write_object(place, note.encode())
    except (BadNote, UnicodeDecodeError):
        raise Refused(f"{place} is not a checkpoint.", ExitCode.USAGE) from None
    except ObjectFailed as error:
        raise Refused(f"{error}.") from None
    except NoCredentials as error:
        raise Refused(f"AWS: {error}.") from None


async def _export(settings: Settings, file: IO[str], progress: Progress) -> int:
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings) as ubr:
        return (await ubr.export_log(file.write, actor=SYSTEM, progress=progress)).size


async def _prune(settings: Settings, before: datetime, progress: Progress, *, force: bool) -> int:
    from ubr.application.audit.prune_log import PruneLogCommand
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(replace(settings, database_url=settings.owner_url)) as ubr:
        command = PruneLogCommand(before=before, force=force)
        return (await ubr.prune_log(command, actor=SYSTEM, progress=progress)).entries


async def _keys(settings: Settings) -> list[str]:
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings) as ubr:
        return [known.key for known in await ubr.list_log_keys(actor=SYSTEM)]


async def _rotate_key(settings: Settings, *, lost_secret: bool) -> str:
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        return (await ubr.rotate_log_key(actor=SYSTEM, lost_secret=lost_secret)).key


async def _after_restore(settings: Settings, note: str | None, *, lost_secret: bool) -> str:
    from ubr.application.operations.acknowledge_restore import AcknowledgeRestoreCommand
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False, following=False) as ubr:
        command = AcknowledgeRestoreCommand(checkpoint=note, lost_secret=lost_secret)
        settled = await ubr.acknowledge_restore(command, actor=SYSTEM)
    ended = "1 session" if settled.sessions == 1 else f"{settled.sessions} sessions"
    return f"Ended {ended}. The log's new signing key is\n{settled.key}"


# --- shared functions ------------------------------------------------------------------------------------------------


def _run(doing: Coroutine[Any, Any, T]) -> T:
    import asyncio

    return asyncio.run(doing)


def _moment(before: str | None, keep: str | None) -> datetime:
    try:
        if keep is not None:
            from ubr.adapters.security.system import utc_now

            return utc_now() - parse_duration(keep)
        return datetime.combine(date.fromisoformat(before or ""), time(), UTC)
    except (ValueError, OverflowError):
        raise click.UsageError("--before takes a day such as 2026-01-31, --keep a duration such as 365d.") from None


def _opened(path: Path, read: Callable[[Path], T]) -> T:
    from ubr.domain.audit.checkpoint import BadNote

    try:
        return read(path)
    except BadNote as error:
        raise Refused(f"{path} {error}.", ExitCode.USAGE) from None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.", ExitCode.USAGE) from None


def note_in(path: Path) -> str:
    """The checkpoint in a file. Errors: `Refused`."""
    from ubr.audit_verifier import read_note

    return str(_opened(path, read_note))


def _origin(note: str) -> str:
    from ubr.domain.audit.checkpoint import Checkpoint, Note

    return Checkpoint.of(Note.parse(note)).origin


def _put_aside(output: Path, kept: str) -> Path:
    """Keep the content of a file that will be replaced, in a new file beside it."""
    from ubr.domain.audit.checkpoint import Checkpoint, Note

    before, place = Checkpoint.of(Note.parse(kept)), output.resolve()
    name = re.sub(r"[^A-Za-z0-9.-]", "-", before.origin.rpartition("/")[2])
    for number in count():
        aside = place.with_name(f"{place.name}.{name}-{before.size}{f'.{number}' if number else ''}")
        try:
            with aside.open("x", encoding="utf-8") as file:
                file.write(kept)
        except FileExistsError:
            continue
        except OSError as error:
            raise Refused(f"Cannot write to {aside}: {error.strerror}.") from None
        return aside
    raise AssertionError("the numbers do not end")


@contextmanager
def _progress(what: str) -> Iterator[Any]:
    """A progress bar on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
