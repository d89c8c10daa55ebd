"""`python -m ubr.audit_verifier EXPORT [--checkpoint FILE]... [--key FILE]`.

Exit codes: 0 everything matches, 1 mismatch, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ubr.audit_verifier.export import NotAnExport, check_export
from ubr.audit_verifier.files import read_keys, read_note
from ubr.audit_verifier.report import report
from ubr.domain.audit.checkpoint import BadNote
from ubr.domain.audit.log_check import Checked, Tampered

T = TypeVar("T")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ubr.audit_verifier", description="Check an export of the log.")
    parser.add_argument("export", type=Path, help="the file that `ubr audit export` wrote")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        default=[],
        help="a checkpoint saved outside the database; may be repeated",
    )
    parser.add_argument("--key", type=Path, help="the key to trust; by default the keys that the export itself names")
    asked = parser.parse_args()
    try:
        keys = [] if asked.key is None else _opened(asked.key, read_keys)
        against = [_opened(path, read_note) for path in asked.checkpoint]
        with asked.export.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            checked = check_export(lines, keys=keys, against=against, progress=_tell if sys.stderr.isatty() else None)
    except OSError as error:
        return _wrong(f"{error.filename} cannot be read: {error.strerror}.")
    except (NotAnExport, _Unusable) as error:
        return _wrong(f"{error}.")
    except BadNote as error:
        return _wrong(f"A checkpoint {error}.")
    except Tampered as found:
        sys.stderr.write(f"{found}.\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in _report(checked, trusted=bool(keys))))
    return 0


class _Unusable(Exception):
    """A file has the wrong content."""


def _opened(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except BadNote as error:
        raise _Unusable(f"{path} {error}") from None


def _report(checked: Checked, *, trusted: bool) -> list[str]:
    return report(
        checked.size,
        pruned=checked.pruned,
        checkpoints=checked.checkpoints,
        unsigned=checked.unsigned,
        signer=None if checked.signer is None else str(checked.signer),
        trusted=trusted,
        restores=checked.restores,
    )


def _tell(done: int, of: int) -> None:
    sys.stderr.write(f"\r{done} of {of} entries\r")


def _wrong(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
