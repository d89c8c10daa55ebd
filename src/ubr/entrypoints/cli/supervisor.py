"""The process behind `ubr serve`: it prepares everything once, then keeps the workers running."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import msgspec
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import MPServer

from ubr.bootstrap import check_tracing, preload
from ubr.entrypoints.addresses import unclear_addresses
from ubr.entrypoints.cli.hardening import protect_secrets, warn_of_root
from ubr.entrypoints.cli.listener import BACKLOG, allowed_connections, run_worker
from ubr.entrypoints.cli.output import MISTAKES, ExitCode, Refused, explain
from ubr.entrypoints.cli.starting import Credentials, prepare
from ubr.entrypoints.http.connections import Connections
from ubr.entrypoints.http.log_lines import OUTPUT, configure, is_text
from ubr.settings import WILDCARDS, Settings, TrustedProxies

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from ubr.entrypoints.http.asgi import Service
    from ubr.entrypoints.http.metrics.board import Board

APP: Final = "ubr.entrypoints.http.asgi:create"
DRAIN: Final = 30
"""The seconds that a worker has for its running requests after a stop signal."""
STOPPING: Final = signal.SIGUSR1
"""Tells a worker that it will be stopped soon."""
_PATIENCE: Final = 0.02
_TICK: Final = 0.25
_BUFFER_BYTES: Final = 64 * 1024

_log: Final = logging.getLogger("ubr.process")

_LOG: Final = {"formatters": {}, "handlers": {}, "loggers": {"_granian": {"handlers": [], "propagate": True}}}
"""The server's own log goes to standard error in the same format as ours."""


def run(settings: Settings) -> ExitCode:
    """Serve until stopped. Errors: `Refused`, `UbrError`, all of them before any worker starts."""
    if isinstance(sys.stdout, TextIOWrapper):
        # Flush every line: a program that reads our output through a pipe may wait for it.
        sys.stdout.reconfigure(line_buffering=True)
    protect_secrets()
    check_tracing(settings)
    address = _claim(settings)
    configure(settings.log_level, form=settings.log_format)
    logging.captureWarnings(True)
    credentials = _prepared(settings)
    _greet(settings, credentials)
    warn_of_root()
    # The workers are forks of this process: they share its loaded modules, which are in memory only once. A collection
    # of garbage would write to the objects that it looks at, and so copy their memory. None precedes this: it would
    # take a tenth of the start, and modules leave hardly any garbage.
    gc.freeze()
    gc.enable()
    return serve(settings, address)


def _prepared(settings: Settings) -> Credentials | None:
    """Prepare in a process of its own: this one stays small, and loads the application meanwhile.

    Errors: `SystemExit` with the code of that process, which has reported the error.
    """
    preload(settings)
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os._exit(_prepare(settings, writing))
    os.close(writing)
    try:
        import_app()
        if settings.pages != "off":
            import_module("ubr.entrypoints.http.pages.controllers").preload()  # each worker needs it
        with os.fdopen(reading, "rb") as pipe:
            made = pipe.read()
    except BaseException:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(max(ExitCode.FAILED, os.waitstatus_to_exitcode(status)))
    return msgspec.json.decode(made, type=Credentials | None)


def _prepare(settings: Settings, writing: int) -> int:
    """The exit code of the process that prepares."""
    try:
        credentials = asyncio.run(prepare(settings))
        os.write(writing, msgspec.json.encode(credentials))
    except KeyboardInterrupt:
        return ExitCode.OK
    except MISTAKES as error:
        return explain(error)
    except BaseException:  # noqa: BLE001 - this process must not go on with the work of its parent
        _log.exception("The service could not be prepared")
        return ExitCode.FAILED
    finally:
        OUTPUT.flush()
        sys.stdout.flush()
        sys.stderr.flush()
    return ExitCode.OK


def _claim(settings: Settings) -> str:
    """The IP address to listen on. Errors: `Refused` if the address is not available, before anything is changed.

    The server opens its port with sharing enabled, so it would not notice another ubr by itself.
    """
    where = f"{settings.host}, port {settings.port}"
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
        family, kind, protocol, _, place = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Refused(f"Another process already listens on {where}: stop it, or set UBR_PORT.") from None
        raise Refused(f"Cannot listen on {where} (UBR_HOST, UBR_PORT): {error.strerror}.") from None
    return str(place[0])


def _greet(settings: Settings, credentials: Credentials | None) -> None:
    _say(settings, "starting", version=f"ubr {version('ubr')}", database=settings.database)
    if settings.smtp_url is None and not settings.embedded:
        _log.warning("no mail is sent, so no user can reset a password or confirm an e-mail: set UBR_SMTP_URL")
    for sentence in unclear_addresses(settings):
        _log.warning("%s", sentence)
    if credentials is None:
        return
    if is_text(settings.log_format, sys.stdout):
        print("The first administrator, whose password is shown this once:")
        print(f"  e-mail    {credentials.email}")
        print(f"  password  {credentials.password}")
    else:
        _say(settings, "first administrator", email=credentials.email, password=credentials.password)


def _say(settings: Settings, event: str, **facts: str) -> None:
    """Print facts about the start: as text for a person, else as one line of JSON, like the log."""
    if not is_text(settings.log_format, sys.stdout):
        # A time for people, in the form of those in the log.
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")  # noqa: TID251
        print(json.dumps({"timestamp": now, "level": "info", "event": event, **facts}))
    elif event == "starting":
        print(" on ".join(facts.values()))
    else:
        for name, value in facts.items():
            print(f"  {name:9} {value}")


def serve(settings: Settings, address: str) -> ExitCode:
    """Keep the workers running. After a stop signal, this returns once they have answered their running requests.

    Errors: `Refused` if they cannot be kept running.
    """
    if sys.platform == "linux":
        # From 3.14 on, fork is not the default. It is safe here: no thread runs yet that could hold a lock.
        multiprocessing.set_start_method("fork")
    os.register_at_fork(after_in_child=_forget_signals)
    from ubr.entrypoints.http.metrics.board import Board  # noqa: PLC0415 - after mistakes were found, not before

    server = Supervisor(settings, address)
    with suppress(SystemExit):  # If the same Ctrl-C reached a worker first, the server reports that worker as failed.
        # The server's own socket has no limits for clients that do not read.
        own_listener = partial(run_worker, address, settings.port) if sys.platform == "linux" else None
        # Only forks share its memory. On other systems each worker shows its own metrics.
        board = Board(settings.workers) if sys.platform == "linux" else None
        # One client leaves half of the connections to the others.
        limit = min(settings.max_connections_per_client, server.connections // 2)
        loader = partial(
            load,
            limit=limit,
            trusted=settings.trusted_proxies,
            port=settings.port,
            loopback=ip_address(address).is_loopback,
            board=board,
        )
        server.serve(own_listener, loader)
    if not server.interrupt_signal:
        raise Refused("The workers exit right after they start: see the log for the reason.")
    return ExitCode.OK


class Supervisor(MPServer):
    """The server, with a message when it is ready."""

    def __init__(self, settings: Settings, address: str) -> None:
        self._settings = settings
        self._delayed = False
        share = max(1, settings.max_connections // settings.workers)
        self.connections = allowed_connections(share)
        """The maximum number of connections of each worker."""
        if self.connections < share:
            _log.warning(
                "A worker may open too few files for UBR_MAX_CONNECTIONS, so it has %d connections at most: raise "
                "`ulimit -n`",
                self.connections,
            )
        super().__init__(
            APP,
            address=address,
            port=settings.port,
            interface=Interfaces.ASGI,
            workers=settings.workers,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(
                # The wait for the next request on an open connection counts as reading its header. `Connections` has
                # the time limit for a header.
                header_read_timeout=int(settings.keep_alive.total_seconds() * 1000),
                max_buffer_size=_BUFFER_BYTES,
            ),
            websockets=False,
            backlog=BACKLOG,
            # Further connections wait in the kernel.
            backpressure=self.connections,
            log_level=LogLevels.warning,
            log_dictconfig=_LOG,
            respawn_failed_workers=True,
            workers_kill_timeout=DRAIN,
        )

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
        """The first SIGTERM has the workers go on for the configured time. Any later signal, and Ctrl-C, ends that."""
        number = args[0] if args else None
        self._delayed = number == signal.SIGTERM and not self.interrupt_signal
        super().signal_handler_interrupt(*args, **kwargs)  # type: ignore[no-untyped-call]

    def shutdown(self, exit_code: int = 0) -> None:
        delay = self._settings.shutdown_delay.total_seconds()
        if self._delayed and delay:
            self.main_loop_interrupt.clear()
            for worker in self.wrks:
                with suppress(OSError, TypeError):  # it ended by itself a moment ago
                    os.kill(worker.inner.pid, STOPPING)
            self.main_loop_interrupt.wait(delay)
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]

    def _stop_workers(self) -> None:
        """Stop all workers, and kill those that have not ended within `DRAIN` seconds.

        The server has a thread that waits for each worker. If that thread learns of the end first, the process object
        still shows the worker as alive for a moment, and the server's own method would report that it killed a worker.
        """
        for worker in self.wrks:
            worker.terminate()  # type: ignore[no-untyped-call]
        deadline = time.monotonic() + DRAIN
        for worker in self.wrks:
            process: BaseProcess = worker.inner
            process.join(max(deadline - time.monotonic(), _PATIENCE))
            if process.is_alive() and _exists(worker.inner.pid):
                _log.warning("Worker %d did not end within %d seconds, and is killed", worker.idx + 1, DRAIN)
                process.kill()
                process.join()
        self.wrks.clear()

    def startup(self, spawn_target: Any, target_loader: Any) -> None:
        super().startup(spawn_target, target_loader)  # type: ignore[no-untyped-call]
        # Started only now, because a fork beside a thread is unsafe.
        threading.Thread(target=self._announce, daemon=True).start()

    def _announce(self) -> None:
        """Print the address of the service once it is ready: a worker listens only when it is ready."""
        place = WILDCARDS.get(self.bind_addr, self.bind_addr)
        while not self.main_loop_interrupt.is_set():
            with suppress(OSError), socket.create_connection((place, self.bind_port), timeout=1):
                address = self._settings.address
                pages = {} if self._settings.pages == "off" else {"login": f"{address}/login"}
                _say(self._settings, "serving", service=address, **pages, docs=f"{address}/api/docs")
                return
            time.sleep(_PATIENCE)


def _exists(pid: int) -> bool:
    """False once a process has ended and another thread has taken its exit code."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def import_app() -> Callable[..., Service]:
    """The application factory."""
    from ubr.entrypoints.http.asgi import create  # noqa: PLC0415 - after mistakes were found, not before

    return create


def load(
    _target: str,
    *,
    limit: int,
    trusted: TrustedProxies,
    port: int,
    loopback: bool,
    board: Board | None,
    number: int = 0,
) -> Service:
    """The application, in a worker. A client has at most `limit` connections.

    `board` has the metrics of all workers, of which this one has the `number`.
    """
    threading.Thread(target=_follow_parent, daemon=True).start()
    loop = asyncio.get_event_loop()
    loop.add_signal_handler(signal.SIGURG, _nothing)
    _listen_for_signals(loop)
    connections = Connections(limit, trusted)
    service = import_app()(connections, board, number, loopback=loopback)
    loop.add_signal_handler(STOPPING, service.stop_soon)
    connections.watch(loop, port)
    return service


def _listen_for_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Deliver signals that arrived while the loop was not running.

    The server runs it once to start the application and once more to serve; uvloop records a SIGTERM in between, but
    handles it only with the next signal.
    """
    signal.raise_signal(signal.SIGURG)
    loop.call_later(_TICK, _listen_for_signals, loop)


def _nothing() -> None:
    pass


def _follow_parent() -> None:
    """Stop when the supervisor has exited for any reason: no other process would ever stop this worker."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _forget_signals() -> None:
    """Used in a worker until it has its own handlers: the inherited handlers do the work of the supervisor."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    # Comes only before SIGTERM, which ends a worker that has not started yet.
    signal.signal(STOPPING, signal.SIG_IGN)
