"""Settings that are valid by themselves and contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import check_password
from ubr.domain.errors import Invalid
from ubr.settings.embedded import EMBEDDED
from ubr.settings.groups.stores import IAM, MEMORY, PASSWORDS, takes_password


def contradictions(values: Mapping[str, Any], given: set[str], *, secret: bool) -> list[str]:
    """The contradictions between settings that are valid by themselves. Fields with wrong values are missing here."""
    wrong = []

    def known(*names: str) -> bool:
        return all(name in values for name in names)

    if known("database_url", "workers") and values["workers"] > 1 and not values["database_url"].startswith("postgres"):
        wrong.append("UBR_WORKERS must be 1 on SQLite and in memory: several processes need PostgreSQL.")
    lasting = known("database_url") and values["database_url"] not in {EMBEDDED, MEMORY}
    if secret and lasting and known("secret_keys") and values["secret_keys"] is None:
        wrong.append(
            "UBR_SECRET_KEY must be set, unless the database is the embedded default: 32 bytes or more, "
            "for instance the output of `openssl rand -hex 32`."
        )
    if known("database_url") and not values["database_url"].startswith("postgresql"):
        wrong += [
            f"UBR_{name.upper()} must not be set unless UBR_DATABASE_URL is a PostgreSQL database."
            for name in ("migration_database_url", "database_schema")
            if values.get(name) is not None
        ]
    wrong += [
        f"UBR_{password.upper()} must not be set unless UBR_{url.upper()} is a PostgreSQL database with a user and "
        f"neither a password nor auth={IAM}."
        for url, password in PASSWORDS.items()
        if known(url, password) and values[password] is not None and not _takes_password(values[url])
    ]
    if known("session_idle", "session_lifetime") and values["session_idle"] > values["session_lifetime"]:
        wrong.append("UBR_SESSION_IDLE must not be longer than UBR_SESSION_LIFETIME.")
    if known("revocation_poll", "revocation_bound") and values["revocation_poll"] >= values["revocation_bound"]:
        wrong.append("UBR_REVOCATION_POLL must be shorter than UBR_REVOCATION_BOUND.")
    if "UBR_SMTP_URL" in given and "UBR_PUBLIC_URL" not in given:
        wrong.append("UBR_SMTP_URL must not be set without UBR_PUBLIC_URL, the start of all links in mails.")
    if "UBR_SMTP_URL" in given and "UBR_MAIL_FROM" not in given:
        wrong.append("UBR_SMTP_URL must not be set without UBR_MAIL_FROM, the sender of all mails.")
    if lasting and values.get("registration") == "verified" and "UBR_SMTP_URL" not in given:
        wrong.append(
            "UBR_REGISTRATION must not be verified without UBR_SMTP_URL: it needs mails, and none could be sent."
        )
    plain = (values.get("public_url") or "https:").startswith("http:")
    if not plain and any(origin.startswith("http:") for origin in values.get("trusted_origins", ())):
        wrong.append(
            "UBR_TRUSTED_ORIGINS must contain only https:// origins, unless UBR_PUBLIC_URL is an http:// address: "
            "anyone on the way could change a page of an http:// origin."
        )
    if ("UBR_ADMIN_EMAIL" in given) != ("UBR_ADMIN_PASSWORD" in given):
        wrong.append("UBR_ADMIN_EMAIL and UBR_ADMIN_PASSWORD must be set together, or neither.")
    elif "UBR_ADMIN_EMAIL" in given and known("admin_email", "admin_password", "password_min_length"):
        try:
            check_password(
                values["admin_password"],
                min_length=values["password_min_length"],
                email=Email.parse(values["admin_email"]),
                # Common and guessable passwords are rejected when the administrator is created.
                is_common=lambda _: False,
                is_guessable=lambda _: False,
            )
        except Invalid as error:
            wrong.append(f"UBR_ADMIN_PASSWORD {error.detail}.")
    return wrong


def _takes_password(url: str | None) -> bool:
    return url is not None and url.startswith("postgresql") and takes_password(url)
