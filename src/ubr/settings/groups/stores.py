"""The stores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from ubr.settings.declaration import setting
from ubr.settings.embedded import EMBEDDED
from ubr.settings.urls import split_url
from ubr.settings.values import alternatives

MEMORY: Final = "memory:"

_SQLITE: Final = ("sqlite:///", "sqlite+aiosqlite:///")
_POSTGRES: Final = ("postgresql", "postgres", "postgresql+asyncpg")
PASSWORDS: Final = {
    "database_url": "database_password",
    "migration_database_url": "migration_database_password",
}
"""The setting with the password of each URL."""

PASSWORD_FILE: Final = "password_file"
"""The option that names the file of the password, in the URLs that ubr itself composes."""

IAM: Final = "aws-iam"
"""The value of `auth` in a URL: AWS IAM issues a password for each connection."""

_POSTGRES_OPTIONS: Final = (
    "auth",
    "host",
    "port",
    "prepared_statement_cache_size",
    "ssl",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
)
_SSL: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def parse_database_url(raw: str) -> str:
    if raw == MEMORY:
        return raw
    if raw.startswith(_SQLITE):
        path = raw.partition(":///")[2]
        if not path or path.endswith("/") or ":memory:" in path or path.startswith("file:") or "?" in path:
            raise ValueError(f"must name a file after sqlite:///, without options; {MEMORY} is the in-memory database")
        return f"sqlite+aiosqlite:///{path}"
    scheme, colon, rest = raw.partition("://")
    if not colon or scheme not in _POSTGRES:
        raise ValueError(f"must begin with postgresql:// or sqlite:///, or be {MEMORY}")
    url = split_url(raw, "postgresql://user:password@host:5432/database")
    if len(url.path) <= 1 or "/" in url.path[1:] or url.fragment:
        raise ValueError("must name one database, as in postgresql://user:password@host:5432/database")
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    for name in options:
        if name not in _POSTGRES_OPTIONS:
            raise ValueError(f"has an unknown option; the known ones are {alternatives(_POSTGRES_OPTIONS)}")
    if not url.hostname and not options.get("host"):
        raise ValueError("must name a host, as in postgresql://user:password@host:5432/database")
    # asyncpg has the name ssl for the option that libpq calls sslmode.
    if (mode := options.pop("sslmode", None) or options.get("ssl")) is not None:
        if mode not in _SSL:
            raise ValueError(f"must have the sslmode {alternatives(_SSL)}")
        options["ssl"] = mode
    rest = rest.partition("?")[0]
    if re.fullmatch(r"[0-9]{1,5}", options.get("prepared_statement_cache_size", "0")) is None:
        raise ValueError("must have a number as prepared_statement_cache_size; 0 prepares no named statements")
    verified = options.get("ssl", "verify-full" if options.get("sslrootcert") == "system" else "") == "verify-full"
    _check_iam(options, url, secure=verified)
    if options.get("sslrootcert") == "system" and not verified:
        raise ValueError("must have the sslmode verify-full if sslrootcert is system")
    return f"postgresql+asyncpg://{rest}" + (f"?{urlencode(options, safe='/')}" if options else "")


def _check_iam(options: Mapping[str, str], url: SplitResult, *, secure: bool) -> None:
    """Errors: `ValueError` if `auth` is given, and IAM cannot authenticate by this URL."""
    if (auth := options.get("auth")) is None:
        return
    if auth != IAM:
        raise ValueError(f"must have no other auth than {IAM}")
    if not url.username or url.password is not None:
        raise ValueError(f"must have a user and no password with auth={IAM}")
    if not secure:
        raise ValueError(
            f"must have TLS (sslmode=verify-full, rediss://) with auth={IAM}: another server could get the password"
        )


def parse_postgres_url(raw: str) -> str:
    url = parse_database_url(raw)
    if not url.startswith("postgresql"):
        raise ValueError("must begin with postgresql://")
    return url


def with_password(url: str, password: str, path: str) -> str:
    """A URL of PostgreSQL with a user, and now with this password. `path` is its file, or empty."""
    scheme, _, rest = url.partition("://")
    user, _, place = rest.partition("@")
    composed = f"{scheme}://{user}:{quote(password, safe='')}@{place}"
    if not path:
        return composed
    mark = "&" if "?" in place else "?"
    return f"{composed}{mark}{PASSWORD_FILE}={quote(str(Path(path).absolute()), safe='/')}"


def takes_password(url: str) -> bool:
    """True if a URL of PostgreSQL has a user and no password, and IAM does not issue one."""
    parts = urlsplit(url)
    return bool(parts.username) and parts.password is None and ("auth", IAM) not in parse_qsl(parts.query)


def parse_schema(raw: str) -> str:
    if re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", raw) is None or raw.startswith("pg_"):
        raise ValueError("must be the name of a schema, in lower case: letters, digits and _")
    return raw


def parse_redis_url(raw: str) -> str:
    url = split_url(raw, "redis://host:6379/0 or rediss://host:6379/0")
    if url.scheme not in {"redis", "rediss"} or not url.hostname:
        raise ValueError("must be redis:// or rediss:// and a host; Sentinel and Unix sockets are not supported")
    if not re.fullmatch(r"/?|/[0-9]{1,5}", url.path) or url.fragment:
        raise ValueError("must have nothing but a database number after its host")
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    if not all(name.startswith("ssl_") or name in {"auth", "cache"} for name in options):
        raise ValueError("has an unknown option; the known ones are auth, cache, and those that begin with ssl_")
    _check_iam(options, url, secure=url.scheme == "rediss")
    if ("auth" in options) != (re.fullmatch(r"[a-z][a-z0-9-]{0,39}", options.get("cache", "")) is not None):
        raise ValueError(f"must have cache=, the id of the cache, together with auth={IAM}")
    return raw


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class StoreSettings:
    """The settings of the stores."""

    database_url: str = setting(
        parse_database_url,
        EMBEDDED,
        "The database: `postgresql://user:password@host:5432/database`, `sqlite:///file` "
        "(relative to the working directory, absolute with a fourth slash), or `memory:`. Behind a PgBouncer that "
        "pools transactions, append `?prepared_statement_cache_size=0`. For TLS it takes `sslmode`, `sslrootcert` "
        "(a file, or `system`), `sslcert` and `sslkey`, as `psql` does. `auth=aws-iam` lets AWS IAM issue the "
        "passwords: see `docs/deploy/aws.md`.",
        shown="masked",
    )
    database_password: str | None = setting(
        str,
        None,
        "The password for `UBR_DATABASE_URL`, if the URL has none. Its file is read again for each connection, so that "
        "a rotated password needs no restart.",
        shown="nothing",
    )
    migration_database_url: str | None = setting(
        parse_postgres_url,
        None,
        "The same PostgreSQL database, as the role that owns the tables: `ubr migrate` and `ubr audit prune` use it. "
        "The role of `UBR_DATABASE_URL` then gets only the privileges that the service needs, and can neither change "
        "nor delete an audit log entry.",
        otherwise="the role of `UBR_DATABASE_URL` owns the tables",
        shown="masked",
    )
    migration_database_password: str | None = setting(
        str,
        None,
        "The password for `UBR_MIGRATION_DATABASE_URL`, if the URL has none. Its file is read again for each "
        "connection.",
        shown="nothing",
    )
    database_schema: str | None = setting(
        parse_schema,
        None,
        "The schema of the tables in PostgreSQL. `ubr migrate` creates it if it is missing.",
        otherwise="`ubr`, or the schema in which an earlier version created the tables, such as `public`",
    )
    redis_url: str | None = setting(
        parse_redis_url,
        None,
        "`redis://` or `rediss://` and the host of a primary; Sentinel, a cluster and Unix sockets are not "
        "supported. `auth=aws-iam&cache=id` lets AWS IAM issue the passwords. "
        "Without it several processes still work correctly, but revocations are slower. "
        "Installations that share a server use separate databases: `redis://host:6379/1`.",
        shown="masked",
    )
