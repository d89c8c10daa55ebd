"""The settings for passwords that change: separate ones, and those that AWS IAM issues."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from ubr.adapters.redis.address import IssuedPasswords, library_pool
from ubr.settings import Settings, WrongSetting
from ubr.settings.overview import in_force

_SECRET = {"UBR_SECRET_KEY": "f8a7c1d2e3b4a5968778695a4b3c2d1e0f9e8d7c6b5a49382716"}
_IAM = "postgresql://u@h/d?sslmode=verify-full&auth=aws-iam"


def test_a_separate_password_becomes_part_of_its_url() -> None:
    environ = _SECRET | {
        "UBR_DATABASE_URL": "postgresql://service@host:5432/ubr?sslmode=require",
        "UBR_DATABASE_PASSWORD": "a@:/?%&b c",
        "UBR_MIGRATION_DATABASE_URL": "postgresql://owner@host/ubr",
        "UBR_MIGRATION_DATABASE_PASSWORD": "#",
    }
    settings = Settings.from_env(environ)
    assert make_url(settings.database_url).password == "a@:/?%&b c"
    assert make_url(settings.database_url).query == {"ssl": "require"}
    assert make_url(settings.owner_url).password == "#"
    shown = {row.name: row.value for row in in_force(environ)}
    assert shown["UBR_DATABASE_PASSWORD"] == "***"
    assert shown["UBR_DATABASE_URL"] == "postgresql+asyncpg://service:***@host:5432/ubr?ssl=require"


def test_the_file_of_a_password_is_known_to_the_store(tmp_path: Path) -> None:
    file = tmp_path / "pass word"
    file.write_text("secret\n")
    settings = Settings.from_env(
        _SECRET | {"UBR_DATABASE_URL": "postgresql://u@h/d", "UBR_DATABASE_PASSWORD_FILE": str(file)}
    )
    url = make_url(settings.database_url)
    assert (url.password, url.query["password_file"]) == ("secret", str(file))


@pytest.mark.parametrize(
    ("database", "password"),
    [("postgresql://u:p@h/d", "x"), ("postgresql://h/d", "x"), ("sqlite:///a.db", "x"), (_IAM, "x")],
)
def test_a_password_without_a_place_is_rejected(database: str, password: str) -> None:
    with pytest.raises(WrongSetting, match="UBR_DATABASE_PASSWORD must not be set unless UBR_DATABASE_URL"):
        Settings.from_env(_SECRET | {"UBR_DATABASE_URL": database, "UBR_DATABASE_PASSWORD": password})


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://u@h/d?auth=aws-iam", "must have TLS"),
        ("postgresql://u@h/d?auth=aws-iam&sslmode=require", "must have TLS"),
        ("postgresql://u:p@h/d?auth=aws-iam&sslmode=verify-full", "must have a user and no password"),
        ("postgresql://h/d?auth=aws-iam&sslmode=verify-full", "must have a user and no password"),
        ("postgresql://u@h/d?auth=kerberos&sslmode=verify-full", "must have no other auth than aws-iam"),
    ],
)
def test_iam_needs_a_user_and_tls(url: str, sentence: str) -> None:
    with pytest.raises(WrongSetting, match=sentence):
        Settings.from_env(_SECRET | {"UBR_DATABASE_URL": url})


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis://u@h:6379/0?auth=aws-iam&cache=c", "must have TLS"),
        ("rediss://u@h:6379/0?auth=aws-iam", "must have cache="),
        ("rediss://u@h:6379/0?cache=c", "must have cache="),
        ("rediss://h:6379/0?auth=aws-iam&cache=c", "must have a user and no password"),
        ("rediss://h:6379/0?other=1", "has an unknown option"),
    ],
)
def test_iam_of_redis_needs_a_user_a_cache_and_tls(url: str, sentence: str) -> None:
    with pytest.raises(WrongSetting, match=sentence):
        Settings.from_env(_SECRET | {"UBR_DATABASE_URL": "memory:", "UBR_REDIS_URL": url})


async def test_redis_gets_a_password_for_each_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = library_pool("rediss://some%2Duser@host:6380/3?auth=aws-iam&cache=c&ssl_cert_reqs=required")
    given = pool.connection_kwargs
    assert (given["host"], given["port"], given["db"], given["ssl_cert_reqs"]) == ("host", 6380, 3, "required")
    provider = given["credential_provider"]
    assert isinstance(provider, IssuedPasswords)
    issued = iter(("first", "second"))

    async def issue(cache: str, user: str) -> str:
        assert (cache, user) == ("c", "some-user")
        return next(issued)

    monkeypatch.setattr("ubr.adapters.aws.passwords.cache_password", issue)
    assert await provider.get_credentials_async() == ("some-user", "first")
    assert await provider.get_credentials_async() == ("some-user", "second")
