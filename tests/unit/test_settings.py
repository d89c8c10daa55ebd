"""Every variable: what is taken, what is refused, and that no sentence shows a secret."""

import json
import multiprocessing
import stat
from collections.abc import Sequence
from dataclasses import fields
from datetime import timedelta
from ipaddress import ip_network
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ubr.entrypoints.http
from tests.support.values import replace
from ubr.adapters.security.passwords import (
    MAX_MEMORY_KIB,
    MAX_PARALLELISM,
    MAX_TIME_COST,
    Argon2PasswordHasher,
)
from ubr.entrypoints.addresses import unclear_addresses
from ubr.settings import (
    DATABASE_FILE,
    EMBEDDED,
    MEMORY,
    SECRET_FILE,
    TABLE,
    Limit,
    LoginRateLimit,
    RateLimit,
    Settings,
    WrongSetting,
    debugging,
    documentation,
    ensure_embedded_files,
    format_duration,
    in_force,
    masked,
    parse_duration,
)
from ubr.settings.declaration import Setting
from ubr.settings.embedded import MAIL_FOLDER

LOGO = str(Path(ubr.entrypoints.http.__path__[0], "pages", "static", "icon.svg"))
KEY = "0123456789abcdef" * 2
CANARY = "canary-d41d8cd98f00"
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SINGLE_LIMITS = (
    "SESSION",
    "CLIENT_SESSION",
    "REFRESH",
    "OWN_CHANGE",
    "VERIFIER",
    "REGISTRATION",
    "MAIL",
    "RECIPIENT",
    "INVALID_REFRESH",
    "INVALID_LINK",
    "MACHINE",
    "INVALID_KEY",
)

GOOD: dict[str, list[tuple[str, Any]]] = {
    "UBR_DATABASE_URL": [
        ("memory:", MEMORY),
        ("sqlite:///a.db", "sqlite+aiosqlite:///a.db"),
        ("sqlite+aiosqlite:////srv/a.db", "sqlite+aiosqlite:////srv/a.db"),
        ("postgresql://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgres://u:p%40q@h:5433/d?sslmode=require", "postgresql+asyncpg://u:p%40q@h:5433/d?ssl=require"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d"),
        (
            "postgresql://h/d?sslmode=verify-full&sslrootcert=/ca.crt&sslcert=/c.crt&sslkey=/c.key",
            "postgresql+asyncpg://h/d?sslrootcert=/ca.crt&sslcert=/c.crt&sslkey=/c.key&ssl=verify-full",
        ),
        ("postgresql://[::1]:5432/d?ssl=verify-full", "postgresql+asyncpg://[::1]:5432/d?ssl=verify-full"),
        ("postgresql://u@/d?host=/run/postgresql", "postgresql+asyncpg://u@/d?host=/run/postgresql"),
    ],
    "UBR_MIGRATION_DATABASE_URL": [("postgresql://o:p@h/d", "postgresql+asyncpg://o:p@h/d")],
    "UBR_DATABASE_PASSWORD": [("a@:/ ?%", "a@:/ ?%")],
    "UBR_MIGRATION_DATABASE_PASSWORD": [("a@:/ ?%", "a@:/ ?%")],
    "UBR_DATABASE_SCHEMA": [("accounts", "accounts"), ("_a1", "_a1")],
    "UBR_REDIS_URL": [
        (url, url) for url in ("redis://h", "rediss://:p@h:6380/2", "redis://u:p@h/0?ssl_cert_reqs=none")
    ],
    "UBR_SECRET_KEY": [(KEY, (KEY.encode(),)), (f"{KEY}, é{KEY}", (KEY.encode(), f"é{KEY}".encode()))],
    "UBR_ADMIN_EMAIL": [("Ada@Example.com", "Ada@Example.com")],
    "UBR_ADMIN_PASSWORD": [(" correct horse battery ", " correct horse battery ")],
    "UBR_MIGRATE": [("auto", "auto"), ("check", "check")],
    "UBR_HOST": [(host, host) for host in ("0.0.0.0", "::1", "localhost", "api-1.example.com")],  # noqa: S104
    "UBR_PORT": [("1", 1), ("65535", 65535)],
    "UBR_SHUTDOWN_DELAY": [("0s", timedelta(0)), ("10m", 10 * MINUTE)],
    "UBR_KEEP_ALIVE": [("5s", timedelta(seconds=5)), ("10m", 10 * MINUTE)],
    "UBR_MAX_CONNECTIONS": [("32", 32), ("65535", 65535)],
    "UBR_MAX_CONNECTIONS_PER_CLIENT": [("8", 8), ("65535", 65535)],
    "UBR_WORKERS": [("1", 1)],
    "UBR_REGISTRATION": [("open", "open"), ("verified", "verified"), ("closed", "closed")],
    "UBR_LOGIN_RATE_LIMIT": [
        ("off", LoginRateLimit(None, None)),
        ("5/second,7/day", LoginRateLimit(Limit(5, timedelta(seconds=1)), Limit(7, timedelta(days=1)))),
        ("off, 1/hour", LoginRateLimit(None, Limit(1, timedelta(hours=1)))),
    ],
    **{
        f"UBR_{name}_RATE_LIMIT": [
            ("off", RateLimit(None)),
            ("5/second", RateLimit(Limit(5, timedelta(seconds=1)))),
            ("999999/day", RateLimit(Limit(999999, timedelta(days=1)))),
        ]
        for name in SINGLE_LIMITS
    },
    "UBR_MACHINE_KEY_MAX_LIFETIME": [("1h", HOUR), ("3650d", timedelta(days=3650))],
    "UBR_PASSWORD_MIN_LENGTH": [("8", 8), ("64", 64)],
    "UBR_USER_FIELDS_FILE": [("/srv/fields.json", "/srv/fields.json")],
    "UBR_PASSWORD_BLOCK_LIST": [("/srv/passwords.txt", "/srv/passwords.txt"), ("a b", "a b")],
    "UBR_ARGON2_MEMORY_KIB": [("19456", 19456), ("262144", 262144)],
    "UBR_ARGON2_TIME": [("2", 2), ("16", 16)],
    "UBR_ARGON2_PARALLELISM": [("1", 1), ("16", 16)],
    "UBR_REFRESH_RETRY_WINDOW": [("10s", timedelta(seconds=10)), ("1h", timedelta(hours=1))],
    "UBR_SESSION_IDLE": [("1h", timedelta(hours=1)), ("90d", timedelta(days=90))],
    "UBR_SESSION_LIFETIME": [("14d", timedelta(days=14)), ("365d", timedelta(days=365))],
    "UBR_SESSIONS_PER_USER": [("1", 1), ("10000", 10000)],
    "UBR_VERIFIERS_PER_USER": [("1", 1), ("10000", 10000)],
    "UBR_REVOCATION_POLL": [("10ms", timedelta(milliseconds=10))],
    "UBR_REVOCATION_BOUND": [("10s", timedelta(seconds=10))],
    "UBR_ACCESS_TOKEN_LIFETIME": [("1s", timedelta(seconds=1)), ("15m", 15 * MINUTE), ("900s", 15 * MINUTE)],
    "UBR_ISSUER": [("https://id.example.com", "https://id.example.com")],
    "UBR_AUDIENCE": [("notes", "notes"), ("https://api.example.com/", "https://api.example.com/")],
    "UBR_JWT_ALGORITHM": [("EdDSA", "EdDSA"), ("ES256", "ES256")],
    "UBR_PERMISSIONS": [("notes:edit", ("notes:edit",)), (" b:a ,a:b,, b:a", ("b:a", "a:b"))],
    "UBR_CORS_ORIGINS": [
        ("https://App.example.com:443/,http://localhost:5173", ("https://app.example.com", "http://localhost:5173")),
        ("http://[::1]:80", ("http://[::1]",)),
    ],
    "UBR_TRUSTED_ORIGINS": [("https://App.example.com:443/", ("https://app.example.com",))],
    "UBR_OTLP_ENDPOINT": [("http://collector:4318/", "http://collector:4318")],
    "UBR_OTLP_SHARE": [("0", 0.0), ("0.25", 0.25), (".5", 0.5), ("1", 1.0)],
    "UBR_METRICS_EMF": [
        ("off", None),
        ("on", timedelta(minutes=1)),
        ("10s", timedelta(seconds=10)),
        ("1h", timedelta(hours=1)),
    ],
    "UBR_METRICS_TOKEN": [("Zm9vYmFyYmF6cXV4==", "Zm9vYmFyYmF6cXV4==")],
    "UBR_AUDIT_REFRESHES": [("daily", "daily"), ("all", "all")],
    "UBR_LOG_LEVEL": [(level, level) for level in ("debug", "info", "warning", "error")],
    "UBR_LOG_FORMAT": [(form, form) for form in ("auto", "json", "text")],
    "UBR_POOL_SIZE": [("1", 1), ("1000", 1000)],
    "UBR_SESSION_CACHE_SIZE": [("100", 100), ("10000000", 10_000_000)],
    "UBR_AUDIT_CHECKPOINT": [("/srv/log.checkpoint", "/srv/log.checkpoint"), ("a b", "a b")],
    "UBR_BACKUP_DIR": [
        *((each, each) for each in ("/srv/backups", "a b/", "s3://bucket", "s3://my.bucket/ubr/daily")),
    ],
    "UBR_BACKUP_S3_ENDPOINT": [("https://minio.example.com:9000/", "https://minio.example.com:9000")],
    "UBR_BACKUP_S3_ENCRYPTION": [
        (each, each) for each in ("AES256", "aws:kms", "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab")
    ],
    "UBR_BACKUP_MAX_AGE": [("1m", timedelta(minutes=1)), ("365d", timedelta(days=365))],
    "UBR_BACKUP_KEY": [(KEY, (KEY.encode(),)), (f"{KEY},{KEY}2", (KEY.encode(), f"{KEY}2".encode()))],
    "UBR_SMTP_DATA_TIMEOUT": [("10s", timedelta(seconds=10)), ("1h", timedelta(hours=1))],
    "UBR_SMTP_URL": [
        ("smtp://u:p@mail.example.com:587", "smtp://u:p@mail.example.com:587"),
        ("smtps://h/", "smtps://h/"),
    ],
    "UBR_MAIL_FROM": [("ubr@example.com", "ubr@example.com"), ("ubr@localhost", "ubr@localhost")],
    "UBR_MAIL_TEMPLATES": [("/", "/"), (".", ".")],
    "UBR_PAGES": [(each, each) for each in ("off", "account", "all")],
    "UBR_PAGES_FOLDER": [("/", "/"), (".", ".")],
    "UBR_SERVICE_NAME": [("Notes & more", "Notes & more"), (" ÄÖ ", "ÄÖ"), ("x" * 64, "x" * 64)],
    "UBR_PAGES_LOGO": [(LOGO, LOGO)],
    "UBR_RETURN_ORIGINS": [("https://App.example.com:443/,http://[::1]", ("https://app.example.com", "http://[::1]"))],
    "UBR_PUBLIC_URL": [("https://id.example.com/auth/", "https://id.example.com/auth")],
    "UBR_RETURN_URL": [("https://app.example.com/login/", "https://app.example.com/login")],
    "UBR_TRUSTED_PROXIES": [
        ("hops:2", 2),
        ("10.0.0.0/8, fd00::/8,192.0.2.1", tuple(map(ip_network, ("10.0.0.0/8", "fd00::/8", "192.0.2.1/32")))),
    ],
}

NUMBERS = ["-1", "+5", "1.5", "1_0", "0x10", "five", "١٢", "99999999999999999999"]

BAD: dict[str, list[str]] = {
    "UBR_DATABASE_URL": [
        *("mysql://u:{0}@h/d", "{0}", "postgresql//u:{0}@h/d", "postgresql+psycopg://u:{0}@h/d", "sqlite://"),
        *("sqlite:///", "sqlite:///:memory:", "sqlite:///var/", "sqlite:///a.db?mode=ro", "sqlite:///file:a"),
        *("postgresql://u:{0}@h", "postgresql://u:{0}@h/", "postgresql://u:{0}@h/d/e", "postgresql://u:{0}@h:port/d"),
        *("postgresql://u:{0}@h:99999/d", "postgresql://u:12/{0}@h/d", "postgresql://u:{0}@x@h/d"),
        *("postgresql://u:1?{0}@h/d", "postgresql://u:{0}#x@h/d", "postgresql://u:{0}@/d", "postgresql://u:{0}@[::1/d"),
        *("postgresql://u:{0}@h/d?sslmode=maybe", "postgresql://u:{0}@h/d?password={0}", "postgresql://u:{0}@h/d#x"),
        *("postgresql://u:{0}@h/d?prepared_statement_cache_size=-1", "postgresql://u:{0}@h/d?jit=off"),
        "postgresql://u:{0}@h/d?sslmode=require&sslrootcert=system",
    ],
    "UBR_MIGRATION_DATABASE_URL": ["sqlite:///a.db", "memory:", "mysql://u:{0}@h/d", "postgresql://u:{0}@h"],
    "UBR_DATABASE_PASSWORD": ["{0}\x00{0}", "{0}\n{0}"],
    "UBR_MIGRATION_DATABASE_PASSWORD": ["{0}\x00{0}", "{0}\n{0}"],
    "UBR_DATABASE_SCHEMA": ["a b", "Ubr", "1a", "pg_ubr", "a" * 64, 'a"b', "a.b"],
    "UBR_REDIS_URL": [
        "http://h",
        "redis://",
        "redis://:{0}@",
        "redis://:{0}@h/x",
        "redis://:{0}@h?a=1",
        "redis://:{0}/1@h",
        "redis+sentinel://:{0}@h:26379/mymaster",
        "redis-sentinel://:{0}@h:26379",
        "unix:///run/redis.sock",
        "redis+unix://:{0}@/run/redis.sock",
        "/run/redis.sock",
    ],
    "UBR_SECRET_KEY": ["k" * 31, "k" * 32, "abc" * 20, f"{KEY},{{0}}", ",", "é" * 15],
    "UBR_ADMIN_EMAIL": ["ada", "ada@", "ada@localhost", "a b@example.com", "ada@example.com,bob@example.com"],
    "UBR_ADMIN_PASSWORD": ["too short", "aaaaaaaaaaaaaaaaaaaa", "ubrubrubrubrubrubr", "{0}\x00{0}", "{0}" * 60],
    "UBR_MIGRATE": ["yes", "AUTO", "never"],
    "UBR_HOST": ["http://localhost", "localhost:8000", "[::1]", "a b", "-a", "1.2.3", "256.1.1.1", "a" * 254],
    "UBR_PORT": ["0", "65536", *NUMBERS],
    "UBR_SHUTDOWN_DELAY": ["11m", "10", "-1s"],
    "UBR_KEEP_ALIVE": ["4s", "11m", "60"],
    "UBR_MAX_CONNECTIONS": ["31", "65536", *NUMBERS],
    "UBR_MAX_CONNECTIONS_PER_CLIENT": ["7", "65536", *NUMBERS],
    "UBR_WORKERS": ["0", "2", "257", "auto", *NUMBERS],
    "UBR_REGISTRATION": ["Open", "invite", "VERIFIED"],
    "UBR_LOGIN_RATE_LIMIT": ["10", "10/minute", "10/min,1/min", "0/minute,1/minute", "1/day,1/day,1/day", "none", ","],
    **{
        f"UBR_{name}_RATE_LIMIT": ["10", "10/min", "0/minute", "1/day,1/day", "none", ",", "1000000/day"]
        for name in SINGLE_LIMITS
    },
    "UBR_MACHINE_KEY_MAX_LIFETIME": ["59m", "3651d", "90"],
    "UBR_PASSWORD_MIN_LENGTH": ["7", "65", *NUMBERS],
    "UBR_USER_FIELDS_FILE": ["/srv/", "/"],
    "UBR_PASSWORD_BLOCK_LIST": ["/srv/", "/"],
    "UBR_ARGON2_MEMORY_KIB": ["19455", "262145", *NUMBERS],
    "UBR_ARGON2_TIME": ["1", "17", *NUMBERS],
    "UBR_ARGON2_PARALLELISM": ["0", "17", *NUMBERS],
    "UBR_REFRESH_RETRY_WINDOW": ["9s", "61m", "120", "-2m"],
    "UBR_SESSION_IDLE": ["59s", "91d", "14", "1.5h", "1h30m", "1 h", "1w", "-1h", "999999999d"],
    "UBR_SESSION_LIFETIME": ["59s", "13d", "3651d", "90 days"],
    "UBR_SESSIONS_PER_USER": ["0", "10001", *NUMBERS],
    "UBR_VERIFIERS_PER_USER": ["0", "10001", *NUMBERS],
    "UBR_REVOCATION_POLL": ["9ms", "6s", "1s", "250"],
    "UBR_REVOCATION_BOUND": ["99ms", "11s", "250ms", "1"],
    "UBR_ACCESS_TOKEN_LIFETIME": ["0s", "901s", "16m", "1h", "10"],
    "UBR_ISSUER": ["ubr", "ftp://h", "https://", "https://h?x=1", "https://h#x", "https://u:{0}@h", "https://h:x"],
    "UBR_AUDIENCE": ["a b", "a,b", "é", "a" * 256],
    "UBR_JWT_ALGORITHM": ["HS256", "none", "RS256", "eddsa"],
    "UBR_PERMISSIONS": ["*", "notes", "Notes:edit", "notes:edit:all", "users:read", "notes:edit,logs:read", "a:b c:d"],
    "UBR_CORS_ORIGINS": [
        "*",
        "https://*.example.com",
        "null",
        "app.example.com",
        "https://a.example/x",
        "https://a.example https://b.example",
        "https://{0}:@a.example",
    ],
    "UBR_TRUSTED_ORIGINS": ["*", "https://*.example.com", "null", "app.example.com", "https://a.example/x"],
    "UBR_OTLP_ENDPOINT": ["collector:4318", "ftp://{0}", "http://user:{0}@host", "http://host?{0}"],
    "UBR_OTLP_SHARE": ["2", "-1", "1.5", "half", "nan"],
    "UBR_METRICS_EMF": ["true", "1", "9s", "2h", "60"],
    "UBR_METRICS_TOKEN": ["short", "with space {0}", "{0}{0},", "é" * 20],
    "UBR_AUDIT_REFRESHES": ["off", "DAILY", "1"],
    "UBR_LOG_LEVEL": ["INFO", "trace", "20"],
    "UBR_LOG_FORMAT": ["JSON", "logfmt", "1"],
    "UBR_POOL_SIZE": ["0", "1001", *NUMBERS],
    "UBR_SESSION_CACHE_SIZE": ["99", "10000001", *NUMBERS],
    "UBR_AUDIT_CHECKPOINT": ["/srv/", "/"],
    "UBR_BACKUP_DIR": ["s3://", "s3://b/", "s3://key:secret@bucket/", "s3://bucket?a=b", "file:///srv/backups"],
    "UBR_BACKUP_S3_ENDPOINT": ["minio.example.com:9000", "s3://bucket", "https://h/?a"],
    "UBR_BACKUP_S3_ENCRYPTION": ["aes256", "none", "arn:aws:s3:::bucket"],
    "UBR_BACKUP_MAX_AGE": ["59s", "366d", "26"],
    "UBR_BACKUP_KEY": ["k" * 31, "k" * 32, f"{KEY},{{0}}", ","],
    "UBR_SMTP_DATA_TIMEOUT": ["9s", "61m", "10"],
    "UBR_SMTP_URL": [
        "mail.example.com",
        "http://h",
        "smtp://",
        "smtp://u:{0}@h/x",
        "smtp://u:{0}@h:x",
        "smtp://u:{0}@h?a=1",
    ],
    "UBR_MAIL_FROM": ["ubr", "Ubr <ubr@example.com>", "ada@localhost"],
    "UBR_MAIL_TEMPLATES": ["no/such/folder", "/dev/null"],
    "UBR_PUBLIC_URL": ["id.example.com", "https://h/?a", "https://h/#", "https://u:{0}@h", "javascript:alert(1)"],
    "UBR_PAGES": ["on", "All", "none"],
    "UBR_PAGES_FOLDER": ["no/such/folder", "/dev/null"],
    "UBR_SERVICE_NAME": ["x" * 65],
    "UBR_PAGES_LOGO": ["no/such/logo.svg", "/dev/null", "/etc/passwd"],
    "UBR_RETURN_ORIGINS": ["https://a/b", "*", "https://*.example.com", "javascript:alert(1)", "null"],
    "UBR_RETURN_URL": ["app.example.com", "https://u:{0}@h", "javascript:alert(1)", "/login"],
    "UBR_TRUSTED_PROXIES": [
        "*",
        "hops:",
        "hops:0",
        "hops:33",
        "hops:x",
        "10.0.0.5/8",
        "0.0.0.0/0",
        "::/0",
        "proxy.local",
    ],
}

BESIDE = {
    "UBR_ADMIN_EMAIL": {"UBR_ADMIN_PASSWORD": "correct horse battery"},
    "UBR_ADMIN_PASSWORD": {"UBR_ADMIN_EMAIL": "ada@example.com"},
    "UBR_SMTP_URL": {"UBR_PUBLIC_URL": "https://id.example.com", "UBR_MAIL_FROM": "ubr@example.com"},
    "UBR_DATABASE_URL": {"UBR_SECRET_KEY": KEY},
    "UBR_MIGRATION_DATABASE_URL": {"UBR_DATABASE_URL": "postgresql://u@h/d", "UBR_SECRET_KEY": KEY},
    "UBR_DATABASE_PASSWORD": {"UBR_DATABASE_URL": "postgresql://u@h/d", "UBR_SECRET_KEY": KEY},
    "UBR_MIGRATION_DATABASE_PASSWORD": {
        "UBR_DATABASE_URL": "postgresql://u@h/d",
        "UBR_MIGRATION_DATABASE_URL": "postgresql://o@h/d",
        "UBR_SECRET_KEY": KEY,
    },
    "UBR_DATABASE_SCHEMA": {"UBR_DATABASE_URL": "postgresql://u@h/d", "UBR_SECRET_KEY": KEY},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The secret of the embedded database is made in the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What the environment says before the embedded database was ever opened.
WITHOUT_SECRET = replace(Settings.memory(), database_url=EMBEDDED, secret_keys=())


def refused(**environ: str) -> WrongSetting:
    with pytest.raises(WrongSetting) as caught:
        Settings.from_env(environ)
    return caught.value


def cases(table: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(name, case, id=f"{name}-{at}") for name, all_ in table.items() for at, case in enumerate(all_)]


def test_every_variable_is_tried_both_ways() -> None:
    names = [setting.name for setting in TABLE]
    assert sorted(GOOD) == sorted(BAD) == sorted(names)


def test_the_table_and_the_fields_are_one() -> None:
    assert [setting.field for setting in TABLE] == [field.name for field in fields(Settings)]
    assert len({setting.name for setting in TABLE}) == len(TABLE)


def test_every_setting_has_a_value_of_its_own() -> None:
    """None of them is a default of the class: `from_env` alone knows what holds when nothing is set."""
    with pytest.raises(TypeError, match="missing"):
        Settings()


@pytest.mark.parametrize(("name", "case"), cases(GOOD))
def test_good(name: str, case: tuple[str, Any]) -> None:
    raw, value = case
    settings = Settings.from_env({name: raw} | BESIDE.get(name, {}))
    field = next(setting.field for setting in TABLE if setting.name == name)
    assert getattr(settings, field) == value


@pytest.mark.parametrize(("name", "raw"), cases(BAD))
def test_bad(name: str, raw: str) -> None:
    error = refused(**{name: raw.replace("{0}", CANARY)} | BESIDE.get(name, {}))
    assert len(error.sentences) == 1
    assert name in error.sentences[0]
    assert error.sentences[0].endswith(".")
    assert error.sentences[0].isprintable()
    assert CANARY not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    assert not SECRET_FILE.exists()


SECRETS = [setting for setting in TABLE if setting.declaration.shown in {"masked", "nothing"}]


def test_the_secrets_are_known() -> None:
    assert {setting.name for setting in SECRETS} == {
        "UBR_DATABASE_URL",
        "UBR_DATABASE_PASSWORD",
        "UBR_MIGRATION_DATABASE_URL",
        "UBR_MIGRATION_DATABASE_PASSWORD",
        "UBR_REDIS_URL",
        "UBR_SECRET_KEY",
        "UBR_ADMIN_PASSWORD",
        "UBR_SMTP_URL",
        "UBR_METRICS_TOKEN",
        "UBR_BACKUP_KEY",
    }


@pytest.mark.parametrize("setting", SECRETS, ids=lambda setting: setting.name)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["bare", "line", "line of Windows"])
def test_every_secret_can_be_in_a_file(setting: Setting, end: str, tmp_path: Path) -> None:
    raw, value = GOOD[setting.name][0]
    file = tmp_path / "secret"
    file.write_bytes(raw.encode() + end.encode())
    settings = Settings.from_env({f"{setting.name}_FILE": str(file)} | BESIDE.get(setting.name, {}))
    assert getattr(settings, setting.field) == value


@pytest.mark.parametrize("setting", SECRETS, ids=lambda setting: setting.name)
def test_a_file_of_a_secret_that_is_of_no_use_stops_the_start(setting: Setting, tmp_path: Path) -> None:
    file, name = tmp_path / "secret", f"{setting.name}_FILE"
    beside = BESIDE.get(setting.name, {})
    for content, words in (
        (None, "cannot be read"),
        (b" \n", "empty"),
        (b"\xff" * 40, "not UTF-8"),
        (b"x" * 65537, "larger than 64 KiB"),
    ):
        if content is not None:
            file.write_bytes(content)
        [sentence] = refused(**{name: str(file)} | beside).sentences
        assert sentence.startswith(name)
        assert words in sentence
    file.write_text(GOOD[setting.name][0][0])
    both = refused(**{name: str(file), setting.name: GOOD[setting.name][0][0]} | beside)
    assert both.sentences == (f"{setting.name} and {name} are both set: unset one of them.",)


def test_only_secrets_can_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("8001")
    assert "UBR_PORT_FILE is not a setting" in str(refused(UBR_PORT_FILE=str(tmp_path / "port")))


def test_defaults_are_those_of_the_contract() -> None:
    settings = Settings.from_env({})
    assert settings == Settings(
        database_url=EMBEDDED,
        database_password=None,
        migration_database_url=None,
        migration_database_password=None,
        database_schema=None,
        redis_url=None,
        secret_keys=settings.secret_keys,
        admin_email=None,
        admin_password=None,
        migrate="auto",
        host="127.0.0.1",
        port=8000,
        shutdown_delay=timedelta(0),
        keep_alive=timedelta(seconds=75),
        max_connections=1024,
        max_connections_per_client=256,
        workers=1,
        registration="open",
        login_rate_limit=LoginRateLimit(Limit(10, MINUTE), Limit(100, MINUTE)),
        session_rate_limit=RateLimit(Limit(100, HOUR)),
        client_session_rate_limit=RateLimit(Limit(1000, HOUR)),
        refresh_rate_limit=None,
        own_change_rate_limit=RateLimit(Limit(100, HOUR)),
        verifier_rate_limit=RateLimit(Limit(200, HOUR)),
        registration_rate_limit=RateLimit(Limit(60, HOUR)),
        mail_rate_limit=RateLimit(Limit(30, HOUR)),
        recipient_rate_limit=RateLimit(Limit(5, HOUR)),
        invalid_refresh_rate_limit=RateLimit(Limit(100, MINUTE)),
        machine_rate_limit=RateLimit(Limit(1000, HOUR)),
        invalid_key_rate_limit=RateLimit(Limit(100, MINUTE)),
        machine_key_max_lifetime=None,
        invalid_link_rate_limit=RateLimit(Limit(30, MINUTE)),
        password_min_length=15,
        password_block_list=None,
        user_fields_file=None,
        argon2_memory_kib=19456,
        argon2_time=2,
        argon2_parallelism=1,
        session_idle=timedelta(days=14),
        session_lifetime=timedelta(days=90),
        refresh_retry_window=timedelta(minutes=2),
        sessions_per_user=50,
        verifiers_per_user=50,
        revocation_poll=timedelta(milliseconds=250),
        revocation_bound=timedelta(seconds=1),
        access_token_lifetime=timedelta(minutes=10),
        issuer="http://127.0.0.1:8000",
        audience="ubr",
        jwt_algorithm="EdDSA",
        permissions=(),
        cors_origins=(),
        trusted_origins=(),
        metrics_token=None,
        metrics_emf=None,
        otlp_endpoint=None,
        otlp_share=1.0,
        log_level="info",
        log_format="auto",
        audit_refreshes="daily",
        pool_size=10,
        session_cache_size=100_000,
        audit_checkpoint=None,
        backup_dir=None,
        backup_s3_endpoint=None,
        backup_s3_encryption=None,
        backup_max_age=timedelta(hours=26),
        backup_key=None,
        smtp_url=None,
        smtp_data_timeout=timedelta(minutes=10),
        mail_from="ubr@localhost",
        mail_templates=None,
        public_url="http://127.0.0.1:8000",
        return_url=None,
        trusted_proxies=(),
        pages="all",
        pages_folder=None,
        service_name=None,
        pages_logo=None,
        return_origins=(),
    )
    assert settings.embedded


COSTS = {
    "UBR_ARGON2_MEMORY_KIB": MAX_MEMORY_KIB,
    "UBR_ARGON2_TIME": MAX_TIME_COST,
    "UBR_ARGON2_PARALLELISM": MAX_PARALLELISM,
}


def hasher_of(settings: Settings) -> Argon2PasswordHasher:
    return Argon2PasswordHasher(settings.argon2_memory_kib, settings.argon2_time, settings.argon2_parallelism)


@pytest.mark.parametrize("dearest", [(), *([name] for name in COSTS), [*COSTS]], ids=",".join)
def test_every_accepted_cost_can_be_used_for_hashing(dearest: Sequence[str]) -> None:
    hasher_of(Settings.from_env({name: str(COSTS[name]) for name in dearest}))


@pytest.mark.parametrize("name", COSTS)
def test_a_cost_that_cannot_be_hashed_at_is_a_wrong_setting(name: str) -> None:
    beyond = COSTS[name] + 1
    field = next(setting.field for setting in TABLE if setting.name == name)
    with pytest.raises(ValueError, match="Argon2 needs"):
        hasher_of(Settings.memory(**{field: beyond}))
    assert f"to {COSTS[name]}" in str(refused(**{name: str(beyond)}))


def test_an_empty_variable_counts_as_not_set() -> None:
    empty = {setting.name: " " for setting in TABLE} | {"UBR_ADMIN_PASSWORD": ""}
    assert Settings.from_env(empty) == Settings.from_env({})


def test_all_errors_are_reported_together() -> None:
    error = refused(UBR_PORT="0", UBR_WORKERS="none", UBR_HOSTT="h", UBR_LOG_LEVEL="loud", PATH="/bin")
    assert error.sentences == (
        "UBR_HOSTT is not a setting: did you mean UBR_HOST?",
        "UBR_PORT is '0': it must be a whole number from 1 to 65535.",
        "UBR_WORKERS is 'none': it must be a whole number from 1 to 256.",
        "UBR_LOG_LEVEL is 'loud': it must be debug, info, warning or error.",
    )
    assert str(error) == "\n".join(error.sentences)


def test_unknown_variables() -> None:
    assert refused(UBR_SECRET_KEYS=CANARY).sentences == (
        "UBR_SECRET_KEYS is not a setting: did you mean UBR_SECRET_KEY?",
    )
    assert refused(UBR_ZZZ="1").sentences == ("UBR_ZZZ is not a setting: `ubr config` lists all settings.",)
    assert refused(**{"UBR_\udcff\n": "1"}).sentences[0].isprintable()
    others = {"UBR_TEST_POSTGRES_URL": "x", "UBR_BENCH_SECONDS": "1", "PORT": "0", "ubr_port": "0"}
    assert Settings.from_env(others) == Settings.from_env({})


@pytest.mark.parametrize("char", ["\x00", "\x1b[31m", "\udcff", "\n"])
@pytest.mark.parametrize("name", [setting.name for setting in TABLE])
def test_control_characters_and_bytes_that_are_no_text(name: str, char: str) -> None:
    error = refused(**{name: f"a{char}b"} | BESIDE.get(name, {}))
    assert [name in sentence and sentence.isprintable() for sentence in error.sentences] == [True]


def test_a_long_value_is_cut_in_its_sentence() -> None:
    assert len(str(refused(UBR_LOG_LEVEL="x" * 10_000))) < 200


@pytest.mark.parametrize("url", ["sqlite:///other.db", "postgresql://u:{0}@h/d"])
def test_a_database_of_ones_own_needs_a_secret_and_waits_for_migrations(url: str) -> None:
    error = refused(UBR_DATABASE_URL=url.replace("{0}", CANARY))
    assert [sentence.partition(" ")[0] for sentence in error.sentences] == ["UBR_SECRET_KEY"]
    assert CANARY not in str(error)
    settings = Settings.from_env({"UBR_DATABASE_URL": url, "UBR_SECRET_KEY": KEY})
    assert settings.migrate == "check"
    assert not settings.embedded


def test_the_default_said_aloud_is_the_default() -> None:
    assert Settings.from_env({"UBR_DATABASE_URL": "sqlite:///var/ubr.db"}).embedded


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"UBR_WORKERS": "2", "UBR_DATABASE_URL": "memory:"}, "UBR_WORKERS"),
        ({"UBR_SESSION_IDLE": "2h", "UBR_SESSION_LIFETIME": "1h"}, "UBR_SESSION_IDLE"),
        ({"UBR_SMTP_URL": "smtp://h", "UBR_MAIL_FROM": "ubr@example.com"}, "UBR_SMTP_URL"),
        ({"UBR_SMTP_URL": "smtp://h", "UBR_PUBLIC_URL": "https://id.example.com"}, "UBR_MAIL_FROM"),
        (
            {"UBR_REGISTRATION": "verified", "UBR_DATABASE_URL": "sqlite:///a.db", "UBR_SECRET_KEY": KEY},
            "UBR_REGISTRATION",
        ),
        (
            {"UBR_REGISTRATION": "verified", "UBR_DATABASE_URL": "sqlite:///a.db", "UBR_SECRET_KEY": KEY},
            "UBR_SMTP_URL",
        ),
        (
            {"UBR_TRUSTED_ORIGINS": "http://app.example.com", "UBR_PUBLIC_URL": "https://id.example.com"},
            "UBR_TRUSTED_ORIGINS",
        ),
        ({"UBR_ADMIN_EMAIL": "ada@example.com"}, "UBR_ADMIN_PASSWORD"),
        ({"UBR_ADMIN_PASSWORD": "correct horse battery"}, "UBR_ADMIN_EMAIL"),
        (
            {
                "UBR_ADMIN_EMAIL": "adalovelaceandcompany@example.com",
                "UBR_ADMIN_PASSWORD": "AdaLovelaceAndCompany",
            },
            "UBR_ADMIN_PASSWORD",
        ),
        (
            {
                "UBR_ADMIN_EMAIL": "a@example.com",
                "UBR_ADMIN_PASSWORD": "correct horse battery",
                "UBR_PASSWORD_MIN_LENGTH": "40",
            },
            "UBR_ADMIN_PASSWORD",
        ),
    ],
)
def test_contradictions(environ: dict[str, str], name: str) -> None:
    error = refused(**environ)
    assert len(error.sentences) == 1
    assert name in error.sentences[0]


def test_a_service_without_tls_may_trust_pages_without_it() -> None:
    environ = {"UBR_TRUSTED_ORIGINS": "http://localhost:5173", "UBR_PUBLIC_URL": "http://localhost:8000"}
    assert Settings.from_env(environ).trusted_origins == ("http://localhost:5173",)


def test_several_workers_on_postgresql() -> None:
    settings = Settings.from_env({"UBR_DATABASE_URL": "postgres://h/d", "UBR_SECRET_KEY": KEY, "UBR_WORKERS": "4"})
    assert settings.workers == 4


def test_the_issuer_follows_what_is_known() -> None:
    assert Settings.from_env({"UBR_HOST": "::1", "UBR_PORT": "81"}).issuer == "http://[::1]:81"
    public = {"UBR_PUBLIC_URL": "https://id.example.com/"}
    assert Settings.from_env(public).issuer == "https://id.example.com"
    assert Settings.from_env(public | {"UBR_ISSUER": "https://other.example"}).issuer == "https://other.example"


def test_a_registration_with_a_link_mails_one() -> None:
    for where in ({}, {"UBR_DATABASE_URL": "memory:"}):
        assert Settings.from_env({"UBR_REGISTRATION": "verified", **where}).registration == "verified"
    own = {"UBR_DATABASE_URL": "postgresql://h/d", "UBR_SECRET_KEY": KEY, "UBR_REGISTRATION": "verified"}
    mail = {"UBR_SMTP_URL": "smtp://h", "UBR_MAIL_FROM": "ubr@example.com", "UBR_PUBLIC_URL": "https://id.example.com"}
    assert Settings.from_env(own | mail).registration == "verified"


def test_links_begin_where_people_reach_the_service() -> None:
    address = {"UBR_HOST": "::1", "UBR_PORT": "81"}
    assert Settings.from_env(address).public_url == "http://[::1]:81"
    assert Settings.from_env(address | {"UBR_DATABASE_URL": "memory:"}).public_url == "http://[::1]:81"
    own = Settings.from_env(address | {"UBR_DATABASE_URL": "sqlite:///a.db", "UBR_SECRET_KEY": KEY})
    assert (own.public_url, own.mail_from) == (None, None)


def test_no_secret_in_repr_or_in_what_is_in_force() -> None:
    environ = {
        "UBR_DATABASE_URL": f"postgresql://u:{CANARY}@h/d",
        "UBR_REDIS_URL": f"redis://:{CANARY}@h/0?ssl_password={CANARY}",
        "UBR_SECRET_KEY": f"{CANARY}{KEY}",
        "UBR_ADMIN_EMAIL": "ada@example.com",
        "UBR_ADMIN_PASSWORD": f"{CANARY} horse",
        "UBR_METRICS_TOKEN": f"{CANARY}",
        "UBR_SMTP_URL": f"smtp://u:{CANARY}@h",
        "UBR_MAIL_FROM": "ubr@example.com",
        "UBR_PUBLIC_URL": "https://id.example.com",
    }
    settings = Settings.from_env(environ)
    assert CANARY not in repr(settings)
    assert CANARY not in settings.database
    rows = in_force(environ)
    assert CANARY not in repr(rows)
    shown = {row.name: row.value for row in rows}
    assert shown["UBR_DATABASE_URL"] == "postgresql+asyncpg://u:***@h/d"
    assert shown["UBR_REDIS_URL"] == "redis://:***@h/0?ssl_password=***"
    assert shown["UBR_SECRET_KEY"] == shown["UBR_ADMIN_PASSWORD"] == shown["UBR_METRICS_TOKEN"] == "***"


def test_what_is_in_force_can_be_set_again() -> None:
    environ = {
        "UBR_DATABASE_URL": "memory:",
        "UBR_LOGIN_RATE_LIMIT": "off,7/hour",
        "UBR_MAIL_RATE_LIMIT": "off",
        "UBR_TRUSTED_PROXIES": "hops:3",
        "UBR_SESSION_IDLE": "36h",
        "UBR_PERMISSIONS": "notes:edit,notes:read",
    }
    rows = in_force(environ)
    assert [row.name for row in rows] == [setting.name for setting in TABLE]
    assert {row.name for row in rows if row.source == "environment"} == set(environ)
    again = {row.name: row.value for row in rows if row.value is not None and row.name != "UBR_SECRET_KEY"}
    assert Settings.from_env(again | {"UBR_SECRET_KEY": KEY}) == Settings.from_env(environ | {"UBR_SECRET_KEY": KEY})
    json.dumps([row.value for row in rows])


def test_looking_writes_nothing(folder: Path) -> None:
    rows = {row.name: row for row in in_force({})}
    assert (rows["UBR_SECRET_KEY"].value, rows["UBR_SECRET_KEY"].source) == ("in var/secret_key", "default")
    assert not list(folder.iterdir())
    assert Settings.from_env({}).secret_keys == ()
    assert not list(folder.iterdir())


def test_documentation_has_every_variable() -> None:
    page = documentation()
    for setting in TABLE:
        assert f"| `{setting.name}` | " in page
    assert all(line.count(" | ") == 2 for line in page.splitlines() if line.startswith("|"))


def test_debugging_is_known_where_nothing_else_is() -> None:
    assert debugging({"UBR_LOG_LEVEL": "debug", "UBR_PORT": "x"})
    assert not debugging({})


# --- memory ----------------------------------------------------------------------------------------------------------


def test_memory() -> None:
    settings = Settings.memory(argon2_memory_kib=8, registration="closed")
    assert (settings.database_url, settings.argon2_memory_kib, settings.registration) == (MEMORY, 8, "closed")
    assert settings.secret_keys != Settings.memory().secret_keys
    assert not SECRET_FILE.parent.exists()
    with pytest.raises(TypeError):
        Settings.memory(argon2=1)


# --- the secret of the embedded database -----------------------------------------------------------------------------


def test_the_secret_is_made_once_for_its_owner_alone() -> None:
    first = ensure_embedded_files(Settings.from_env({}))
    assert Settings.from_env({}).secret_keys == first.secret_keys
    assert ensure_embedded_files(Settings.from_env({})) == first
    assert len(first.secret_keys[0]) >= 32
    assert stat.S_IMODE(SECRET_FILE.stat().st_mode) == 0o600
    assert stat.S_IMODE(SECRET_FILE.parent.stat().st_mode) == 0o700
    assert [path.name for path in SECRET_FILE.parent.iterdir()] == ["secret_key"]


def test_no_secret_is_made_where_one_is_given() -> None:
    settings = Settings.from_env({"UBR_SECRET_KEY": KEY})
    assert ensure_embedded_files(settings) is settings
    assert not SECRET_FILE.exists()
    assert SECRET_FILE.parent.is_dir()


def _read_secret(answers: "SimpleQueue[bytes]") -> None:
    answers.put(ensure_embedded_files(Settings.from_env({})).secret_keys[0])


def test_what_is_kept_here_is_not_offered_for_committing() -> None:
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text().splitlines()
    for file in (SECRET_FILE, DATABASE_FILE, MAIL_FOLDER):
        assert f"/{file.parts[0]}/" in ignored


def test_all_who_race_for_the_secret_get_the_same() -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    racers = [context.Process(target=_read_secret, args=(answers,)) for _ in range(8)]
    for racer in racers:
        racer.start()
    assert len({answers.get() for _ in racers}) == 1
    for racer in racers:
        racer.join()


@pytest.mark.parametrize(
    ("content", "mode", "words"), [("short", 0o600, "32 bytes"), (KEY, 0o644, "chmod 600"), ("", 0o600, "32 bytes")]
)
def test_a_secret_file_that_is_no_good(content: str, mode: int, words: str) -> None:
    SECRET_FILE.parent.mkdir()
    SECRET_FILE.write_text(content)
    SECRET_FILE.chmod(mode)
    error = refused()
    assert "UBR_SECRET_KEY" in str(error)
    assert words in str(error)
    with pytest.raises(WrongSetting, match=words):
        ensure_embedded_files(WITHOUT_SECRET)


def test_a_secret_that_cannot_be_kept(folder: Path) -> None:
    SECRET_FILE.parent.write_text("not a folder")
    with pytest.raises(WrongSetting, match="UBR_DATABASE_URL"):
        ensure_embedded_files(Settings.from_env({}))
    SECRET_FILE.parent.unlink()
    SECRET_FILE.mkdir(parents=True, mode=0o700)
    assert "UBR_SECRET_KEY" in str(refused())
    with pytest.raises(WrongSetting, match="UBR_SECRET_KEY"):
        ensure_embedded_files(WITHOUT_SECRET)


@pytest.mark.parametrize("url", ["memory:", "sqlite:///other.db", "postgresql://h/d"])
def test_no_file_is_made_for_another_database(folder: Path, url: str) -> None:
    settings = Settings.from_env({"UBR_DATABASE_URL": url, "UBR_SECRET_KEY": KEY})
    assert ensure_embedded_files(settings) is settings
    assert not list(folder.iterdir())


def test_a_secret_that_is_not_needed_is_neither_made_nor_looked_at(folder: Path) -> None:
    assert Settings.from_env({}, secret=False).secret_keys
    assert not list(folder.iterdir())
    SECRET_FILE.parent.mkdir()
    SECRET_FILE.write_text("short")
    assert Settings.from_env({}, secret=False).secret_keys


# --- durations -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 3_650 * 24 * 3600 * 1000))
def test_a_duration_survives_being_written(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    text = format_duration(duration)
    # Nine digits are the most that is read, which as milliseconds are eleven days.
    if len(text.rstrip("msdh")) <= 9:
        assert parse_duration(text) == duration


@given(st.text(max_size=12))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(0, 999_999_999), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_every_duration_of_the_form_is_read_or_refused(number: int, unit: str) -> None:
    milliseconds = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}[unit]
    assert parse_duration(f"{number}{unit}") == timedelta(milliseconds=number * milliseconds)


# --- URLs ------------------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(["postgresql", "redis", "smtp"]),
    st.text("abc123%-_.~!$&'()*+,;=:", max_size=20).map(lambda noise: f"{noise}{CANARY}"),
    st.sampled_from(["h", "h:1/d", "[::1]/d?x=1", "h/d#f"]),
)
def test_masked_urls_show_no_password(scheme: str, password: str, rest: str) -> None:
    assert CANARY not in masked(f"{scheme}://user:{password}@{rest}")


@given(st.text(max_size=40))
def test_no_database_url_breaks_the_parser(text: str) -> None:
    try:
        Settings.from_env({"UBR_DATABASE_URL": f"postgresql://{text}", "UBR_SECRET_KEY": KEY})
    except WrongSetting as error:
        assert all(sentence.startswith("UBR_DATABASE_URL ") for sentence in error.sentences)  # noqa: PT017


@pytest.mark.parametrize(("host", "found"), [("0.0.0.0", "http://127.0.0.1:81"), ("::", "http://[::1]:81")])  # noqa: S104
def test_all_addresses_are_no_address_to_open(host: str, found: str) -> None:
    settings = Settings.from_env({"UBR_HOST": host, "UBR_PORT": "81"})
    assert (settings.address, settings.public_url) == (found, found)
    # Tokens and checkpoints of an existing installation name its issuer.
    assert settings.issuer == (f"http://{host}:81" if host != "::" else "http://[::]:81")
    [sentence] = unclear_addresses(settings)
    assert sentence.startswith(f"UBR_HOST is {host}, which browsers cannot open: links name {found},")
    assert not unclear_addresses(Settings.from_env({"UBR_HOST": host, "UBR_PUBLIC_URL": "http://192.0.2.7"}))
    own = f"http://[{host}]" if ":" in host else f"http://{host}:8000"
    [sentence] = unclear_addresses(Settings.from_env({"UBR_HOST": host, "UBR_PUBLIC_URL": own}))
    assert sentence.startswith(f"UBR_PUBLIC_URL is {own}, which browsers cannot open")


def test_a_cookie_that_browsers_drop_is_announced() -> None:
    own = {"UBR_DATABASE_URL": "postgresql+asyncpg://u@db/ubr", "UBR_SECRET_KEY": "vQ7m2Lx9tR4wK8pZ1nB6cY3dF5gH0jSa"}
    [sentence] = unclear_addresses(Settings.from_env(own))
    assert sentence.startswith("UBR_PUBLIC_URL is not set, so the cookie of a login is for https alone")
    for more in ({"UBR_PUBLIC_URL": "http://192.0.2.7:8000"}, {"UBR_PAGES": "off"}):
        assert not unclear_addresses(Settings.from_env(own | more))
    assert len(unclear_addresses(Settings.from_env(own | {"UBR_HOST": "0.0.0.0"}))) == 2  # noqa: S104
    assert not unclear_addresses(Settings.from_env({}))
