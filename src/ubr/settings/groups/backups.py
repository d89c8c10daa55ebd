"""Backups."""

from __future__ import annotations

from dataclasses import dataclass

from ubr.settings.declaration import setting
from ubr.settings.secret_key import parse_secrets


def parse_place(raw: str) -> str:
    if "://" in raw:
        raise ValueError("must be the path of a folder, not a URL")
    return raw


@dataclass(frozen=True, kw_only=True)
class BackupSettings:
    backup_dir: str | None = setting(
        parse_place,
        None,
        "The folder of the backups of `ubr backup`. Only its last part is created if it is missing.",
        otherwise="none; the commands then need it as an option",
    )
    backup_key: tuple[bytes, ...] | None = setting(
        parse_secrets,
        None,
        "Encrypts and authenticates backups: 32 bytes or more, for instance the output of `openssl rand -hex 32`. Use "
        "a comma-separated list to rotate: the first one encrypts, all decrypt. Keep it where the backups are not. "
        "The service itself does not need it.",
        shown="nothing",
    )
