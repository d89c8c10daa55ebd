"""The output of the commands."""

from __future__ import annotations

import os
import secrets
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from ubr.domain.errors import Invalid, LogKeyLocked, SecretMismatch, SigningKeyLocked, StoreUnavailable, UbrError
from ubr.extras import MissingExtra
from ubr.settings import WrongSetting, debugging

if TYPE_CHECKING:
    from rich.console import Console

_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""No letters and digits that look alike."""
_GROUP: Final = 5
_MIN_LENGTH: Final = 29
"""Five groups: 123 random bits."""

_NAMES: Final = {
    "/before": "The moment",
    "/checkpoint": "The checkpoint",
    "/checkpoints": "A checkpoint",
    "/email": "The e-mail",
    "/keys": "A key",
    "/password": "The password",
    "/q": "The text",
}


_MISMATCH: Final = (
    "UBR_SECRET_KEY decrypts none of the keys in use, so the service could not decrypt a new key. Nothing was changed.",
    "Set the secret of the service. If it is lost, and the service uses this one from now on, confirm it with",
    "  --lost-secret",
)


_WIDTH: Final = 120
"""The columns of an output that is not a terminal, for which rich would assume 80."""


class ExitCode(IntEnum):
    """The exit code of a command. A wrong setting counts as wrong usage."""

    OK = 0
    FAILED = 1
    USAGE = 2


class Refused(Exception):
    """A command cannot proceed. Its message is a sentence that names the remedy."""

    def __init__(self, sentence: str, code: ExitCode = ExitCode.FAILED) -> None:
        self.code = code
        super().__init__(sentence)


MISTAKES: Final = (WrongSetting, Refused, UbrError, MissingExtra)
"""Errors that are reported without a traceback."""


def explain(error: WrongSetting | Refused | UbrError | MissingExtra) -> ExitCode:
    """Print the error in red on standard error, at the log level `debug` with its traceback. Returns the exit code."""
    if debugging():
        traceback.print_exception(error)
    match error:
        case WrongSetting():
            complain(error.sentences)
            return ExitCode.USAGE
        case Refused():
            complain([str(error)])
            return error.code
        case Invalid() if error.flaws:
            complain(f"{_NAMES.get(flaw.pointer, flaw.pointer)} {flaw.detail}." for flaw in error.flaws)
            return ExitCode.USAGE
        case SigningKeyLocked() | LogKeyLocked() | SecretMismatch():
            complain(_MISMATCH if isinstance(error, SecretMismatch) else _locked(error))
            return ExitCode.USAGE
        case StoreUnavailable():
            complain([unreachable(error)])
            return ExitCode.FAILED
        case _:
            complain([f"{error if isinstance(error, MissingExtra) else error.detail}."])
            return ExitCode.FAILED


def unreachable(error: StoreUnavailable) -> str:
    """The sentence about a database that cannot be used."""
    reason = getattr(error, "reason", None)
    return f"{error.detail}{f' ({reason})' if reason else ''}. Check UBR_DATABASE_URL."


def _locked(error: SigningKeyLocked | LogKeyLocked) -> list[str]:
    """The key and the two remedies."""
    if isinstance(error, LogKeyLocked):
        key = f"the key {error.label}, which signs the log"
        way = ("create a new key", "ubr audit rotate-key --lost-secret")
    else:
        kid = error.kids[0]
        key, way = f"the signing key {kid}", ("revoke the key", f"ubr keys revoke --lost-secret {kid}")
    return [
        f"UBR_SECRET_KEY does not decrypt {key}.",
        f"Append the secret that encrypted it to the list again, or, if it is lost, {way[0]}:",
        f"  {way[1]}",
    ]


def complain(sentences: Iterable[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - loaded by those who need it
    from rich.text import Text  # noqa: PLC0415

    console = Console(stderr=True, soft_wrap=True)
    for sentence in sentences:
        # A part of it may come from a server, such as an object storage.
        console.print(Text("\n".join(map(plain, sentence.split("\n"))), style="red"))


def new_password(length: int) -> str:
    """A random password that can be read aloud, of this many characters or more."""
    groups: list[str] = []
    while len("-".join(groups)) < max(length, _MIN_LENGTH):
        groups.append("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)))
    return "-".join(groups)


@contextmanager
def written(output: Path | None, *, private: bool = False) -> Iterator[IO[str]]:
    """A file that is put in place only once it is complete; standard output for None.

    A new file that is `private` can be read by its owner alone.

    A pipe or a device is written to directly. Errors: `Refused` if that is not possible.
    """
    try:
        if output is None:
            yield sys.stdout
            sys.stdout.flush()
        elif output.exists() and not output.is_file():
            with output.open("w", encoding="utf-8") as file:
                yield file
        else:
            with _draft_of(output.resolve(), mode=0o600 if private else 0o666) as file:  # a symbolic link is kept
                yield file
    except BrokenPipeError:  # the reader closed the pipe: click ends the process properly
        raise
    except OSError as error:
        raise Refused(f"Cannot write to {output or 'standard output'}: {error.strerror}.") from None


@contextmanager
def _draft_of(output: Path, *, mode: int) -> Iterator[IO[str]]:
    draft = output.with_name(f".{output.name}.{secrets.token_hex(8)}")
    try:
        with open(draft, "x", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, mode)) as file:
            yield file
        if output.exists():
            draft.chmod(output.stat().st_mode & 0o777)
        draft.replace(output)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def moment(time: datetime) -> str:
    """A moment for people, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def plain(text: str) -> str:
    """A text of others for a terminal: without characters that could control it."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def print_table(
    names: Iterable[str], rows: Iterable[Iterable[str]], *, whole: Iterable[str], width: int = _WIDTH
) -> None:
    """Print a table, of at most `width` columns if the output is not a terminal. The columns `whole` do not break."""
    from rich import box  # noqa: PLC0415 - loaded by those who need it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    unbroken = set(whole)
    for name in names:
        table.add_column(name, no_wrap=name in unbroken, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    _console(width).print(table)


def print_json(result: Any) -> None:
    """Print results of use cases as JSON."""
    import click  # noqa: PLC0415 - loaded by those who need it
    import msgspec  # noqa: PLC0415 - as above

    click.echo(msgspec.json.format(msgspec.json.encode(result)))


def print_lines(lines: Iterable[str]) -> None:
    """Print sentences, broken between words after at most 120 columns. Their indentation stays."""
    import textwrap  # noqa: PLC0415 - loaded by those who need it

    for line in lines:
        text = plain(line)
        indent = " " * (len(text) - len(text.lstrip()) + 2)
        print(textwrap.fill(text, _console().width, subsequent_indent=indent, break_on_hyphens=False))


def _console(width: int = _WIDTH) -> Console:
    from rich.console import Console  # noqa: PLC0415 - loaded by those who need it

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = width
    return console
