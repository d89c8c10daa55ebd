"""The command that serves the double over HTTP."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import rich_click as click

from ubr.entrypoints.cli.output import ExitCode, Refused, print_json
from ubr.settings import MEMORY, LoginRateLimit, RateLimit, Settings

if TYPE_CHECKING:
    from ubr.entrypoints.emulator.app import Emulator

# Commands import inside their functions: other commands load none of this.
# ruff: noqa: PLC0415

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_HELP = """Serve ubr in memory, for tests of programs in any language.

All data is lost at the end. It takes the settings of the environment, except for stores, mail servers and secrets,
and has no rate limits unless asked for. Calls below /_emulator reset it, move its clock, show its mails and make its
store fail: docs/testing.md describes them.
"""


@click.command(help=_HELP)
@click.option("--port", type=click.IntRange(1, 65535), default=8025, show_default=True, help="The port to listen on.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The IP address to listen on. Others can then reset it."
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="A host name by which others reach it, such as that of its container. It answers for IP addresses and "
    "localhost anyway.",
)
@click.option(
    "--state",
    "state_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of JSON with the users and roles at the start and after a reset.",
)
@click.option("--limits", is_flag=True, help="Keep the rate limits of the settings.")
@click.option("--schema", "show_schema", is_flag=True, help="Print the JSON schema of that file, and exit.")
def emulate(
    *, port: int, host: str, names: tuple[str, ...], state_file: Path | None, limits: bool, show_schema: bool
) -> None:
    from ubr.entrypoints.emulator.state import State, WrongState, read_state, schema

    if show_schema:
        print_json(schema())
        return
    try:
        address = ip_address(host)
    except ValueError:
        raise click.UsageError(f"--host takes an IP address, not {host!r}.") from None
    if wrong := [name for name in names if not _NAME.fullmatch(name)]:
        raise click.UsageError(f"--allow-host takes a host name without a port, not {wrong[0]!r}.")
    settings = settings_of(str(address), port, limits=limits)
    import asyncio

    from ubr.entrypoints.emulator.app import Emulator

    try:
        emulator = Emulator(settings, State() if state_file is None else read_state(state_file), names=names)
        asyncio.run(_serve(emulator, settings, open_to_others=not address.is_loopback))
    except WrongState as error:
        raise Refused(str(error)) from None
    _leave()


def _leave() -> NoReturn:
    """End the process without ending the interpreter.

    A thread of the stopped server may be about to call Python. In an interpreter that ends meanwhile, that aborts the
    process.
    """
    from ubr.entrypoints.http.log_lines import OUTPUT

    OUTPUT.flush()
    sys.stdout.flush()
    os._exit(ExitCode.OK)


def settings_of(host: str, port: int, *, limits: bool) -> Settings:
    """Those of the environment, in memory, for an emulator at this address.

    Errors: `Refused` in the environment of an installation.
    """
    settings = Settings.from_env(secret=False).at(host, port)
    named = [
        name
        for name, value in (
            ("UBR_DATABASE_URL", None if settings.embedded else settings.database_url),
            ("UBR_REDIS_URL", settings.redis_url),
            ("UBR_SMTP_URL", settings.smtp_url),
        )
        if value is not None
    ]
    if named:
        raise Refused(
            f"This is the environment of an installation: it sets {', '.join(named)}. The emulator has no database and "
            "no mail server, and must not be taken for that installation."
        )
    from ubr.bootstrap.double import TINY_HASHING

    off: dict[str, Any] = {}
    if not limits:
        for each in fields(settings):
            value = getattr(settings, each.name)
            if isinstance(value, RateLimit):
                off[each.name] = RateLimit(None)
            elif isinstance(value, LoginRateLimit):
                off[each.name] = LoginRateLimit(None, None)
    return replace(settings, database_url=MEMORY, **TINY_HASHING, **off)


async def _serve(emulator: Emulator, settings: Settings, *, open_to_others: bool) -> None:
    """Serve until a stop signal. Errors: `Refused` if the address is not available; `WrongState`."""
    import asyncio
    import signal
    import socket

    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    address, port = settings.host, settings.port
    # The server would share its port with another process that allows this, and would not notice.
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
        except OSError as error:
            raise Refused(f"Cannot listen on {address}, port {port}: {error.strerror}.") from None
    await emulator.start()
    try:
        server = Server(
            emulator,
            address=address,
            port=port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        click.echo(f"ubr emulator on {settings.address}: in memory, for tests only. All data is lost at the end.")
        if open_to_others:
            click.echo(f"Everyone who reaches {address} can reset it and read its mails.", err=True)
        await server.serve()
    finally:
        await emulator.stop()
