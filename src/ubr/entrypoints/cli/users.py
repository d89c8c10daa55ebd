"""The commands about users."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

import rich_click as click

from ubr.entrypoints.cli.accounts import check_account, find_account
from ubr.entrypoints.cli.output import ExitCode, Refused, moment, print_json, print_lines, print_table, written
from ubr.settings import Settings

if TYPE_CHECKING:
    from ubr.application.accounts.explain_login import LoginExplanationResult
    from ubr.application.kernel.representations import GrantResult, Page, UserResult
    from ubr.domain.accounts.user import UserStatus

# Each command imports its dependencies when it runs, so that help and usage errors are fast.
# ruff: noqa: PLC0415

_SHOWN: Final = 50
"""The users that a search shows at most."""

account_argument: Final = click.argument("account", metavar="EMAIL_OR_ID")


@click.group()
def users() -> None:
    """Find users, disable, enable and unlock their accounts, export and erase their data, and index their fields."""


@users.command()
@click.argument("text")
@click.option("--json", "json", is_flag=True, help="Print JSON.")
def find(*, text: str, json: bool) -> None:
    """Find users whose e-mail or full name begins with TEXT, case-insensitively: the first 50, by e-mail."""
    settings = Settings.from_env()
    import asyncio

    found = asyncio.run(_find(settings, text))
    if json:
        print_json(found.items)
    elif not found.items:
        click.echo("No user matches.")
    else:
        rows = (
            (user.email, user.full_name or "", user.status, ", ".join(user.roles), str(user.id)) for user in found.items
        )
        print_table(("e-mail", "full name", "status", "roles", "id"), rows, whole=("status", "id"))
    if found.next_cursor is not None:
        click.echo(f"More users match: only the first {_SHOWN} are shown. Use a longer text.", err=True)


@users.command()
@account_argument
@click.option("--json", "json", is_flag=True, help="Print JSON.")
def show(*, account: str, json: bool) -> None:
    """Show the status, roles, sessions, last login, locks and fields of an account.

    The last login comes from the audit log: that read is an audit log entry.
    """
    check_account(account)
    settings = Settings.from_env()
    import asyncio

    from ubr.domain.accounts.user_field import as_words

    user, roles, login = asyncio.run(_show(settings, account))
    if json:
        print_json({"user": user, "roles": roles, "login": login})
        return
    held = [
        grant.role if grant.expires_at is None else f"{grant.role} until {moment(grant.expires_at)}" for grant in roles
    ]
    facts = {
        "id": str(user.id),
        "e-mail": f"{user.email} ({'verified' if user.email_verified else 'not verified'})",
        "full name": user.full_name or "none",
        "status": user.status,
        "roles": ", ".join(held),
        "created": moment(user.created_at),
        "last login": "none in the audit log" if login.last_login_at is None else moment(login.last_login_at),
        "sessions": f"{login.sessions} of {login.max_sessions}",
        "locked": ", ".join(
            f"until {moment(lock.until)}{'' if lock.ip is None else f' for {lock.ip}'}" for lock in login.locks
        )
        or "no",
    }
    if user.fields:
        facts |= {f"fields.{name}": as_words(value) for name, value in user.fields.items()}
    width = max(map(len, facts))
    print_lines(f"{name:{width}} {value}" for name, value in facts.items())


@users.command()
@account_argument
def disable(*, account: str) -> None:
    """Disable an account: no login succeeds, and all its sessions end. The last administrator cannot be disabled."""
    user = _set_status(account, active=False)
    click.echo(f"{user.email} is disabled, and has no sessions.")


@users.command()
@account_argument
def enable(*, account: str) -> None:
    """Enable a disabled account."""
    user = _set_status(account, active=True)
    click.echo(f"{user.email} is enabled.")


@users.command()
@account_argument
def unlock(*, account: str) -> None:
    """End the locks of an account after wrong passwords, and forget the wrong passwords counted so far."""
    check_account(account)
    settings = Settings.from_env()
    import asyncio

    user, locks = asyncio.run(_unlock(settings, account))
    if locks:
        click.echo(f"{user.email} is unlocked: {locks} {'lock' if locks == 1 else 'locks'} ended.")
    else:
        click.echo(f"{user.email} had no lock. The wrong passwords counted so far are forgotten.")


@users.command()
@account_argument
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
def export(*, account: str, output: Path | None) -> None:
    """Export everything that is stored about a user, as JSON.

    The document contains personal data: keep it as private as the database. The export is an audit log entry.
    """
    check_account(account)
    settings = Settings.from_env()
    import asyncio

    asyncio.run(_export(settings, account, output))


@users.command()
@account_argument
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def erase(*, account: str, yes: bool) -> None:
    """Delete an account with all its personal data, and its client IPs in the audit log. This cannot be undone.

    Asks to type the e-mail of the account. The last administrator cannot be erased. The audit log keeps the entries
    and the id. The id of a deleted account erases its client IPs.
    """
    from ubr.domain.accounts.email import Email

    check_account(account)
    settings = Settings.from_env()
    import asyncio

    user_id, email = asyncio.run(_found(settings, account))
    if not yes:
        if not sys.stdin.isatty():
            raise Refused("There is no terminal to confirm on. Use --yes.", ExitCode.USAGE)
        if email is None:
            click.confirm(f"Erase the client IPs of the deleted user {user_id} from the audit log?", abort=True)
        elif (
            Email.parse(click.prompt(f"Type the e-mail of {user_id} to erase the account")).key
            != Email.parse(email).key
        ):
            raise Refused("That is another e-mail. Nothing was erased.")
    entries = asyncio.run(_erase(settings, user_id))
    click.echo(f"{email or user_id} is erased. Client IPs erased from the audit log: {entries}.")


@users.command("index-fields")
def index_fields() -> None:
    """Let users be found at once by the fields of UBR_USER_FIELDS_FILE that are searchable now.

    After a change of that file, `ubr serve` does this in the background, and a search by a changed field fails until
    all users are indexed. Run the command when every process has read the file.
    """
    settings = Settings.from_env()
    if settings.user_fields_file is None:
        raise Refused(
            "UBR_USER_FIELDS_FILE is not set, so no user would be found by a field any more. If a program declares the "
            "fields, it calls index_user_fields.",
            ExitCode.USAGE,
        )
    import asyncio

    click.echo(f"Users indexed: {asyncio.run(_index_fields(settings))}.")


# --- the same with an application ------------------------------------------------------------------------------------


async def _find(settings: Settings, text: str) -> Page[UserResult]:
    from ubr.application.accounts.list_users import ListUsersCommand
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        return await ubr.list_users(ListUsersCommand(q=text, sort="email", limit=_SHOWN), actor=SYSTEM)


async def _show(settings: Settings, account: str) -> tuple[UserResult, list[GrantResult], LoginExplanationResult]:
    from ubr.application.accounts.explain_login import ExplainLoginCommand
    from ubr.application.kernel.paging import MAX_LIMIT
    from ubr.application.roles.list_user_roles import ListUserRolesCommand
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        user = await find_account(ubr, account)
        roles = await ubr.list_user_roles(ListUserRolesCommand(user_id=user.id, limit=MAX_LIMIT), actor=SYSTEM)
        login = await ubr.explain_login(ExplainLoginCommand(email=user.email), actor=SYSTEM)
    return user, roles.items, login


def _set_status(account: str, *, active: bool) -> UserResult:
    from ubr.domain.accounts.user import UserStatus

    check_account(account)
    settings = Settings.from_env()
    import asyncio

    return asyncio.run(_update(settings, account, UserStatus.ACTIVE if active else UserStatus.DISABLED))


async def _update(settings: Settings, account: str, status: UserStatus) -> UserResult:
    from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        user = await find_account(ubr, account)
        command = UpdateUserCommand(user_id=user.id, changes=UserChanges(status=status))
        return await ubr.update_user(command, actor=SYSTEM)


async def _unlock(settings: Settings, account: str) -> tuple[UserResult, int]:
    from ubr.application.accounts.unlock_user import UnlockUserCommand
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    # With a secret that is not that of the installation it would find no lock, and say so.
    async with opened(settings) as ubr:
        user = await find_account(ubr, account)
        return user, (await ubr.unlock_user(UnlockUserCommand(user_id=user.id), actor=SYSTEM)).locks


async def _found(settings: Settings, account: str) -> tuple[UUID, str | None]:
    """The id and the e-mail of a user. An id without a user may be that of a deleted one, which has no e-mail."""
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        try:
            user = await find_account(ubr, account)
        except Refused:
            if "@" in account:
                raise
            return UUID(account), None
        return user.id, user.email


async def _erase(settings: Settings, user_id: UUID) -> int:
    from ubr.application.accounts.erase_user import EraseUserCommand
    from ubr.domain.actor import SYSTEM
    from ubr.domain.errors import UserNotFound
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        try:
            return (await ubr.erase_user(EraseUserCommand(user_id=user_id), actor=SYSTEM)).entries
        except UserNotFound:
            raise Refused(f"No user has the id {user_id}, and no entry of the audit log mentions it.") from None


async def _index_fields(settings: Settings) -> int:
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        return (await ubr.index_user_fields(actor=SYSTEM)).users


async def _export(settings: Settings, account: str, output: Path | None) -> None:
    from ubr.application.accounts.export_user import ExportUserCommand
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        user = await find_account(ubr, account)
        parts = await ubr.export_user(ExportUserCommand(user_id=user.id), actor=SYSTEM)
        with written(output, private=True) as file:
            async for part in parts:
                file.write(part.decode())
            file.write("\n")
