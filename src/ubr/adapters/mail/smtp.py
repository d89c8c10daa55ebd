"""Mail over SMTP (RFC 5321) with TLS."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPStatus,
)

from ubr.adapters.mail.message import mailbox, written
from ubr.application.ports.mail import Mail
from ubr.application.ports.system import Clock
from ubr.domain.errors import MailRefused, MailUnavailable

_PORTS: Final = {"smtp": 587, "smtps": 465}
_PERMANENT: Final = 500
_OUR_FAULT: Final = (503, 530, 534, 535, 538)
""""Log in first" and similar (RFC 4954): a reply to a recipient that concerns the settings, which can be corrected."""
_FIRST_DOT: Final = re.compile(rb"^\.", re.MULTILINE)
"""Is doubled, because a line with a single dot ends the mail (RFC 5321, 4.5.2)."""
_CAUSES: Final = (
    (ssl.SSLError, "the server and ubr did not agree on TLS"),
    (socket.gaierror, "the host name of the server is unknown"),
    (TimeoutError, "the server did not answer in time"),
    (ConnectionRefusedError, "no server listens at the address"),
)
_FAREWELL: Final = 1.0
"""Seconds for a QUIT. Its result is ignored."""


class SmtpMailer:
    """Uses one connection for each mail, which is accepted as a whole or not at all.

    - `smtps://` is TLS from the first byte; `smtp://` requires STARTTLS, or sends nothing. The certificate must be
      valid for the host. Only a connection to this machine itself may go without TLS.
    - `url` contains the account, percent-encoded. `ssl_context` replaces the machine's trust store.
    - All up to the text of the mail takes at most `timeout` seconds. After the text, the server has `data_timeout` to
      confirm it: a server that checks or forwards a mail first is slow here, and to give up would send the mail twice
      (RFC 5321, 4.5.3.2.6).
    - A server has accepted a mail when it confirms the last line. The mail is not sent again, even if the connection
      fails after that.
    """

    def __init__(
        self,
        url: str,
        sender: str,
        clock: Clock,
        *,
        timeout: float = 10,
        data_timeout: timedelta = timedelta(minutes=10),
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        split = urlsplit(url)
        self._host = split.hostname or ""
        self._port = split.port or _PORTS[split.scheme]
        self._account = (unquote(split.username or ""), unquote(split.password or ""))
        self._at_once = split.scheme == "smtps"
        self._required = not _is_this_machine(self._host)
        self._context = ssl_context or _context(verified=self._at_once or self._required)
        self._sender = sender
        self._own = mailbox(sender)
        self._clock = clock
        self._timeout = timeout
        self._data_timeout = data_timeout

    @property
    def max_duration(self) -> timedelta:
        return timedelta(seconds=self._timeout + _FAREWELL) + self._data_timeout

    @property
    def sends(self) -> bool:
        return True

    async def send(self, mail: Mail) -> None:
        message = written(mail, self._sender, self._clock())
        try:
            async with self._connection() as (client, limit):
                await self._announce(client, mailbox(mail.to))
                await self._transmit(client, message, limit)
        # The library raises ValueError for lines that are not SMTP.
        except (SMTPException, OSError, ValueError) as error:
            raise _told(error) from None

    async def greet(self) -> None:
        """Connect, agree on TLS and log in, as for a mail, and send none. Errors: `MailUnavailable`."""
        try:
            async with self._connection() as (client, _):
                await self._log_in(client)
        except (SMTPException, OSError, ValueError) as error:
            raise _told(error) from None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[SMTP, asyncio.Timeout]]:
        """A connection, and the time limit of its use."""
        client = SMTP(
            hostname=self._host,
            port=self._port,
            local_hostname=self._own.rpartition("@")[2],
            timeout=self._timeout,
            use_tls=self._at_once,
            start_tls=False,
            tls_context=self._context,
        )
        try:
            async with asyncio.timeout(self._timeout) as limit:
                await client.connect()
                yield client, limit
            with suppress(SMTPException, OSError):
                await client.quit(timeout=_FAREWELL)
        finally:
            client.close()

    async def _log_in(self, client: SMTP) -> None:
        """All up to the sender of the mail."""
        await client.ehlo()
        if not self._at_once:
            if client.supports_extension("starttls"):
                await client.starttls(tls_context=self._context, server_hostname=self._host)
                await client.ehlo()
            elif self._required:
                raise MailUnavailable("the server offers no STARTTLS, and ubr sends nothing without TLS")
        if any(self._account):
            if not client.supports_extension("auth"):
                raise MailUnavailable("the server offers no supported authentication")
            await client.login(*self._account)

    async def _announce(self, client: SMTP, to: str) -> None:
        """All up to the text of the mail."""
        await self._log_in(client)
        international = not (to + self._own).isascii()
        if international and not client.supports_extension("smtputf8"):
            if self._own.isascii():
                raise MailRefused("the server does not accept non-ASCII recipients")
            raise MailUnavailable("the server does not accept non-ASCII senders")
        encoding = "utf-8" if international else "ascii"
        await client.mail(
            self._own, options=["SMTPUTF8", "BODY=8BITMIME"] if international else None, encoding=encoding
        )
        await client.rcpt(to, encoding=encoding)
        began = await client.execute_command(b"DATA")
        if began.code != SMTPStatus.start_input:
            raise SMTPDataError(began.code, began.message)

    async def _transmit(self, client: SMTP, message: bytes, limit: asyncio.Timeout) -> None:
        """The text of the mail, and the confirmation of the server, which has time of its own."""
        # Not by the library, which has one timeout for the command, the text and the confirmation.
        if client.protocol is None:
            raise SMTPServerDisconnected("Connection lost")
        seconds = self._data_timeout.total_seconds()
        limit.reschedule(asyncio.get_running_loop().time() + seconds)
        client.protocol.write(_FIRST_DOT.sub(b"..", message) + b".\r\n")
        ended = await client.protocol.read_response(timeout=seconds)
        if ended.code != SMTPStatus.completed:
            raise SMTPDataError(ended.code, ended.message)


def _told(error: Exception) -> MailRefused | MailUnavailable:
    """The failure, without texts of the server or the library, because these can contain the mail."""
    if isinstance(error, SMTPResponseException):
        return _answered(error)
    cause = (error.__cause__ or error) if isinstance(error, SMTPConnectError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return MailUnavailable(f"the server's certificate is not good: {cause.verify_message}")
    sentences = (sentence for kind, sentence in _CAUSES if isinstance(cause, kind))
    return MailUnavailable(next(sentences, "the connection to the server failed"))


def _answered(error: SMTPResponseException) -> MailRefused | MailUnavailable:
    about_the_mail = isinstance(error, SMTPRecipientRefused | SMTPDataError)
    if about_the_mail and error.code >= _PERMANENT and error.code not in _OUR_FAULT:
        return MailRefused(f"the server answered {error.code}")
    to_what = " to the sender" if isinstance(error, SMTPSenderRefused) else ""
    return MailUnavailable(f"the server answered {error.code}{to_what}")


def _is_this_machine(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host.lower() == "localhost"


def _context(*, verified: bool) -> ssl.SSLContext:
    if verified:
        return ssl.create_default_context()
    # The connection stays on this machine, and mail servers are installed with self-signed certificates.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
