"""Why a database cannot be used: a sentence for the operator for each cause. None shows anything of the address."""

from __future__ import annotations

import socket
import ssl
from typing import Final

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_OF_STATES: Final = {
    "08P01": "The database, or a pooler before it, does not understand ubr",
    "25006": "The database takes no writes: it is a standby, or set to read-only",
    "28000": "The database does not let this role in: it does not exist there, or may not come from this machine",
    "28P01": "The database refuses the password of this role",
    "3D000": "The server has no database of this name",
    "42501": "The role lacks a right in the database that this takes, such as to create tables",
    "53100": "The disk of the database is full",
    "53200": "The server of the database has no memory left",
    "53300": "The database has no connection left for this role",
    "57P03": "The database is starting, or shutting down",
}
_TLS_DEMANDED: Final = "The database demands TLS: add ?sslmode=require to its URL"
_OF_SQLITE: Final = {
    "SQLITE_CANTOPEN": "The file of the database cannot be opened",
    "SQLITE_CORRUPT": "The file of the database is damaged",
    "SQLITE_FULL": "The disk of the database is full",
    "SQLITE_NOTADB": "The file is no database of SQLite",
    "SQLITE_READONLY": "The file of the database, or its folder, cannot be written to",
}

_NOTHING_THERE: Final = ("connection refused", "Nothing listens at the address of the database")
_NO_PEM: Final = ("unusable certificate", "A file for TLS in the URL of the database is no fitting certificate or key")
_OF_CONNECTING: Final[tuple[tuple[type[OSError], str, str, str | None], ...]] = (
    (ssl.SSLError, "PEM lib", *_NO_PEM),
    (ssl.SSLError, "[X509", *_NO_PEM),
    (ssl.SSLError, "", "TLS failed", "The database and ubr cannot agree on TLS"),
    (socket.gaierror, "", "unknown host", "The name of the database's host is not known"),
    (TimeoutError, "", "no answer in time", None),
    (ConnectionRefusedError, "", *_NOTHING_THERE),
    (OSError, "Connect call failed", *_NOTHING_THERE),
    (ConnectionError, "rejected SSL upgrade", "no TLS", "The database offers no TLS, which its URL demands"),
)


def of_state(state: str, message: str = "") -> str | None:
    """The cause behind a SQLSTATE; None where there is nothing more to say than that."""
    # Every PostgreSQL so far says one of these where nothing but TLS is wanted; for the rest its words differ.
    if state == "28000" and ("no encryption" in message or "SSL off" in message):
        return _TLS_DEMANDED
    return _OF_STATES.get(state)


def of_sqlite(name: str) -> str | None:
    """The cause behind an error code of SQLite, of which the longer ones begin with the shorter."""
    return next((sentence for code, sentence in _OF_SQLITE.items() if name.startswith(code)), None)


def of_options(message: str) -> tuple[str, str]:
    """The same for options of the URL that the driver cannot use."""
    if "root certificate" in message or "root.crt" in message or "postgresql configuration" in message.lower():
        return "no sslrootcert", (
            "The certificate of the database cannot be checked: add sslrootcert to its URL, with the file of the "
            "authority, or system"
        )
    return "unusable options", "The options in the URL of the database cannot be used"


def of_connecting(error: OSError) -> tuple[str, str | None]:
    """A word for the log, and a sentence where the cause is known."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate refused", f"The certificate of the database is not accepted: {error.verify_message}"
    # The event loop and the driver say some of these by their words alone.
    said = f"{error}"
    for kind, words, reason, sentence in _OF_CONNECTING:
        if isinstance(error, kind) and words in said:
            return reason, sentence
    return "connection refused or lost", None
