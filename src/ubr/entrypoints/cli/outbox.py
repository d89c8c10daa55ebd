"""The commands about queued mails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import rich_click as click

from ubr.entrypoints.cli.output import Refused, moment, print_json
from ubr.settings import Settings

if TYPE_CHECKING:
    from ubr.application.app import Application
    from ubr.application.mail.list_mail import QueuedMailResult

# Each command imports its dependencies when it runs, so that help and usage errors are fast.
# ruff: noqa: PLC0415

State = Literal["waiting", "given_up"]


@click.group()
def outbox() -> None:
    """Manage the queued mails."""


@outbox.command("list")
@click.option("--given-up", is_flag=True, help="Only mails that were given up.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_letters(*, given_up: bool, as_json: bool) -> None:
    """Show the queued and given-up mails: recipient, number of attempts and last error."""
    settings = Settings.from_env()
    import asyncio

    found = asyncio.run(_list(settings, "given_up" if given_up else None))
    if as_json:
        print_json(found)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for name in ("id", "kind", "to", "requested", "tries", "next attempt", "last error"):
        table.add_column(name, no_wrap=name in {"id", "requested", "next attempt"})
    for queued in found:
        following = "given up" if queued.next_try_at is None else moment(queued.next_try_at)
        asked, tries = moment(queued.created_at), str(queued.tries)
        table.add_row(str(queued.id), queued.kind, queued.email, asked, tries, following, queued.last_error or "")
    console.print(table)


@outbox.command()
@click.argument("ids", nargs=-1, type=click.UUID)
@click.option("--all", "every", is_flag=True, help="All mails that were given up.")
def retry(*, ids: tuple[UUID, ...], every: bool) -> None:
    """Retry mails at once with a fresh count of attempts: those with these IDs, or all that were given up.

    The service sends them. It creates their links at that time, and their validity starts then.
    """
    if bool(ids) == every:
        raise click.UsageError("Name the mails, or use --all.")
    settings = Settings.from_env()
    import asyncio

    count = asyncio.run(_retry(settings, ids))
    click.echo(f"{count} mails will be retried." if count != 1 else "1 mail will be retried.")


async def _list(settings: Settings, state: State | None) -> list[QueuedMailResult]:
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        return await _letters(ubr, state)


async def _letters(ubr: Application, state: State | None) -> list[QueuedMailResult]:
    from ubr.application.kernel.paging import MAX_LIMIT
    from ubr.application.mail.list_mail import ListMailCommand
    from ubr.domain.actor import SYSTEM

    found: list[QueuedMailResult] = []
    cursor = None
    while True:
        page = await ubr.list_mail(ListMailCommand(state=state, limit=MAX_LIMIT, cursor=cursor), actor=SYSTEM)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


async def _retry(settings: Settings, ids: Sequence[UUID]) -> int:
    from ubr.application.mail.retry_mail import RetryMailCommand
    from ubr.domain.actor import SYSTEM
    from ubr.domain.errors import QueuedMailNotFound
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        chosen = ids or [queued.id for queued in await _letters(ubr, "given_up")]
        for id in chosen:
            try:
                await ubr.retry_mail(RetryMailCommand(mail_id=id), actor=SYSTEM)
            except QueuedMailNotFound:
                raise Refused(f"Mail {id} is not in the outbox: it may have been sent.") from None
    return len(chosen)
