"""What the commands say to whoever runs them."""

from __future__ import annotations

import secrets
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import IO, Final

from ubr.domain.errors import Invalid, LogKeyLocked, SecretMismatch, SigningKeyLocked, StoreUnavailable, UbrError
from ubr.settings import WrongSetting, debugging

_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without letters and digits that look alike."""
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
}


_MISMATCH: Final = (
    "UBR_SECRET_KEY opens none of the keys in use, so the service could not open a new one either. Nothing was done.",
    "Set the secret that the service has. If that is lost, and the service has this one from now on, say so:",
    "  --lost-secret",
)


class ExitCode(IntEnum):
    """How a command ends. A wrong setting counts as wrong usage."""

    OK = 0
    FAILED = 1
    USAGE = 2


class Refused(Exception):
    """A command cannot do what it was asked to. Its message is a sentence, and says what to do."""

    def __init__(self, sentence: str, code: ExitCode = ExitCode.FAILED) -> None:
        self.code = code
        super().__init__(sentence)


MISTAKES: Final = (WrongSetting, Refused, UbrError)
"""What nobody needs a traceback for."""


def explain(error: WrongSetting | Refused | UbrError) -> ExitCode:
    """Say in red on standard error what is wrong; with the log level `debug`, also where. The exit code for it."""
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
            reason = getattr(error, "reason", None)
            complain([f"{error.detail}{f' ({reason})' if reason else ''}. UBR_DATABASE_URL says where it is."])
            return ExitCode.FAILED
        case _:
            complain([f"{error.detail}."])
            return ExitCode.FAILED


def _locked(error: SigningKeyLocked | LogKeyLocked) -> list[str]:
    """Which key, and the two ways out."""
    if isinstance(error, LogKeyLocked):
        key = f"the key {error.label}, which signs the log"
        way = ("make another key", "ubr audit rotate-key --lost-secret")
    else:
        kid = error.kids[0]
        key, way = f"the signing key {kid}", ("give the key up", f"ubr keys revoke --lost-secret {kid}")
    return [
        f"UBR_SECRET_KEY does not open {key}.",
        f"Put the secret that it was sealed with at the end of the list again, or, where it is lost, {way[0]}:",
        f"  {way[1]}",
    ]


def complain(sentences: Iterable[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - loaded by those who need it
    from rich.text import Text  # noqa: PLC0415

    console = Console(stderr=True, soft_wrap=True)
    for sentence in sentences:
        console.print(Text(sentence, style="red"))


def new_password(length: int) -> str:
    """A random password that can be read aloud, of this many characters or more."""
    groups: list[str] = []
    while len("-".join(groups)) < max(length, _MIN_LENGTH):
        groups.append("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)))
    return "-".join(groups)


@contextmanager
def written(output: Path | None) -> Iterator[IO[str]]:
    """A file that is put in place once all of it is there, and not before; standard output for None.

    What is no file, a pipe or a device, is written to and stays. Errors: `Refused` where that is not possible.
    """
    try:
        if output is None:
            yield sys.stdout
            sys.stdout.flush()
        elif output.exists() and not output.is_file():
            with output.open("w", encoding="utf-8") as file:
                yield file
        else:
            with _draft_of(output.resolve()) as file:  # a link stays one
                yield file
    except BrokenPipeError:  # whoever reads has read enough: click knows how to end then
        raise
    except OSError as error:
        raise Refused(f"It is not possible to write to {output or 'standard output'}: {error.strerror}.") from None


@contextmanager
def _draft_of(output: Path) -> Iterator[IO[str]]:
    draft = output.with_name(f".{output.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("x", encoding="utf-8") as file:
            yield file
        if output.exists():
            draft.chmod(output.stat().st_mode & 0o777)
        draft.replace(output)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def moment(time: datetime) -> str:
    """A moment as people read it, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
