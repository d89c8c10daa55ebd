"""A real browser, controlled over two pipes (Chrome DevTools Protocol)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from shutil import which
from typing import Any

from tests.support.debian import UNPACKED, unpack

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_HERE = """\
#!/bin/sh
# Debian's browser, with the libraries and fonts beside it.
LD_LIBRARY_PATH="{libraries}"
XDG_DATA_HOME="{root}/usr/share"
export LD_LIBRARY_PATH XDG_DATA_HOME
if [ ! -e /etc/fonts/fonts.conf ]; then
    FONTCONFIG_PATH="{root}/etc/fonts"
    export FONTCONFIG_PATH
fi
exec "{root}/usr/lib/chromium/chromium" "$@"
"""

Handler = Callable[[dict[str, Any]], Awaitable[None]]


class Tab:
    """One page. `notes` holds the browser's messages about it: its console, and its log. `requests` holds addresses."""

    def __init__(self, say: Callable[[bytes], None]) -> None:
        self._say = say
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._handlers: dict[str, Handler] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.session: str | None = None
        self.notes: list[str] = []
        self.requests: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = len(self._answers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        self._say(json.dumps(message).encode() + b"\0")
        async with asyncio.timeout(60):
            return await self._answers[number]

    def on(self, event: str, handler: Handler) -> None:
        self._handlers[event] = handler

    def hear(self, message: dict[str, Any]) -> None:
        if "id" in message:
            answer = self._answers[message["id"]]
            if "error" in message:
                answer.set_exception(AssertionError(message["error"]))
            else:
                answer.set_result(message["result"])
            return
        params = message.get("params", {})
        match message["method"]:
            case "Log.entryAdded":
                if params["entry"]["level"] in {"warning", "error"}:
                    self.notes.append(params["entry"]["text"])
            case "Runtime.consoleAPICalled":
                self.notes.append(str(params["args"]))
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.notes.append(str(params["exceptionDetails"]))
            case event if event in self._handlers:
                task = asyncio.ensure_future(_run(self._handlers[event], params))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case _:
                pass

    async def value(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        told = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        looking = f"const look = () => ({expression}) ? done() : setTimeout(look, 10); look();"
        await self.value(f"new Promise((done) => {{ {looking} }})")


def installed() -> str:
    """The program of the browser: one on PATH, or Debian's package, unpacked into the virtual environment.

    Errors: `ServerError` with what to install if there is none.
    """
    found = next(filter(None, map(which, _NAMES)), None)
    return found or str(_unpacked())


def _unpacked() -> Path:
    program = UNPACKED / "chromium-here"

    def finish() -> None:
        libraries = {str(file.parent) for file in UNPACKED.glob("**/lib*.so*") if "chromium" not in file.parts}
        program.write_text(_HERE.format(root=UNPACKED, libraries=":".join(sorted(libraries))))
        program.chmod(0o755)

    # The font is for machines without any: without one, text takes no room.
    unpack("chromium", "fonts-dejavu-core", dependencies=True, finish=finish)
    return program


async def _run(handler: Handler, params: dict[str, Any]) -> None:
    await handler(params)


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Tab]:
    """A tab of a new browser. Errors: `AssertionError` if no browser is installed."""
    program = installed()
    to_browser, from_test = os.pipe()
    to_test, from_browser = os.pipe()
    # The browser reads from descriptor 3 and writes to 4.
    command = (
        f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}',
        program,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        f"--user-data-dir={folder / 'browser'}",
        "--remote-debugging-pipe",
    )
    with (folder / "browser.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", *command, pass_fds=(to_browser, from_browser), stdout=log, stderr=log
        )
    os.close(to_browser)
    os.close(from_browser)
    tab = Tab(lambda message: _write(from_test, message))
    loop = asyncio.get_running_loop()
    heard = asyncio.StreamReader(limit=2**26)
    pipe = os.fdopen(to_test, "rb", 0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(heard), pipe)

    async def listen() -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                tab.hear(json.loads((await heard.readuntil(b"\0"))[:-1]))

    listening = asyncio.create_task(listen())
    try:
        target = await tab.call("Target.createTarget", url="about:blank")
        attached = await tab.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        tab.session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            await tab.call(f"{domain}.enable")
        yield tab
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        transport.close()
        os.close(from_test)
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _write(descriptor: int, message: bytes) -> None:
    while message:
        message = message[os.write(descriptor, message) :]
