"""Writes mails to files, for a machine without a mail server."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from pathlib import Path

from ubr.adapters.mail.message import written
from ubr.application.ports.mail import Mail
from ubr.application.ports.system import Clock
from ubr.domain.errors import MailUnavailable


class FolderMailer:
    """Writes each mail to a file that a mail program opens, readable by its owner alone, and named after its time.

    The folder is created with the first mail. Readers never see a partial file.
    """

    def __init__(self, folder: Path, sender: str, clock: Clock) -> None:
        self._folder = folder
        self._sender = sender
        self._clock = clock

    @property
    def sends(self) -> bool:
        return True

    async def send(self, mail: Mail) -> None:
        now = self._clock()
        name = f"{now:%Y%m%dT%H%M%S.%fZ}-{mail.id}.eml"
        try:
            await asyncio.to_thread(self._write, name, written(mail, self._sender, now))
        except OSError as error:
            raise MailUnavailable(f"the mail folder is not writable: {error.strerror}") from None

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._folder / f".{secrets.token_hex(8)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self._folder / name)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise
