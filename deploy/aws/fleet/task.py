"""The environment of the tasks: the settings of ubr, as plain values and as secrets. Without AWS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deploy.aws.fleet.parameters import DRAIN_SECONDS, IDLE_SECONDS, Parameters
from ubr.settings.settings import TABLE

EMF: Final = "UBR_METRICS_EMF"
"""The setting by which ubr writes its metrics to its log. Older versions do not have it."""

HEALTH_CHECK: Final = (
    "import http.client, sys; connection = http.client.HTTPConnection('127.0.0.1', 8000, timeout=4); "
    "connection.request('GET', '/health/live'); sys.exit(connection.getresponse().status != 200)"
)
"""The program of the container's health check. The image has no curl."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretValue:
    """A setting whose value is one key of the JSON of a secret, or all of a secret if `key` is empty."""

    arn: str
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The places that the data stack makes."""

    database_url: str
    owner_url: str
    redis_url: str
    secret_key: str
    admin: str
    owner: str


def plain(parameters: Parameters, addresses: Addresses) -> dict[str, str]:
    """The settings that are not secret."""
    settings = {
        "UBR_DATABASE_URL": addresses.database_url,
        "UBR_REDIS_URL": addresses.redis_url,
        "UBR_ADMIN_EMAIL": parameters.people.admin_email,
        "UBR_MIGRATE": "check",
        "UBR_PUBLIC_URL": f"https://{parameters.names.domain}",
        "UBR_TRUSTED_PROXIES": parameters.network.cidr,
        "UBR_SHUTDOWN_DELAY": f"{DRAIN_SECONDS}s",
        "UBR_KEEP_ALIVE": f"{IDLE_SECONDS + 15}s",
        "UBR_WORKERS": str(parameters.service.workers),
        "UBR_POOL_SIZE": str(parameters.service.pool_size),
    }
    if parameters.mail is not None:
        settings["UBR_MAIL_FROM"] = parameters.mail.sender
    if any(setting.name == EMF for setting in TABLE):
        settings[EMF] = "on"
    return settings


def secret(parameters: Parameters, addresses: Addresses) -> dict[str, SecretValue]:
    """The settings that ECS reads from Secrets Manager when a task starts."""
    settings = {
        "UBR_SECRET_KEY": SecretValue(arn=addresses.secret_key),
        "UBR_ADMIN_PASSWORD": SecretValue(arn=addresses.admin, key="password"),
    }
    if parameters.mail is not None:
        settings["UBR_SMTP_URL"] = SecretValue(arn=parameters.mail.secret, key="url")
    return settings


def of_owner(addresses: Addresses) -> tuple[dict[str, str], dict[str, SecretValue]]:
    """The settings that only the migration task has: the owner of the tables, with the password that RDS rotates."""
    return (
        {"UBR_MIGRATION_DATABASE_URL": addresses.owner_url},
        {"UBR_MIGRATION_DATABASE_PASSWORD": SecretValue(arn=addresses.owner, key="password")},
    )
