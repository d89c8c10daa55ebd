"""The process and the files of this machine."""

from __future__ import annotations

import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ubr.adapters.sql.sqlite_file import OPEN_TO_OTHERS, open_to_others
from ubr.entrypoints.cli.hardening import AS_ROOT, runs_as_root
from ubr.entrypoints.cli.listener import possible_connections
from ubr.entrypoints.findings import Finding, error, or_ok, warning
from ubr.settings import Settings

_MEBIBYTE: Final = 1 << 20
FULL: Final = 64 * _MEBIBYTE
"""Free bytes on the disk of the database below which it is as good as full: SQLite also writes a log beside it."""
NEARLY_FULL: Final = 1024 * _MEBIBYTE

_MANAGED: Final = Path("/run/secrets")
"""Files that a container gets here are for it alone, whatever their mode is."""


def check_process(settings: Settings) -> list[Finding]:
    found = [warning("process", f"{AS_ROOT}.")] if runs_as_root() else []
    share = max(1, settings.max_connections // settings.workers)
    if sys.platform != "win32" and (possible := possible_connections(share)) < share:
        found.append(
            warning(
                "process",
                f"This user may open too few files for UBR_MAX_CONNECTIONS: each worker would accept {possible} "
                f"connections instead of {share}. Raise the limit (`ulimit -Hn`, LimitNOFILE of systemd) or lower "
                "UBR_MAX_CONNECTIONS.",
            )
        )
    return or_ok(found, "process", f"It may open enough files for {share} connections in each worker.")


def check_files(
    settings: Settings, secrets: Mapping[str, str], *, full: int = FULL, nearly_full: int = NEARLY_FULL
) -> list[Finding]:
    """`secrets` are the paths of secret files, by the settings that name them."""
    found = [
        warning("files", f"{name} names {path}, which every user of this machine can read: run `chmod 600 {path}`.")
        for name, path in secrets.items()
        if _mode(Path(path)) & stat.S_IROTH and _MANAGED not in Path(path).absolute().parents
    ]
    kind, _, path = settings.database_url.partition(":///")
    if not kind.startswith("sqlite"):
        return or_ok(found, "files", "Secrets in files are readable only by those who need them.")
    file = Path(path)
    if not file.parent.is_dir():
        return or_ok(found, "files", f"The folder {file.parent} does not exist yet.")
    found += _of_sqlite(file)
    if (free := shutil.disk_usage(file.parent).free) < nearly_full:
        judged = error if free < full else warning
        found.append(
            judged(
                "files", f"The disk of {file} has only {free // _MEBIBYTE} MiB left: free space, or it cannot write."
            )
        )
    return or_ok(found, "files", f"{file} and its folder are safe, and the disk has space.")


def _of_sqlite(file: Path) -> list[Finding]:
    found = []
    if _mode(file.parent) & stat.S_IWOTH and not _mode(file.parent) & stat.S_ISVTX:
        found.append(
            error(
                "files",
                f"Every user of this machine can replace files in {file.parent}, where the database is: run "
                f"`chmod o-w {file.parent}`.",
            )
        )
    for each in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
        if each.exists() and open_to_others(str(each)):
            sentence = OPEN_TO_OTHERS % (each, file)
            found.append(warning("files", f"{sentence[0].upper()}{sentence[1:]}."))
            break
    return found


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0
