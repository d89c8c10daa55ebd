"""All checks of an installation, in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ubr.entrypoints.cli.doctor.backups import check_backups
from ubr.entrypoints.cli.doctor.database import check_database
from ubr.entrypoints.cli.doctor.limits import SECONDS, limited
from ubr.entrypoints.cli.doctor.machine import check_files, check_process
from ubr.entrypoints.cli.doctor.mail import check_mail
from ubr.entrypoints.cli.doctor.redis import check_redis
from ubr.entrypoints.cli.doctor.settings import (
    check_addresses,
    check_proxies,
    check_rate_limits,
    check_secret,
    check_settings,
)
from ubr.entrypoints.findings import SUBJECTS, Finding, error, in_order, not_checked
from ubr.settings import Settings, WrongSetting, secret_files

_TEST_MAIL_SECONDS: Final = 45.0
"""For a test mail: a mail server may check it before it confirms it."""


def examine(mail_to: str | None = None) -> list[Finding]:
    """The findings about the installation of this environment and working directory, in the order of the subjects."""
    try:
        settings = Settings.from_env()
    except WrongSetting as wrong:
        others = [subject for subject in SUBJECTS if subject != "settings"]
        return [
            *(error("settings", sentence) for sentence in wrong.sentences),
            *not_checked("the settings are wrong", *others),
        ]
    with _quiet():
        return in_order(asyncio.run(_examine(settings, mail_to)))


async def _examine(settings: Settings, mail_to: str | None) -> list[Finding]:
    groups = await asyncio.gather(
        limited(_settings(settings), "settings", "secret", "addresses", "proxies", "rate limits"),
        limited(_machine(settings), "process", "files"),
        check_database(settings),
        limited(check_backups(settings), "backups"),
        limited(check_redis(settings), "redis"),
        limited(check_mail(settings, mail_to), "mail", seconds=SECONDS if mail_to is None else _TEST_MAIL_SECONDS),
    )
    return [finding for group in groups for finding in group]


async def _settings(settings: Settings) -> list[Finding]:
    checks = (check_settings, check_secret, check_addresses, check_proxies, check_rate_limits)
    return [finding for check in checks for finding in check(settings)]


async def _machine(settings: Settings) -> list[Finding]:
    return [*check_process(settings), *check_files(settings, secret_files())]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log of the service off the terminal: the findings say the same."""
    handler = logging.NullHandler()
    log = logging.getLogger("ubr")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
