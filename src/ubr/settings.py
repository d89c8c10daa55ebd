"""The one reader of the environment: what can be set, its default and its meaning, in one table (`TABLE`)."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import check_password
from ubr.domain.errors import Invalid
from ubr.domain.roles.permissions import BUILT_IN_PERMISSIONS, Permission

MEMORY: Final = "memory:"
EMBEDDED: Final = "sqlite+aiosqlite:///var/ubr.db"
"""The database used where none is named: a file under the working directory."""

SECRET_FILE: Final = Path("var/secret_key")
"""Where the secret of the embedded database is kept, under the working directory."""

MAIL_FOLDER: Final = Path("var/mail")
"""Where mails go with the embedded database, under the working directory, while there is no mail server."""

LOCAL_SENDER: Final = "ubr@localhost"
"""Whom those mails come from."""

LIFELINE: Final = 4
"""The connections of each worker that are not for requests."""

_PREFIX: Final = "UBR_"
_OTHERS: Final = ("UBR_TEST_", "UBR_BENCH_")
_SECRET_BYTES: Final = 32

Parser: TypeAlias = Callable[[str], Any]
Network: TypeAlias = IPv4Network | IPv6Network
TrustedProxies: TypeAlias = tuple[Network, ...] | int
"""The networks whose `X-Forwarded-For` counts, or how many proxies stand in front, whatever their networks."""


class WrongSetting(Exception):
    """Something set is wrong. One sentence for each: the variable, what is wrong with it, what is allowed.

    No sentence holds a secret, nor any part of a URL that may have a password in it.
    """

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        super().__init__("\n".join(sentences))


@dataclass(frozen=True, slots=True)
class Limit:
    """So many in so much time."""

    count: int
    per: timedelta

    def __str__(self) -> str:
        return f"{self.count}/{next(name for name, seconds in _PERIODS.items() if seconds == self.per)}"


@dataclass(frozen=True, slots=True)
class LoginRateLimit:
    """How many logins may fail for one account, and for one client IP. None is no limit."""

    per_account: Limit | None
    per_ip: Limit | None

    def __str__(self) -> str:
        if self == LoginRateLimit(None, None):
            return "off"
        return f"{self.per_account or 'off'},{self.per_ip or 'off'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that an operator decides. `TABLE` says what each means; its `repr` shows no secret."""

    database_url: str = field(repr=False)
    migration_database_url: str | None = field(repr=False)
    redis_url: str | None = field(repr=False)
    secret_keys: tuple[bytes, ...] = field(repr=False)
    admin_email: str | None
    admin_password: str | None = field(repr=False)
    migrate: Literal["auto", "check"]
    host: str
    port: int
    workers: int
    registration: Literal["open", "verified", "closed"]
    login_rate_limit: LoginRateLimit
    password_min_length: int
    password_block_list: str | None
    argon2_memory_kib: int
    argon2_time: int
    argon2_parallelism: int
    session_idle: timedelta
    session_lifetime: timedelta
    sessions_per_user: int
    revocation_poll: timedelta
    revocation_bound: timedelta
    access_token_lifetime: timedelta
    issuer: str
    audience: str
    jwt_algorithm: Literal["EdDSA", "ES256"]
    permissions: tuple[str, ...]
    cors_origins: tuple[str, ...]
    metrics_token: str | None = field(repr=False)
    log_level: Literal["debug", "info", "warning", "error"]
    pool_size: int
    audit_checkpoint: str | None
    smtp_url: str | None = field(repr=False)
    mail_from: str | None
    mail_templates: str | None
    public_url: str | None
    trusted_proxies: TrustedProxies

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, *, secret: bool = True) -> Settings:
        """What the environment says, and the defaults for the rest.

        Where no `secret` is needed it may be missing. Then nothing can be opened, and what is signed is good for
        nobody.

        On the embedded database a secret is made, once, in `var/secret_key`. Errors: `WrongSetting`, with a sentence
        for each setting that is wrong; nothing is written then.
        """
        values, _ = _read(environ, secret=secret)
        kept = secret and values["database_url"] == EMBEDDED
        if kept:
            _make_folder()
        if values["secret_keys"] is None:
            values["secret_keys"] = _kept_secret() if kept else _parse_secrets(_secret())
        return cls(**values)

    @classmethod
    def memory(cls, **changes: Any) -> Settings:
        """The in-memory environment: the defaults, a secret of its own, and these changes, which are not checked."""
        return replace(cls.from_env({"UBR_DATABASE_URL": MEMORY}), **changes)

    @property
    def embedded(self) -> bool:
        """Whether this is the database that needs no decision from anybody."""
        return self.database_url == EMBEDDED

    @property
    def address(self) -> str:
        """Where the service listens, as a URL."""
        return _address(self.host, self.port)

    @property
    def database(self) -> str:
        """What the database is, for people: without a password."""
        kind = "PostgreSQL" if self.database_url.startswith("postgresql") else "SQLite"
        return f"{kind}, {masked(self.database_url).partition('://')[2].removeprefix('/')}"


# --- what a value may look like. A parser raises ValueError with the end of a sentence that begins with the name. -----

_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_PERIODS: Final = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}


def parse_duration(raw: str) -> timedelta:
    """`250ms`, `90s`, `10m`, `1h`, `14d`. Errors: `ValueError`."""
    found = re.fullmatch(r"([0-9]{1,9})(ms|s|m|h|d)", raw)
    if found is None:
        raise ValueError("must be a whole number and a unit (ms, s, m, h or d), such as 250ms, 90s, 10m, 1h or 14d")
    try:
        return int(found[1]) * _UNITS[found[2]]
    except OverflowError:
        raise ValueError("must be a shorter time") from None


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads as this duration."""
    for name, unit in reversed(_UNITS.items()):
        if duration % unit == timedelta(0) and (duration or name == "s"):
            return f"{duration // unit}{name}"
    raise ValueError("is not a whole number of milliseconds")


def _duration(least: str, most: str) -> Parser:
    def parse(raw: str) -> timedelta:
        duration = parse_duration(raw)
        if not parse_duration(least) <= duration <= parse_duration(most):
            raise ValueError(f"must be from {least} to {most}")
        return duration

    return parse


def _whole(least: int, most: int) -> Parser:
    def parse(raw: str) -> int:
        # Not int() alone: it takes underscores, signs and the digits of every script.
        if not re.fullmatch(r"[0-9]{1,9}", raw) or not least <= int(raw) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(raw)

    return parse


def _one_of(*names: str) -> Parser:
    def parse(raw: str) -> str:
        if raw not in names:
            raise ValueError(f"must be {_alternatives(names)}")
        return raw

    return parse


def _alternatives(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _items(raw: str) -> list[str]:
    """The parts of a comma-separated list, each once, in their order."""
    return list(dict.fromkeys(item for part in raw.split(",") if (item := part.strip())))


def _parse_secrets(raw: str) -> tuple[bytes, ...]:
    keys = tuple(item.encode() for item in _items(raw))
    if not keys or any(len(key) < _SECRET_BYTES for key in keys):
        raise ValueError(f"must have {_SECRET_BYTES} bytes or more in each of its keys, which commas separate")
    return keys


def _parse_email(raw: str) -> str:
    return Email.parse(raw).address


def _parse_sender(raw: str) -> str:
    return raw if raw == LOCAL_SENDER else _parse_email(raw)


def _parse_host(raw: str) -> str:
    with suppress(ValueError):
        return str(ip_address(raw))
    if (
        not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", raw)
        or raw.rpartition(".")[2].isdigit()
    ):
        raise ValueError("must be an IP address or the name of a host, without a port or brackets")
    return raw


def _parse_login_rate_limit(raw: str) -> LoginRateLimit:
    if raw == "off":
        return LoginRateLimit(None, None)
    limits: list[Limit | None] = []
    for part in raw.split(","):
        found = re.fullmatch(r"([1-9][0-9]{0,5})/(second|minute|hour|day)", part.strip())
        if found is None and part.strip() != "off":
            break
        limits.append(Limit(int(found[1]), _PERIODS[found[2]]) if found else None)
    else:
        if len(limits) == 2:  # noqa: PLR2004 - the account and the client IP
            return LoginRateLimit(*limits)
    raise ValueError(
        "must be off, or two limits, failures per account and per client IP, such as 10/minute,100/minute "
        "(per second, minute, hour or day)"
    )


def _parse_permissions(raw: str) -> tuple[str, ...]:
    names = _items(raw)
    for name in names:
        try:
            permission = Permission.parse(name)
        except Invalid:
            raise ValueError("must be a list of names like notes:edit, in lower case, separated by commas") from None
        if permission in BUILT_IN_PERMISSIONS.names:
            raise ValueError(f"must not hold {name}, which is built in")
    return tuple(names)


def _parse_file(raw: str) -> str:
    if raw.endswith("/"):
        raise ValueError("must name a file")
    return raw


def _parse_folder(raw: str) -> str:
    if not Path(raw).is_dir():
        raise ValueError("must name a folder that is there")
    return raw


def _parse_token(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]{16,512}=*", raw):
        raise ValueError("must have 16 to 512 letters, digits or any of . _ ~ + / -, as a bearer token has")
    return raw


def _parse_audience(raw: str) -> str:
    if not re.fullmatch(r"[!-~]{1,255}", raw) or "," in raw:
        raise ValueError("must be one name of 1 to 255 ASCII characters, without spaces or commas")
    return raw


def _parse_proxies(raw: str) -> TrustedProxies:
    if raw.startswith("hops:"):
        try:
            return int(_whole(1, 32)(raw.removeprefix("hops:")))
        except ValueError:
            raise ValueError("must have a whole number from 1 to 32 behind hops:") from None
    networks = []
    for item in _items(raw):
        try:
            network = ip_network(item, strict=False)
        except ValueError:
            raise ValueError("must be hops:N, or networks such as 10.0.0.0/8,fd00::/8") from None
        if str(network.network_address) != str(ip_address(item.partition("/")[0])):
            raise ValueError(f"must hold networks by their first address: {item} is in {network}")
        if network.prefixlen == 0:
            raise ValueError(f"must not trust everybody, as {item} does; hops:N counts proxies whatever their networks")
        networks.append(network)
    return tuple(networks)


# --- URLs ------------------------------------------------------------------------------------------------------------

_SQLITE: Final = ("sqlite:///", "sqlite+aiosqlite:///")
_POSTGRES: Final = ("postgresql", "postgres", "postgresql+asyncpg")
_POSTGRES_OPTIONS: Final = ("host", "port", "prepared_statement_cache_size", "ssl", "sslmode")
_SSL: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def _split(raw: str, allowed: str) -> SplitResult:
    try:
        url = urlsplit(raw)
        _ = url.port  # looked at only when asked for
    except ValueError:
        raise ValueError(f"must look like {allowed}") from None
    if url.netloc.count("@") > 1 or "@" in url.path + url.query + url.fragment:
        raise ValueError("has an @ too many: one in a user name or password is written %40")
    return url


def _parse_database_url(raw: str) -> str:
    if raw == MEMORY:
        return raw
    if raw.startswith(_SQLITE):
        path = raw.partition(":///")[2]
        if not path or path.endswith("/") or ":memory:" in path or path.startswith("file:") or "?" in path:
            raise ValueError(f"must name a file behind sqlite:///, without options; {MEMORY} is the database in memory")
        return f"sqlite+aiosqlite:///{path}"
    scheme, colon, rest = raw.partition("://")
    if not colon or scheme not in _POSTGRES:
        raise ValueError(f"must begin with postgresql:// or sqlite:///, or be {MEMORY}")
    url = _split(raw, "postgresql://user:password@host:5432/database")
    if len(url.path) <= 1 or "/" in url.path[1:] or url.fragment:
        raise ValueError("must name one database, as in postgresql://user:password@host:5432/database")
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    for name in options:
        if name not in _POSTGRES_OPTIONS:
            raise ValueError(f"has an option that is not known; {_alternatives(_POSTGRES_OPTIONS)} are")
    if not url.hostname and not options.get("host"):
        raise ValueError("must name a host, as in postgresql://user:password@host:5432/database")
    # asyncpg calls by the name of ssl what libpq calls sslmode.
    if (mode := options.pop("sslmode", None) or options.get("ssl")) is not None:
        if mode not in _SSL:
            raise ValueError(f"must have as its sslmode {_alternatives(_SSL)}")
        options["ssl"] = mode
    rest = rest.partition("?")[0]
    return f"postgresql+asyncpg://{rest}" + (f"?{urlencode(options, safe='/')}" if options else "")


def _parse_postgres_url(raw: str) -> str:
    url = _parse_database_url(raw)
    if not url.startswith("postgresql"):
        raise ValueError("must begin with postgresql://")
    return url


def _parse_redis_url(raw: str) -> str:
    url = _split(raw, "redis://host:6379/0 or rediss://host:6379/0")
    if url.scheme not in {"redis", "rediss"} or not url.hostname:
        raise ValueError("must be redis:// or rediss:// and a host")
    if not re.fullmatch(r"/?|/[0-9]{1,5}", url.path) or url.fragment:
        raise ValueError("must have nothing but the number of a database behind its host")
    if not all(name.startswith("ssl_") for name, _ in parse_qsl(url.query, keep_blank_values=True)):
        raise ValueError("has an option that is not known; those that begin with ssl_ are")
    return raw


def _parse_smtp_url(raw: str) -> str:
    url = _split(raw, "smtp://user:password@host:587")
    if url.scheme not in {"smtp", "smtps"} or not url.hostname:
        raise ValueError("must be smtp:// or smtps:// and a host")
    if url.path not in {"", "/"} or url.query or url.fragment:
        raise ValueError("must have nothing behind its host and port")
    return raw


def _parse_http_url(raw: str) -> str:
    allowed = "https://host, perhaps with a port and a path"
    url = _split(raw, allowed)
    if url.scheme not in {"http", "https"} or not url.hostname or any(mark in raw for mark in "@?#"):
        raise ValueError(f"must be {allowed}, and nothing else")
    return raw.rstrip("/")


def _parse_origins(raw: str) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(map(_origin, _items(raw))))
    except ValueError:
        raise ValueError(
            "must be a list of origins like https://app.example.com, without a path, separated by commas"
        ) from None


def _origin(raw: str) -> str:
    """An origin as browsers send it: in lower case, without a port that goes without saying."""
    url = urlsplit(_parse_http_url(raw))
    if url.path or "*" in (url.hostname or ""):  # which would stand for itself, and let nobody in
        raise ValueError
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    usual = {"http": 80, "https": 443}[url.scheme]
    return f"{url.scheme}://{host}" + (f":{url.port}" if url.port not in {None, usual} else "")


def masked(url: str) -> str:
    """A URL without the password in it."""
    scheme, colon, rest = url.partition("://")
    head, slash, tail = rest.partition("/")
    account, at, host = head.rpartition("@")
    user, _, password = account.partition(":")
    tail = re.sub(r"(?<=password=)[^&]*", "***", tail)
    return f"{scheme}{colon}{user}{':***' if password else ''}{at}{host}{slash}{tail}"


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


# --- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable. `default` is a text as one would set it; where it is None, `otherwise` tells what holds then.

    `shown` says how much of a value anybody may see: all, a URL without its password, or nothing.
    """

    name: str
    parse: Parser
    default: str | None
    meaning: str
    otherwise: str = "none"
    shown: Literal["all", "url", "nothing"] = "all"

    @property
    def field(self) -> str:
        """The name of its field in `Settings`."""
        name = self.name.removeprefix(_PREFIX).lower()
        return "secret_keys" if name == "secret_key" else name

    def read(self, raw: str) -> Any:
        """The value that a text stands for; None where nothing is set. Errors: `ValueError`, `Invalid`."""
        if not raw.isprintable():
            raise ValueError("must not hold control characters, or bytes that are not UTF-8")
        return None if not raw and self.default is None else self.parse(raw)

    def show(self, value: Any) -> str | None:
        """A value as people may see it; None where nothing is set."""
        if value is None or value == ():
            return None
        if self.shown == "nothing":
            return "***"
        if self.field == "trusted_proxies" and isinstance(value, int):
            return f"hops:{value}"
        if isinstance(value, tuple):
            return ",".join(map(str, value))
        if isinstance(value, timedelta):
            return format_duration(value)
        return masked(value) if self.shown == "url" else str(value)

    def wrong(self, raw: str, why: str) -> str:
        """The sentence for a value that is wrong."""
        if self.shown != "all":
            return f"{self.name} {why}."
        shown = raw if len(raw) <= 60 else raw[:60] + "…"  # noqa: PLR2004 - enough to recognise it
        return f"{self.name} is {shown!r}: it {why}."


# The most that Argon2 may cost is what the hasher takes. A test holds the two together: neither imports the other.
TABLE: Final = (
    Setting(
        "UBR_DATABASE_URL",
        _parse_database_url,
        EMBEDDED,
        "Where everything is kept: `postgresql://user:password@host:5432/database`, `sqlite:///file` "
        "(relative to the working directory, with a fourth slash absolute), or `memory:`.",
        shown="url",
    ),
    Setting(
        "UBR_MIGRATION_DATABASE_URL",
        _parse_postgres_url,
        None,
        "The same PostgreSQL database, as the role that owns the tables: `ubr migrate` and `ubr audit prune` use it. "
        "The role of `UBR_DATABASE_URL` is then given what the service needs, and can neither change nor delete an "
        "entry of the log.",
        otherwise="the role of `UBR_DATABASE_URL` owns the tables",
        shown="url",
    ),
    Setting(
        "UBR_REDIS_URL",
        _parse_redis_url,
        None,
        "`redis://` or `rediss://`. Without it several processes are still right, only slower to revoke. Installations "
        "that share a server have a database each: `redis://host:6379/1`.",
        shown="url",
    ),
    Setting(
        "UBR_SECRET_KEY",
        _parse_secrets,
        None,
        "Encrypts signing keys at rest. The bytes of the text itself, 32 or more, for instance the output of "
        "`openssl rand -hex 32`. A list, separated by commas, to rotate: the first encrypts, all decrypt.",
        otherwise="generated into `var/secret_key` on the embedded default database; required otherwise",
        shown="nothing",
    ),
    Setting(
        "UBR_ADMIN_EMAIL",
        _parse_email,
        None,
        "The e-mail of the first administrator, made at start where there is none.",
        otherwise="none; on the embedded default database `ubr serve` makes one and prints its password once",
    ),
    Setting("UBR_ADMIN_PASSWORD", str, None, "The password of the first administrator.", shown="nothing"),
    Setting(
        "UBR_MIGRATE",
        _one_of("auto", "check"),
        None,
        "`auto` brings the schema up at start, under a lock; `check` refuses a schema that is behind.",
        otherwise="`auto` on the embedded default database, else `check`",
    ),
    Setting("UBR_HOST", _parse_host, "127.0.0.1", "The network interface to listen on, by address or name."),
    Setting("UBR_PORT", _whole(1, 65535), "8000", "The port to listen on."),
    Setting("UBR_WORKERS", _whole(1, 256), "1", "How many processes answer requests. One on SQLite."),
    Setting(
        "UBR_REGISTRATION",
        _one_of("open", "verified", "closed"),
        "open",
        "Whether anyone may make an account: `open`, `verified` (with a link that is mailed) or `closed`.",
    ),
    Setting(
        "UBR_LOGIN_RATE_LIMIT",
        _parse_login_rate_limit,
        "10/minute,100/minute",
        "How many logins may fail, per account and per client IP, in a `second`, `minute`, `hour` or `day`; `off` in "
        "place of one of them. A single `off` is for benchmarks: it switches off every limit of `docs/limits.md`.",
    ),
    Setting(
        "UBR_PASSWORD_MIN_LENGTH",
        _whole(8, 64),
        "15",
        "The fewest characters of a new password, 8 to 64. Common passwords are refused, however long.",
    ),
    Setting(
        "UBR_PASSWORD_BLOCK_LIST",
        _parse_file,
        None,
        "A file with passwords that nobody may set, beside the common ones: UTF-8, one a line, no comments, 1,000,000 "
        "lines at most. Read at start; one that cannot be read stops it.",
    ),
    Setting(
        "UBR_ARGON2_MEMORY_KIB",
        _whole(19456, 262144),
        "19456",
        "The memory that hashing a password takes, in KiB. The default is the least, 262144 the most.",
    ),
    Setting(
        "UBR_ARGON2_TIME", _whole(2, 16), "2", "The passes over that memory. The default is the least, 16 the most."
    ),
    Setting("UBR_ARGON2_PARALLELISM", _whole(1, 16), "1", "The lanes in that memory, 16 at most."),
    Setting("UBR_SESSION_IDLE", _duration("1m", "3650d"), "14d", "How long a session lasts without use."),
    Setting("UBR_SESSION_LIFETIME", _duration("1m", "3650d"), "90d", "How long a session lasts at most."),
    Setting(
        "UBR_SESSIONS_PER_USER",
        _whole(1, 10000),
        "50",
        "How many sessions one user may have; one more ends the one longest unused.",
    ),
    Setting(
        "UBR_REVOCATION_POLL",
        _duration("10ms", "5s"),
        "250ms",
        "How often each worker asks the database what has been revoked.",
    ),
    Setting(
        "UBR_REVOCATION_BOUND",
        _duration("100ms", "10s"),
        "1s",
        "The longest that a revocation waits for a worker that does not answer.",
    ),
    Setting(
        "UBR_ACCESS_TOKEN_LIFETIME", _duration("1s", "15m"), "10m", "How long an access token is good, 15m at most."
    ),
    Setting(
        "UBR_ISSUER",
        _parse_http_url,
        None,
        "`iss` in access tokens.",
        otherwise="the public URL, else `http://` with host and port",
        shown="url",
    ),
    Setting("UBR_AUDIENCE", _parse_audience, "ubr", "`aud` in access tokens."),
    Setting(
        "UBR_JWT_ALGORITHM", _one_of("EdDSA", "ES256"), "EdDSA", "What new signing keys are for: `EdDSA` or `ES256`."
    ),
    Setting(
        "UBR_PERMISSIONS",
        _parse_permissions,
        "",
        "Permissions of your own services, such as `notes:edit`, usable in roles, separated by commas.",
    ),
    Setting(
        "UBR_CORS_ORIGINS",
        _parse_origins,
        "",
        "Origins whose pages may call the service, such as `https://app.example.com`, separated by commas.",
        shown="url",
    ),
    Setting(
        "UBR_METRICS_TOKEN",
        _parse_token,
        None,
        "The bearer token that `/metrics` asks for, 16 characters or more.",
        otherwise="none; then `/metrics` answers the same machine alone, where nothing but it can connect",
        shown="nothing",
    ),
    Setting(
        "UBR_LOG_LEVEL",
        _one_of("debug", "info", "warning", "error"),
        "info",
        "What is logged: `debug`, `info`, `warning` or `error`.",
    ),
    Setting(
        "UBR_POOL_SIZE",
        _whole(1, 1000),
        "10",
        f"The most database connections that the requests of each worker use. {LIFELINE} more keep its view fresh "
        "and the log signed.",
    ),
    Setting(
        "UBR_AUDIT_CHECKPOINT",
        _parse_file,
        None,
        "A file with a checkpoint of the log, as `ubr audit checkpoint` writes it, outside the database. The start is "
        "refused where the log is not its continuation. A file that is not there is passed over.",
    ),
    Setting(
        "UBR_SMTP_URL",
        _parse_smtp_url,
        None,
        "The mail server: `smtp://user:password@host:587`, where STARTTLS is required, or `smtps://`.",
        otherwise="none; on the embedded default database mails are files in `var/mail/`",
        shown="url",
    ),
    Setting(
        "UBR_MAIL_FROM",
        _parse_sender,
        None,
        "The e-mail that mails come from. Required with `UBR_SMTP_URL`.",
        otherwise=f"none; `{LOCAL_SENDER}` on the embedded default database",
    ),
    Setting(
        "UBR_MAIL_TEMPLATES",
        _parse_folder,
        None,
        "A folder with templates of your own for mails, in place of the built-in ones of the same names.",
    ),
    Setting(
        "UBR_PUBLIC_URL",
        _parse_http_url,
        None,
        "Where people reach the service; links in mails begin with it.",
        otherwise="none; on the embedded default database `http://` with host and port",
        shown="url",
    ),
    Setting(
        "UBR_TRUSTED_PROXIES",
        _parse_proxies,
        "",
        "Whose `X-Forwarded-For` counts: networks such as `10.0.0.0/8`, separated by commas, or `hops:N`.",
    ),
)
"""Every variable. Reading, `ubr config` and the page of the documentation are made from this."""


@dataclass(frozen=True, slots=True)
class Row:
    """A setting as it is in force. `value` shows no secret; `source` is where it comes from."""

    name: str
    value: str | None
    source: Literal["default", "environment"]
    meaning: str


def in_force(environ: Mapping[str, str] = os.environ) -> list[Row]:
    """Every setting as it is in force; nothing is written. Errors: `WrongSetting`."""
    values, given = _read(environ)
    rows = []
    for setting in TABLE:
        value = setting.show(values[setting.field])
        if setting.field == "secret_keys" and value is None:
            value = f"in {SECRET_FILE}" if values["database_url"] == EMBEDDED else "random"
        rows.append(Row(setting.name, value, "environment" if setting.name in given else "default", setting.meaning))
    return rows


_INTRODUCTION: Final = """\
# Settings

Environment variables, read once at start. An empty one counts as not set. A wrong or unknown one stops the start with
a sentence that names it. `ubr config` shows what is in force.

| variable | default | meaning |
| --- | --- | --- |"""


def debugging(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether whoever is asking wants to see everything, also where other settings are wrong."""
    return environ.get("UBR_LOG_LEVEL", "").strip() == "debug"


def documentation() -> str:
    """The page on settings, in Markdown."""
    lines = [_INTRODUCTION]
    for setting in TABLE:
        default = f"`{setting.default}`" if setting.default else setting.otherwise
        lines.append(f"| `{setting.name}` | {default} | {setting.meaning} |")
    return "\n".join(lines) + "\n"


# --- reading ---------------------------------------------------------------------------------------------------------


def _read(environ: Mapping[str, str], *, secret: bool = True) -> tuple[dict[str, Any], frozenset[str]]:
    """Every field's value, and which variables were given. `secret_keys` may be None: the caller's to make."""
    wrong = _unknown(environ)
    values: dict[str, Any] = {}
    given = set()
    for setting in TABLE:
        raw = environ.get(setting.name, "")
        if setting.name != "UBR_ADMIN_PASSWORD":
            raw = raw.strip()
        if raw:
            given.add(setting.name)
        else:
            raw = setting.default or ""
        try:
            values[setting.field] = setting.read(raw)
        except Invalid as error:
            wrong.append(setting.wrong(raw, error.detail))
        except ValueError as error:
            wrong.append(setting.wrong(raw, str(error)))
    wrong += _contradictions(values, given, secret=secret)
    if wrong:
        raise WrongSetting(*wrong)
    values["migrate"] = values["migrate"] or ("auto" if values["database_url"] == EMBEDDED else "check")
    if values["database_url"] in {EMBEDDED, MEMORY}:
        values["public_url"] = values["public_url"] or _address(values["host"], values["port"])
        values["mail_from"] = values["mail_from"] or LOCAL_SENDER
    values["issuer"] = values["issuer"] or values["public_url"] or _address(values["host"], values["port"])
    return values, frozenset(given)


def _unknown(environ: Mapping[str, str]) -> list[str]:
    names = [setting.name for setting in TABLE]
    wrong = []
    for name in sorted(environ):
        if name.startswith(_PREFIX) and not name.startswith(_OTHERS) and name not in names:
            from difflib import get_close_matches  # noqa: PLC0415 - a mistake alone is worth loading it

            shown = name if name.isprintable() else ascii(name)
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "`ubr config` lists those there are."
            wrong.append(f"{shown} is not a setting: {hint}")
    return wrong


def _contradictions(values: Mapping[str, Any], given: set[str], *, secret: bool) -> list[str]:
    """What is wrong between settings that are right by themselves. A field that was wrong is missing here."""
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
    owner = values.get("migration_database_url")
    if owner is not None and known("database_url") and not values["database_url"].startswith("postgresql"):
        wrong.append("UBR_MIGRATION_DATABASE_URL must not be set unless UBR_DATABASE_URL is a PostgreSQL database.")
    if known("session_idle", "session_lifetime") and values["session_idle"] > values["session_lifetime"]:
        wrong.append("UBR_SESSION_IDLE must not be longer than UBR_SESSION_LIFETIME.")
    if known("revocation_poll", "revocation_bound") and values["revocation_poll"] >= values["revocation_bound"]:
        wrong.append("UBR_REVOCATION_POLL must be shorter than UBR_REVOCATION_BOUND.")
    if "UBR_SMTP_URL" in given and "UBR_PUBLIC_URL" not in given:
        wrong.append("UBR_SMTP_URL must not be set without UBR_PUBLIC_URL, with which the links in mails begin.")
    if "UBR_SMTP_URL" in given and "UBR_MAIL_FROM" not in given:
        wrong.append("UBR_SMTP_URL must not be set without UBR_MAIL_FROM, the e-mail that mails come from.")
    if lasting and values.get("registration") == "verified" and "UBR_SMTP_URL" not in given:
        wrong.append(
            "UBR_REGISTRATION must not be verified without UBR_SMTP_URL: it takes mails, and none could be sent."
        )
    if ("UBR_ADMIN_EMAIL" in given) != ("UBR_ADMIN_PASSWORD" in given):
        wrong.append("UBR_ADMIN_EMAIL and UBR_ADMIN_PASSWORD must be set together, or neither.")
    elif "UBR_ADMIN_EMAIL" in given and known("admin_email", "admin_password", "password_min_length"):
        try:
            check_password(
                values["admin_password"],
                min_length=values["password_min_length"],
                email=Email.parse(values["admin_email"]),
                # The list of common passwords is looked at where the administrator is made.
                is_common=lambda _: False,
            )
        except Invalid as error:
            wrong.append(f"UBR_ADMIN_PASSWORD {error.detail}.")
    return wrong


# --- the secret of the embedded database -----------------------------------------------------------------------------


def _make_folder() -> None:
    try:
        SECRET_FILE.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise WrongSetting(
            f"UBR_DATABASE_URL is not set, and the folder {SECRET_FILE.parent} of the default cannot be made: "
            f"{error.strerror}."
        ) from None


def _secret() -> str:
    return secrets.token_urlsafe(48)


def _kept_secret() -> tuple[bytes, ...]:
    """The secret in `var/secret_key`, made by whoever comes first."""
    try:
        with suppress(FileExistsError):
            if not SECRET_FILE.exists():
                _make_secret_file()
        if SECRET_FILE.stat().st_mode & 0o077:
            raise WrongSetting(
                f"UBR_SECRET_KEY is not set, and others can read {SECRET_FILE}, which is used then: "
                f"run `chmod 600 {SECRET_FILE}`."
            )
        return _parse_secrets(SECRET_FILE.read_text().strip())
    except OSError as error:
        raise WrongSetting(
            f"UBR_SECRET_KEY is not set, and {SECRET_FILE}, which is used then, is out of reach: {error.strerror}."
        ) from None
    except ValueError:
        raise WrongSetting(
            f"UBR_SECRET_KEY is not set, and {SECRET_FILE}, which is used then, has no key of {_SECRET_BYTES} bytes."
        ) from None


def _make_secret_file() -> None:
    """Errors: `FileExistsError` where another process was faster. Nobody ever sees a part of the file."""
    folder = SECRET_FILE.parent
    draft = folder / f".secret_key.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(_secret() + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, fails where the name is taken.
        SECRET_FILE.hardlink_to(draft)
    finally:
        draft.unlink()
    # What it encrypts must not outlive it, so the name is made to last as well.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
