"""What the commands say to whoever runs them."""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from ubr.domain.errors import Invalid, LogKeyLocked, SigningKeyLocked, StoreUnavailable, UbrError
from ubr.settings import WrongSetting, debugging

_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without letters and digits that look alike."""
_GROUP: Final = 5
_SHORTEST: Final = 29
"""Five groups: 123 random bits."""

_NAMES: Final = {"/email": "The e-mail", "/password": "The password"}


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
        case SigningKeyLocked() | LogKeyLocked():
            complain(_locked(error))
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
        key, way = f"the key {error.label}, which signs the log", ("make another key", "ubr audit rotate-key")
    else:
        kid = error.kids[0]
        key, way = f"the signing key {kid}", ("give the key up", f"ubr keys revoke {kid}")
    return [
        f"UBR_SECRET_KEY does not open {key}.",
        f"Put the secret that it was sealed with at the end of the list again, or {way[0]}:",
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
    while len("-".join(groups)) < max(length, _SHORTEST):
        groups.append("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)))
    return "-".join(groups)
