"""The sentences that tell operators why a database cannot be used. None contains a part of the address."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable
from typing import Final

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_OF_STATES: Final = {
    "08003": "The database closed the connection: its log has the reason, such as a certificate that it rejects",
    "08P01": "The database, or a pooler in front of it, does not understand the messages of ubr",
    "25006": "The database accepts no writes: it is a standby, or read-only",
    "28000": "The database rejects this role: it does not exist there, or must not connect from this machine",
    "28P01": "The database rejects the password of this role",
    "3D000": "The server has no database of this name",
    "53100": "The disk of the database is full",
    "53200": "The database server is out of memory",
    "53300": "The database has no connection left for this role",
    "57P03": "The database is starting or shutting down",
}
_TLS_DEMANDED: Final = "The database requires TLS: add ?sslmode=require to its URL"
_OF_SQLITE: Final = {
    "SQLITE_CANTOPEN": "The database file cannot be opened",
    "SQLITE_CORRUPT": "The database file is damaged",
    "SQLITE_FULL": "The disk of the database is full",
    "SQLITE_NOTADB": "The database file is not an SQLite database",
    "SQLITE_READONLY": "The database file, or its folder, is not writable",
}

_REJECTED_CERTIFICATE: Final = re.compile("ALERT_.*(CERTIFICATE|UNKNOWN_CA|DECRYPT_ERROR)")
"""The alerts by which a server rejects the certificate of its client, or demands one (RFC 8446, 6.2)."""

_NOTHING_THERE: Final = ("connection refused", "No server listens at the address of the database")
_NO_PEM: Final = ("unusable certificate", "A TLS file in the database URL is not a suitable certificate or key")
_OF_CONNECTING: Final[tuple[tuple[type[OSError], str, str, str | None], ...]] = (
    (ssl.SSLError, "PEM lib", *_NO_PEM),
    (ssl.SSLError, "[X509", *_NO_PEM),
    (ssl.SSLError, "", "TLS failed", "The database and ubr did not agree on TLS"),
    (socket.gaierror, "", "unknown host", "The host name of the database is unknown"),
    (TimeoutError, "", "no answer in time", None),
    (ConnectionRefusedError, "", *_NOTHING_THERE),
    (OSError, "Connect call failed", *_NOTHING_THERE),
    (ConnectionError, "rejected SSL upgrade", "no TLS", "The database URL requires TLS, but the server offers none"),
)


def of_state(state: str, message: str = "") -> str | None:
    """The sentence for a SQLSTATE; None if there is none."""
    # If only TLS is missing, the message of every version of PostgreSQL so far contains one of these.
    if state == "28000" and ("no encryption" in message or "SSL off" in message):
        return _TLS_DEMANDED
    return _OF_STATES.get(state)


def of_denial(message: str, tables: Iterable[str]) -> str:
    """The sentence for a missing privilege. `message` may be in any language, but contains the name of the table."""
    words = set(re.findall(r"\w+", message))
    for name in tables:
        if name in words:
            return (
                f"The database role lacks a privilege on the table {name}: `ubr migrate` with "
                "UBR_MIGRATION_DATABASE_URL grants the service what it needs"
            )
    if "for database" in message:  # while it connects; in another language the sentence is the general one
        return "The database role may not connect to this database: grant it the privilege CONNECT"
    return "The database role lacks a privilege that this requires, such as the one to create tables"


def of_sqlite(name: str) -> str | None:
    """The sentence for an error code of SQLite. An extended code begins with its primary code."""
    return next((sentence for code, sentence in _OF_SQLITE.items() if name.startswith(code)), None)


def of_options(message: str) -> tuple[str, str]:
    """The reason and the sentence for options of the URL that the driver cannot use."""
    if "root certificate" in message or "root.crt" in message or "postgresql configuration" in message.lower():
        return "no sslrootcert", (
            "The certificate of the database cannot be verified: add sslrootcert to its URL, with the certificate file "
            "of the authority, or with the value system"
        )
    return "unusable options", "The options in the database URL cannot be used"


def of_connecting(error: OSError) -> tuple[str, str | None]:
    """The reason for the log, and a sentence if the cause is known."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate refused", f"The certificate of the database is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and _REJECTED_CERTIFICATE.search(f"{error.reason}"):
        return "client certificate rejected", (
            "The database rejects the certificate of ubr: check sslcert and sslkey in its URL, and the authority that "
            "signed the certificate"
        )
    # Some errors of the event loop and of the driver differ only in their text.
    said = f"{error}"
    for kind, words, reason, sentence in _OF_CONNECTING:
        if isinstance(error, kind) and words in said:
            return reason, sentence
    return "connection refused or lost", None
