"""Passwords that IAM issues: signed requests that RDS and ElastiCache accept for 15 minutes.

A password is for the start of a connection only: PostgreSQL keeps the connection, ElastiCache closes it after 12 hours.
Sources: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html,
https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
"""

from __future__ import annotations

from typing import Final

from ubr.adapters.aws.credentials import PROCESS, CredentialSource
from ubr.adapters.aws.signing import signed_url

IAM: Final = "aws-iam"
"""The value of `auth` in the URL of a database or of Redis."""

_SECONDS: Final = 900
"""How long a password is accepted. IAM allows no more."""


async def database_password(host: str, port: int, role: str, source: CredentialSource = PROCESS) -> str:
    """The password of a PostgreSQL role at RDS. Errors: `NoCredentials`."""
    return signed_url(
        await source.current(),
        service="rds-db",
        region=source.region,
        host=f"{host}:{port}",
        parameters={"Action": "connect", "DBUser": role},
        seconds=_SECONDS,
        now=source.clock(),
    )


async def cache_password(cache: str, user: str, source: CredentialSource = PROCESS) -> str:
    """The password of a user of ElastiCache. `cache` is the id of the replication group. Errors: `NoCredentials`."""
    return signed_url(
        await source.current(),
        service="elasticache",
        region=source.region,
        host=cache,
        parameters={"Action": "connect", "User": user},
        seconds=_SECONDS,
        now=source.clock(),
    )
