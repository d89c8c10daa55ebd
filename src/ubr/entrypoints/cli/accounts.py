"""How commands find the account that they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from ubr.entrypoints.cli.output import ExitCode, Refused

if TYPE_CHECKING:
    from ubr.application.app import Application
    from ubr.application.kernel.representations import UserResult

# Commands import inside their functions, so that help and usage errors are fast.
# ruff: noqa: PLC0415


def check_account(account: str) -> None:
    """Errors: `Refused`, `Invalid` for a text that is neither an e-mail nor an id, before the database is opened."""
    from ubr.domain.accounts.email import Email

    if "@" in account:
        Email.parse(account)
    elif _id(account) is None:
        raise Refused(f"{account!r} is neither an e-mail nor the id of a user.", ExitCode.USAGE)


async def find_account(ubr: Application, account: str) -> UserResult:
    """The user with this e-mail or id. Errors: `Refused` if there is none."""
    from ubr.application.accounts.get_user import GetUserCommand
    from ubr.application.accounts.get_user_by_email import GetUserByEmailCommand
    from ubr.domain.actor import SYSTEM
    from ubr.domain.errors import UserNotFound

    user_id = _id(account)
    try:
        if user_id is not None:
            return await ubr.get_user(GetUserCommand(user_id=user_id), actor=SYSTEM)
        return await ubr.get_user_by_email(GetUserByEmailCommand(email=account), actor=SYSTEM)
    except UserNotFound:
        if user_id is not None:
            raise Refused(f"No user has the id {account}.") from None
        raise Refused(
            f"No account has the e-mail {account}. `ubr users find` searches by the beginning of an e-mail or a name."
        ) from None


def _id(account: str) -> UUID | None:
    try:
        return UUID(account)
    except ValueError:
        return None
