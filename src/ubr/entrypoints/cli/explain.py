"""The command that explains why a login fails."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote
from typing import TYPE_CHECKING, Final

import rich_click as click

from ubr.entrypoints.cli.output import moment, print_json, print_lines
from ubr.settings import Settings

if TYPE_CHECKING:
    from ubr.application.accounts.explain_login import LoginExplanationResult, LoginObstacle

# Each command imports its dependencies when it runs, so that help and usage errors are fast.
# ruff: noqa: PLC0415

_REASONS: Final = {
    "wrong_password": "wrong password",
    "disabled": "right password, but the account was disabled",
    "no_password": "the account had no password",
}


@click.group("explain")
def explain_group() -> None:
    """Explain what the service does."""


@explain_group.command()
@click.argument("email")
@click.option("--json", "json", is_flag=True, help="Print JSON.")
def login(*, email: str, json: bool) -> None:
    """Explain why logins with EMAIL fail, or that the right password succeeds.

    Changes nothing, and asks for no password. The failed logins come from the audit log: that read is an audit log
    entry.
    """
    from ubr.domain.accounts.email import Email

    Email.parse(email)
    settings = Settings.from_env()
    import asyncio

    found = asyncio.run(_explain(settings, email))
    if json:
        print_json(found)
    else:
        print_lines(sentences(found))


async def _explain(settings: Settings, email: str) -> LoginExplanationResult:
    from ubr.application.accounts.explain_login import ExplainLoginCommand
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        return await ubr.explain_login(ExplainLoginCommand(email=email), actor=SYSTEM)


def sentences(found: LoginExplanationResult) -> Iterator[str]:
    """The explanation for people: first each obstacle, then the other facts."""
    if found.obstacles:
        yield f"A login as {found.email} fails, even with the right password:"
        for obstacle in found.obstacles:
            yield f"  - {_sentence(obstacle, found)}"
    else:
        spared = ", but not from the client IPs named below" if found.locks else ""
        yield f"A login as {found.email} succeeds with the right password{spared}."
    yield from _without_account(found) if found.user is None else _with_account(found)


def _sentence(obstacle: LoginObstacle, found: LoginExplanationResult) -> str:
    match obstacle:
        case "no_account":
            return "No account has this e-mail."
        case "disabled":
            return f"The account is disabled. `ubr users enable {quote(found.email)}` enables it."
        case "no_password":
            return (
                "The account has no password. Its user sets one by a mailed link: the one of the invitation, or of a "
                "forgotten password. `ubr outbox list` shows the mails that are still queued."
            )
        case "unreadable_password":
            return (
                "The password was stored with a secret that UBR_SECRET_KEY does not have. Append that secret, or have "
                "the user set a new password."
            )
        case "locked":
            until = next(lock.until for lock in found.locks if lock.ip is None)
            return (
                f"Too many wrong passwords were entered. Until {moment(until)}, no password is accepted from a client "
                "IP from which the account was not logged in to in the last 30 days. "
                f"`ubr users unlock {quote(found.email)}` ends the lock."
            )
        case "login_limit":
            following = "later" if found.next_login_at is None else f"at {moment(found.next_login_at)}"
            return f"The account has used up its logins (UBR_SESSION_RATE_LIMIT). The next is possible {following}."


def _without_account(found: LoginExplanationResult) -> Iterator[str]:
    if found.reserved_until is not None:
        yield (
            f"The user {found.reserved_for} gave up this e-mail. It is reserved for them until "
            f"{moment(found.reserved_until)}: no other account can take it."
        )
    if found.registration_until is not None:
        yield (
            f"A registration waits until {moment(found.registration_until)} for its mailed link to be opened. That "
            "makes the account."
        )
    elif found.registration == "verified":
        yield "A registration makes an account only when its mailed link is opened (UBR_REGISTRATION is verified)."
    elif found.registration == "closed":
        yield "Users cannot register themselves (UBR_REGISTRATION is closed)."
    yield "Failed logins with an unknown e-mail are in the audit log without the e-mail, so none is listed here."


def _with_account(found: LoginExplanationResult) -> Iterator[str]:
    if found.user is not None and not found.user.email_verified:
        yield "The e-mail is not verified. That prevents no login."
    for lock in found.locks:
        if lock.ip is not None:
            yield (
                f"The client IP {lock.ip}, which is known to the account, has a lock of its own until "
                f"{moment(lock.until)}. `ubr users unlock {quote(found.email)}` ends it too."
            )
    if found.wrong_passwords and "locked" not in found.obstacles:
        yield f"Wrong passwords that count at the moment: {found.wrong_passwords} of {found.max_wrong_passwords}."
    if found.remaining_logins:
        yield f"Logins that are possible at the moment: {found.remaining_logins}."
    full = " The next login ends the least recently used one." if found.sessions >= found.max_sessions else ""
    yield f"Live sessions: {found.sessions} of {found.max_sessions}.{full}"
    last = "none in the audit log" if found.last_login_at is None else moment(found.last_login_at)
    yield f"Last login: {last}."
    if found.failed_logins:
        yield "The last failed logins:"
    else:
        yield "No failed login is in the audit log."
    for failed in found.failed_logins:
        place = "" if failed.ip is None else f", from {failed.ip}"
        yield f"  {moment(failed.timestamp)}  {_REASONS.get(failed.reason, failed.reason)}{place}"
