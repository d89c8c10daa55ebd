"""A real mail server in the process of the test, and certificates for it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ACCOUNT = ("ubr@mail", "a/secret:of @ours%é")
AFAR = "0.0.0.0"  # noqa: S104 - connected to, which reaches this machine under a name that does not say so


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate, with the context of a server that has it, and of a client that trusts it."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def certificate(folder: Path, *hosts: str) -> Certificate:
    """A certificate for these IP addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a mail server")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(host)) for host in hosts]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    file = folder / f"{made.serial_number}.pem"
    file.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return Certificate(server, ssl.create_default_context(cadata=pem.decode()))


@dataclass
class Received:
    """A mail as received."""

    sender: str
    recipients: list[str]
    content: bytes
    encrypted: bool
    account: str | None


@dataclass
class MailServer:
    """Accepts mails, with other replies for the commands in `answers`."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    hanging: tuple[str, ...] = ()
    """The domains whose mails it confirms only when it is released."""
    held: list[str] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_MAIL(  # noqa: N802 - the library's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "MAIL" in self.answers:
            return self.answers["MAIL"]
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - the library's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "RCPT" in self.answers:
            return self.answers["RCPT"].format(address)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if "DATA" in self.answers:
            return self.answers["DATA"]
        assert isinstance(envelope.content, bytes)
        if envelope.rcpt_tos[0].endswith(self.hanging):
            self.held += envelope.rcpt_tos
            await self.released.wait()
        self.received.append(
            Received(
                envelope.mail_from or "",
                list(envelope.rcpt_tos),
                envelope.content,
                server.transport is not None and server.transport.get_extra_info("sslcontext") is not None,
                session.auth_data,
            )
        )
        return "250 OK"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        return self.answers.get("QUIT", "221 Bye")


def _authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any) -> AuthResult:
    if (login.login.decode(), login.password.decode()) != ACCOUNT:
        return AuthResult(success=False, handled=False)
    return AuthResult(success=True, auth_data=login.login.decode())


@asynccontextmanager
async def mail_server(
    tls: Certificate | None = None, *, at_once: bool = False, international: bool = True, account: bool = False
) -> AsyncIterator[MailServer]:
    """With STARTTLS if there is a certificate, or with TLS `at_once`; with `account`, clients have to log in."""
    mails = MailServer()

    def protocol() -> SMTP:
        return SMTP(
            mails,
            hostname="mail.test",
            enable_SMTPUTF8=international,
            tls_context=None if tls is None or at_once else tls.server,
            require_starttls=tls is not None and not at_once,
            authenticator=_authenticate,
            auth_required=account,
            loop=asyncio.get_running_loop(),
        )

    secured = tls.server if tls is not None and at_once else None
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=secured)
    mails.port = server.sockets[0].getsockname()[1]
    try:
        yield mails
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def strange_server(*lines: str, hang: bool = True) -> AsyncIterator[int]:
    """The port of a server that sends the next of these lines after each line it receives, the first at once, and then
    no more.
    """
    over = asyncio.Event()
    talks: set[asyncio.Task[None] | None] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        for at, line in enumerate(lines):
            if at:
                await reader.readline()
            writer.write(line.encode() + b"\r\n")
        if hang:
            await over.wait()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()
        await server.wait_closed()
        await asyncio.gather(*filter(None, talks))
