"""Settings that are valid and unsafe, and the files that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cli.doctor.kit import SECRET, Examine

pytestmark = pytest.mark.system

EXAMPLES = {
    "of a page": "replace-this-by-your-own-secret-0123",
    "typed": "this is the default key of the service",
    "repeated": "k7Gq2mXw9pLz" * 3,
    "in order": "0123456789abcdefghijklmnopqrstuvwxyz",
    "of the documentation": "changeme-changeme-0a1b2c3d4e5f6a7b8c9d",
}


@pytest.mark.parametrize("secret", EXAMPLES.values(), ids=EXAMPLES)
def test_a_secret_that_can_be_guessed(secret: str, examine: Examine) -> None:
    report = examine(UBR_SECRET_KEY=secret)
    assert report.says("error", "secret", "Secret 1 of UBR_SECRET_KEY looks like an example or a pattern")
    assert secret not in str(report.found)


def test_a_random_secret_behind_an_example(examine: Examine) -> None:
    phrase = "kettle orbit walnut quarry velvet summit"
    assert examine(UBR_SECRET_KEY=f"{SECRET},{phrase}").levels()["secret"] == "ok"
    report = examine(UBR_SECRET_KEY=f"{SECRET},{EXAMPLES['typed']}")
    assert [sentence[:9] for _, sentence in report.about("secret")] == ["Secret 2 "]


@pytest.mark.parametrize("variable", ["UBR_PUBLIC_URL", "UBR_ISSUER", "UBR_RETURN_URL"])
def test_an_address_without_tls(variable: str, examine: Examine) -> None:
    report = examine(**{variable: "http://accounts.example.org"})
    assert report.says("warning", "addresses", f"{variable} is http://accounts.example.org")
    assert not examine(**{variable: "http://localhost:8000"}).says("warning", "addresses", "")


def test_a_listener_for_all_without_a_public_url(examine: Examine) -> None:
    assert examine(UBR_HOST="192.0.2.1").says("warning", "addresses", "UBR_PUBLIC_URL is http://192.0.2.1:8000")


def test_an_address_that_browsers_do_not_find(examine: Examine) -> None:
    assert examine(UBR_HOST="0.0.0.0").says("warning", "addresses", "UBR_HOST is 0.0.0.0")  # noqa: S104
    assert not examine(UBR_HOST="0.0.0.0", UBR_PUBLIC_URL="https://id.example.org").says("warning", "addresses", "")  # noqa: S104


@pytest.mark.parametrize("variable", ["UBR_CORS_ORIGINS", "UBR_RETURN_ORIGINS"])
def test_an_origin_without_tls(variable: str, examine: Examine) -> None:
    report = examine(**{variable: "https://app.example.org,http://old.example.org,http://localhost:5173"})
    assert [sentence for level, sentence in report.about("addresses") if "ORIGINS" in sentence] == [
        f"{variable} contains http://old.example.org, whose pages anyone on the way can change. Use https."
    ]


def test_any_origin(examine: Examine) -> None:
    assert examine(UBR_CORS_ORIGINS="*").says("error", "settings", "UBR_CORS_ORIGINS must be a list of origins")


def test_a_public_network_of_proxies(examine: Examine) -> None:
    report = examine(UBR_TRUSTED_PROXIES="10.0.0.0/8,8.0.0.0/8,9.9.9.9")
    [(level, sentence)] = report.about("proxies")
    assert (level, "the public network 8.0.0.0/8" in sentence) == ("warning", True)
    assert examine(UBR_TRUSTED_PROXIES="hops:2").levels()["proxies"] == "ok"


def test_rate_limits_that_are_off(examine: Examine) -> None:
    assert examine(UBR_LOGIN_RATE_LIMIT="off").says("error", "rate limits", "disables every limit")
    report = examine(UBR_LOGIN_RATE_LIMIT="10/minute,off", UBR_MAIL_RATE_LIMIT="off")
    assert report.says("warning", "rate limits", "UBR_LOGIN_RATE_LIMIT is 10/minute,off")
    assert report.says("warning", "rate limits", "UBR_MAIL_RATE_LIMIT is off")


def test_workers_on_sqlite(examine: Examine) -> None:
    assert examine(UBR_WORKERS="2").says("error", "settings", "UBR_WORKERS must be 1 on SQLite")


def test_files_that_cannot_be_used(examine: Examine, tmp_path: Path) -> None:
    report = examine(UBR_PASSWORD_BLOCK_LIST=str(tmp_path / "missing"))
    assert report.says("error", "settings", f"UBR_PASSWORD_BLOCK_LIST names {tmp_path / 'missing'}, which")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "invitation.txt").write_text("{{ unknown }}")
    report = examine(UBR_MAIL_TEMPLATES=str(tmp_path / "templates"))
    assert report.says("error", "settings", "UBR_MAIL_TEMPLATES names")


def test_a_secret_that_was_lost(embedded: dict[str, str], examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "var" / "secret_key").unlink()
    report = examine(**embedded)
    assert report.says("error", "settings", "The file var/secret_key is missing, but the database var/ubr.db exists")
    assert report.says("not checked", "keys", "the settings are wrong")
