"""The commands about mails that are not sent yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import rich_click as click

from ubr.entrypoints.cli.output import Refused, moment
from ubr.settings import Settings

if TYPE_CHECKING:
    from ubr.application.app import Application
    from ubr.application.mail.list_mail import QueuedMailResult

# Each command loads what it needs when it runs, so that help and mistakes are quick.
# ruff: noqa: PLC0415

State = Literal["waiting", "given_up"]


@click.group()
def outbox() -> None:
    """Look after the mails that are not sent yet."""


@outbox.command("list")
@click.option("--given-up", is_flag=True, help="Only those that nobody tries any more.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_letters(*, given_up: bool, as_json: bool) -> None:
    """Show the mails that wait and those that were given up: to whom, how often they were tried, and what was wrong."""
    settings = Settings.from_env()
    import asyncio

    found = asyncio.run(_list(settings, "given_up" if given_up else None))
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for name in ("id", "kind", "to", "asked for", "tries", "next try", "what was wrong"):
        table.add_column(name, no_wrap=name in {"id", "asked for", "next try"})
    for queued in found:
        following = "given up" if queued.next_try_at is None else moment(queued.next_try_at)
        asked, tries = moment(queued.created_at), str(queued.tries)
        table.add_row(str(queued.id), queued.kind, queued.email, asked, tries, following, queued.last_error or "")
    console.print(table)


@outbox.command()
@click.argument("ids", nargs=-1, type=click.UUID)
@click.option("--all", "every", is_flag=True, help="All that were given up.")
def retry(*, ids: tuple[UUID, ...], every: bool) -> None:
    """Have mails tried again at once, as if for the first time: those with these IDs, or all that were given up.

    The service sends them. Links in them are made then, and are good from then on.
    """
    if bool(ids) == every:
        raise click.UsageError("Name the mails, or use --all.")
    settings = Settings.from_env()
    import asyncio

    count = asyncio.run(_retry(settings, ids))
    click.echo(f"{count} mails will be tried again." if count != 1 else "1 mail will be tried again.")


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
                raise Refused(f"There is no mail {id} in the outbox: it may have been sent.") from None
    return len(chosen)
