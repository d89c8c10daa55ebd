"""The commands about the sessions of users."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import rich_click as click

from ubr.entrypoints.cli.accounts import check_account, find_account
from ubr.entrypoints.cli.output import Refused, moment, print_json, print_table
from ubr.entrypoints.cli.users import account_argument
from ubr.settings import Settings

if TYPE_CHECKING:
    from ubr.application.kernel.representations import SessionResult, UserResult

# Each command imports its dependencies when it runs, so that help and usage errors are fast.
# ruff: noqa: PLC0415


@click.group()
def sessions() -> None:
    """List and revoke the sessions of users."""


@sessions.command("list")
@account_argument
@click.option("--json", "json", is_flag=True, help="Print JSON.")
def list_sessions(*, account: str, json: bool) -> None:
    """Show the live sessions of an account, newest first."""
    check_account(account)
    settings = Settings.from_env()
    import asyncio

    found = asyncio.run(_list(settings, account))
    if json:
        print_json(found)
        return
    if not found:
        click.echo("The account has no live session.")
        return
    rows = (
        (
            str(each.id),
            moment(each.created_at),
            moment(each.last_seen_at),
            each.ip or "",
            ", ".join(filter(None, (each.kind.value, each.user_agent))),
        )
        for each in found
    )
    names = ("id", "opened", "last seen", "client IP", "client")
    print_table(names, rows, whole=("id", "opened", "last seen"))


@sessions.command()
@click.argument("session_id", type=click.UUID, required=False)
@click.option("--user", "account", metavar="EMAIL_OR_ID", help="All sessions of this account.")
def revoke(*, session_id: UUID | None, account: str | None) -> None:
    """End the session SESSION_ID, or all sessions of an account.

    When the command returns, no worker accepts their access tokens.
    """
    if (session_id is None) == (account is None):
        raise click.UsageError("Use either SESSION_ID or --user.")
    if account is not None:
        check_account(account)
    settings = Settings.from_env()
    import asyncio

    if account is not None:
        user = asyncio.run(_revoke_all(settings, account))
        click.echo(f"{user.email} has no sessions.")
    elif session_id is not None:
        asyncio.run(_revoke(settings, session_id))
        click.echo(f"The session {session_id} has ended.")


async def _list(settings: Settings, account: str) -> list[SessionResult]:
    from ubr.application.kernel.paging import MAX_LIMIT
    from ubr.application.sessions.list_sessions import ListSessionsCommand
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    found: list[SessionResult] = []
    cursor = None
    async with opened(settings, prepared=False) as ubr:
        user = await find_account(ubr, account)
        while True:
            command = ListSessionsCommand(user_id=user.id, limit=MAX_LIMIT, cursor=cursor)
            page = await ubr.list_sessions(command, actor=SYSTEM)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found


async def _revoke(settings: Settings, session_id: UUID) -> None:
    from ubr.application.sessions.revoke_session import RevokeSessionCommand
    from ubr.domain.actor import SYSTEM
    from ubr.domain.errors import SessionNotFound
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        try:
            await ubr.revoke_session(RevokeSessionCommand(session_id=session_id), actor=SYSTEM)
        except SessionNotFound:
            raise Refused(f"No session has the id {session_id}.") from None


async def _revoke_all(settings: Settings, account: str) -> UserResult:
    from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        user = await find_account(ubr, account)
        await ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=user.id), actor=SYSTEM)
    return user
