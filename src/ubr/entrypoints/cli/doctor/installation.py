"""The state of the installation in the database: keys, audit log, administrators, machine keys, fields and outbox."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from ubr.bootstrap import open_environment
from ubr.domain.actor import SYSTEM
from ubr.entrypoints.cli.output import Refused
from ubr.entrypoints.cli.starting import check_continuation
from ubr.entrypoints.findings import Finding, error, not_checked, warning
from ubr.entrypoints.installation import judged
from ubr.settings import Settings, WrongSetting, check_embedded_files

INSPECTED: Final = ("keys", "audit log", "administrators", "machine keys", "user fields", "outbox")
"""The subjects of `check_installation`."""


async def check_installation(settings: Settings) -> list[Finding]:
    try:
        check_embedded_files(settings)
        async with open_environment(settings, prepared=False, following=False, delivering=False) as environment:
            state = await environment.application.inspect_installation(actor=SYSTEM)
    except WrongSetting:  # the finding about the settings names it
        return not_checked("the settings are wrong", *INSPECTED)
    if not state.prepared:
        problem = error("keys", "The service has never started with this database: start `ubr serve`.")
        return [problem, *not_checked("the service has never started", *INSPECTED[1:])]
    return judged(state, [] if state.log.damage is not None else await _of_checkpoint(settings))


async def _of_checkpoint(settings: Settings) -> list[Finding]:
    path = settings.audit_checkpoint
    if path is not None and not await asyncio.to_thread(os.path.exists, path):
        sentence = (
            f"UBR_AUDIT_CHECKPOINT names {path}, which does not exist: run `ubr audit checkpoint --output {path}`."
        )
        return [warning("audit log", sentence)]
    try:
        await check_continuation(settings)
    except Refused as refused:
        return [error("audit log", f"{refused}")]
    return []
