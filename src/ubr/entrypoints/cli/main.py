"""The commands. Each one imports its dependencies when it runs, so that help and usage errors are fast."""

from __future__ import annotations

import gc
import signal
import sys
from typing import TYPE_CHECKING, Any

import rich_click as click

from ubr.entrypoints.cli.audit import after_restore, audit
from ubr.entrypoints.cli.backup import backup
from ubr.entrypoints.cli.doctor.command import doctor
from ubr.entrypoints.cli.emulate import emulate
from ubr.entrypoints.cli.explain import explain_group
from ubr.entrypoints.cli.machines import machines
from ubr.entrypoints.cli.options import lost_secret_option
from ubr.entrypoints.cli.outbox import outbox
from ubr.entrypoints.cli.output import MISTAKES, ExitCode, Refused, explain, moment, print_json, written
from ubr.entrypoints.cli.sessions import sessions
from ubr.entrypoints.cli.upgrade_check import upgrade_check
from ubr.entrypoints.cli.users import users
from ubr.settings import DATABASE_FILE, SECRET_FILE, Settings, documentation, ensure_embedded_files, in_force

if TYPE_CHECKING:
    from ubr.application.kernel.representations import SigningKeyResult
    from ubr.application.keys.rewrap_signing_keys import RewrapResult

# Commands import inside their functions: see the docstring.
# ruff: noqa: PLC0415


_WIDE = 130


class Commands(click.RichGroup):
    """A group whose commands may fail without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MISTAKES as error:
            ctx.exit(explain(error))

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In definition order: the most used commands come first."""
        return list(self.commands)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ubr", message="%(prog)s %(version)s")
def main() -> None:
    """A self-hosted backend for users, roles and sessions.

    All settings are environment variables: `ubr config` lists them.

    Exit codes: 0 done, 1 failed, 2 wrong usage or a wrong setting.
    """


@main.command()
def serve() -> None:
    """Run the service.

    Prepares the database, creates the first administrator if there is none, then starts the workers. On the embedded
    default database it prints that administrator's password once.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = Settings.from_env()
        # Modules are not garbage: a fifth of the start would go into looking at them. `run` enables it again.
        gc.disable()
        from ubr.entrypoints.cli.supervisor import run

        sys.exit(run(settings))
    except KeyboardInterrupt:  # a stop signal before the start
        sys.exit(ExitCode.OK)


@main.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if the schema is behind.")
@click.option(
    "--to",
    "revision",
    metavar="REVISION",
    help="Downgrade to this revision, so that an older version of ubr can start. Needs --delete-data.",
)
@click.option(
    "--delete-data", is_flag=True, help="With --to: the data that only later revisions have is deleted for good."
)
def migrate(*, check: bool, revision: str | None, delete_data: bool) -> None:
    """Upgrade the database schema.

    It is safe to run several at once: one migrates, the others wait. `ubr upgrade-check` shows the migrations before.
    """
    if revision is not None and (check or not delete_data):
        raise click.UsageError("--to needs --delete-data, and excludes --check.")
    if delete_data and revision is None:
        raise click.UsageError("--delete-data needs --to.")
    settings = Settings.from_env()
    import asyncio

    if revision is not None:
        from ubr.entrypoints.cli.starting import bring_down

        asyncio.run(bring_down(settings, revision))
        click.echo(f"The schema is at revision {revision}. Start the version of ubr that belongs to it.")
        return

    from ubr.entrypoints.cli.starting import BEHIND, bring_up, check_schema, lasting

    if not check:
        settings = ensure_embedded_files(settings)
    elif settings.embedded and not SECRET_FILE.parent.is_dir():
        raise Refused(BEHIND)
    lasting(settings)
    if not check:
        upgraded = asyncio.run(bring_up(settings))
    elif asyncio.run(check_schema(settings)):
        upgraded = False
    else:
        raise Refused(BEHIND)
    click.echo("The schema was upgraded." if upgraded else "The schema is up to date.")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", is_flag=True, help="Print the documentation of all settings as Markdown.")
def config(*, as_json: bool, markdown: bool) -> None:
    """Show every setting with its value, source and meaning. Secrets are masked."""
    if as_json and markdown:
        raise click.UsageError("--json and --markdown exclude each other.")
    if markdown:
        click.echo(documentation(), nl=False)
        return
    rows = in_force()
    if as_json:
        import json

        from msgspec.structs import asdict

        click.echo(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # rich uses 80 then, which breaks names
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    table.add_column("variable", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", no_wrap=True)
    table.add_column("meaning")
    for row in rows:
        given = row.source == "environment"
        value = Text("none", style="dim") if row.value is None else Text(row.value, style="green" if given else "")
        table.add_row(Text(row.name), value, Text(row.source), Text(row.meaning.replace("`", ""), style="dim"))
    console.print(table)


main.add_command(upgrade_check)
main.add_command(doctor)


@main.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True),
    default="-",
    help="Write to this file instead of standard output.",
)
def openapi(*, output: str) -> None:
    """Print the OpenAPI document of the HTTP API. Needs no database."""
    from pathlib import Path

    from ubr.entrypoints.http.openapi.document import document

    with written(None if output == "-" else Path(output)) as file:
        file.write(document())


@main.group()
def admin() -> None:
    """Manage administrators."""


@admin.command()
@click.option("--email", required=True, help="The administrator's e-mail.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--generate", is_flag=True, help="Generate a password and print it.")
@click.option(
    "--take-over",
    is_flag=True,
    help="Make the account with this e-mail an administrator with the new password, and end its sessions.",
)
def create(*, email: str, password_stdin: bool, generate: bool, take_over: bool) -> None:
    """Create an administrator.

    Without --password-stdin or --generate it prompts for the password twice, without echo.
    """
    import asyncio

    from ubr.domain.accounts.email import Email
    from ubr.domain.accounts.passwords import check_password
    from ubr.entrypoints.cli.output import new_password

    if password_stdin and generate:
        raise click.UsageError("--password-stdin and --generate exclude each other.")
    settings = Settings.from_env()
    parsed = Email.parse(email)
    if generate:
        password = new_password(settings.password_min_length)
    elif password_stdin:
        password = _password_from_stdin()
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        raise click.UsageError("There is no terminal for the password prompt: use --password-stdin or --generate.")
    # Checked before the database is opened: most mistakes are in the password.
    from ubr.bootstrap import common_of, is_guessable

    check_password(
        password,
        min_length=settings.password_min_length,
        email=parsed,
        is_common=common_of(settings),
        is_guessable=is_guessable,
    )
    made = settings.embedded and not DATABASE_FILE.exists()
    asyncio.run(_create(settings, email, password, take_over=take_over))
    if made:
        click.echo(f"There was no database in this folder: {DATABASE_FILE.absolute()} is new.", err=True)
    click.echo(f"{parsed.address} is an administrator in {settings.database}.")
    if generate:
        click.echo(f"password  {password}")


async def _create(settings: Settings, email: str, password: str, *, take_over: bool) -> None:
    from ubr.application.accounts.create_admin import CreateAdminCommand
    from ubr.domain.actor import SYSTEM
    from ubr.domain.errors import EmailTaken, UserNotFound
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings) as ubr:
        try:
            await ubr.create_admin(
                CreateAdminCommand(email=email, password=password, take_over=take_over), actor=SYSTEM
            )
        except EmailTaken:
            raise Refused("The e-mail belongs to an account: --take-over makes it an administrator's.") from None
        except UserNotFound:
            raise Refused(
                f"There is no account to take over with this e-mail in {settings.database}. Check the folder, "
                "UBR_DATABASE_URL and the e-mail; without --take-over a new account is made."
            ) from None


main.add_command(users)
main.add_command(sessions)
main.add_command(machines)
main.add_command(explain_group)
main.add_command(audit)
main.add_command(after_restore)
main.add_command(outbox)
main.add_command(backup)
main.add_command(emulate)


@main.group()
def keys() -> None:
    """Manage the keys that sign access tokens.

    None of these commands requires a restart of the service.
    """


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(*, as_json: bool) -> None:
    """Show every signing key with its state. Private keys are not shown."""
    settings = Settings.from_env()
    import asyncio

    found = asyncio.run(_list_keys(settings))
    if as_json:
        print_json(found)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    times = ("created", "signs from", "ends")
    # Beside the other columns the times need 128 characters. On a smaller screen they go below the key.
    wide = console.width >= _WIDE
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for name in ("kid", "algorithm", "state", *(times if wide else ())):
        table.add_column(name, no_wrap=True)
    for key in found:
        end = key.revoked_at or key.retired_at
        shown = [moment(key.created_at), moment(key.signs_from), "" if end is None else moment(end)]
        if wide:
            table.add_row(key.kid, key.algorithm, key.state, *shown)
        else:
            lines = [f"  {name} {time}" for name, time in zip(times, shown, strict=True) if time]
            table.add_row("\n".join([key.kid, *lines]), key.algorithm, key.state)
    console.print(table)


@keys.command()
def rotate() -> None:
    """Replace the signing key with a new one.

    The new key is published at once and signs a few minutes later, when every cached list of keys has it. The current
    key is removed when its last token has expired.
    """
    settings = Settings.from_env()
    import asyncio

    key = asyncio.run(_rotate_key(settings))
    click.echo(f"{key.kid} ({key.algorithm}) is published, and signs from {moment(key.signs_from)}.")


# A kid may begin with a dash.
@keys.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("kid")
@lost_secret_option
def revoke(*, kid: str, lost_secret: bool) -> None:
    """Revoke the signing key KID, as after a leak.

    When the command returns, its tokens are no longer accepted. Sessions continue: clients refresh. If it was the
    signing key, another key signs at once. The command is refused if UBR_SECRET_KEY decrypts none of the keys in use.
    """
    settings = Settings.from_env()
    import asyncio

    signing = asyncio.run(_revoke_key(settings, kid, lost_secret=lost_secret))
    click.echo(f"{kid} is revoked. {signing.kid} ({signing.algorithm}) signs.")


@keys.command()
def rewrap() -> None:
    """Encrypt all signing keys, including the log's, and all password hashes with the first secret of UBR_SECRET_KEY.

    Afterwards the other secrets can be removed, once no session needs them.
    """
    settings = Settings.from_env()
    import asyncio

    done = asyncio.run(_rewrap_keys(settings))
    click.echo(f"The first secret of UBR_SECRET_KEY decrypts every key: {done.rewrapped} of {done.keys} rewrapped.")
    click.echo(f"Password hashes rewrapped: {done.passwords}.")
    click.echo(f"Keys of machines rewrapped: {done.machine_keys}.")
    if done.lost:
        click.echo(
            f"No secret decrypts {done.lost} password hashes: add the missing secret and repeat, or their users need a "
            "new password.",
            err=True,
        )


async def _list_keys(settings: Settings) -> list[SigningKeyResult]:
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        return await ubr.list_signing_keys(actor=SYSTEM)


async def _rotate_key(settings: Settings) -> SigningKeyResult:
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings) as ubr:
        return await ubr.rotate_signing_key(actor=SYSTEM)


async def _revoke_key(settings: Settings, kid: str, *, lost_secret: bool) -> SigningKeyResult:
    from ubr.application.keys.revoke_signing_key import RevokeSigningKeyCommand
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings, prepared=False) as ubr:
        command = RevokeSigningKeyCommand(kid=kid, lost_secret=lost_secret)
        return await ubr.revoke_signing_key(command, actor=SYSTEM)


async def _rewrap_keys(settings: Settings) -> RewrapResult:
    from ubr.domain.actor import SYSTEM
    from ubr.entrypoints.cli.starting import opened

    async with opened(settings) as ubr:
        return await ubr.rewrap_signing_keys(actor=SYSTEM)


def _password_from_stdin() -> str:
    """Standard input without its trailing line break."""
    longest = 8192  # bytes: more than any password may have
    raw = sys.stdin.buffer.read(longest)
    try:
        return raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Refused("The password on standard input is not UTF-8.", ExitCode.USAGE) from None
