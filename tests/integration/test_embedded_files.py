"""The files of the embedded database are made when it is opened for the first time, and not before."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.values import replace
from ubr import SYSTEM, LogInCommand, RegisterUserCommand, Settings, WrongSetting, connect
from ubr.entrypoints.http.asgi import create
from ubr.settings import SECRET_FILE
from ubr.testing import TINY_HASHING

PASSWORD = "a long enough password"
EMAIL = "reader@example.org"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings() -> Settings:
    """As a program reads them, but for the cost of a password."""
    return replace(Settings.from_env({}), **TINY_HASHING)


async def test_a_program_begins_in_an_empty_folder_and_goes_on_there() -> None:
    first = settings()
    assert not SECRET_FILE.parent.exists()
    async with connect(first) as ubr:
        assert SECRET_FILE.exists()
        await ubr.register_user(RegisterUserCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)
        tokens = await ubr.log_in(LogInCommand(email=EMAIL, password=PASSWORD))
    # Settings that were read before the file was there find it as well.
    for again in (settings(), first):
        async with connect(again) as ubr:
            assert (await ubr.authenticate(tokens.access_token)).user_id == tokens.user.id


async def test_a_program_whose_files_cannot_be_made_is_told_so(folder: Path) -> None:
    (folder / "var").write_text("not a folder")
    with pytest.raises(WrongSetting, match="UBR_DATABASE_URL"):
        async with connect(settings()):
            pass


async def test_a_missing_secret_beside_a_database_is_reported_and_not_replaced(folder: Path) -> None:
    async with connect(settings()):
        pass
    secret = SECRET_FILE.read_bytes()
    SECRET_FILE.unlink()
    for _ in range(2):
        with pytest.raises(WrongSetting, match=r"var/secret_key is missing, but the database var/ubr\.db exists"):
            async with connect(settings()):
                pass
        assert not SECRET_FILE.exists()
    with pytest.raises(WrongSetting, match="secret_key is missing"):
        create()
    SECRET_FILE.write_bytes(secret)
    SECRET_FILE.chmod(0o600)
    async with connect(settings()) as ubr:
        assert await ubr.list_signing_keys(actor=SYSTEM)


async def test_an_empty_file_is_not_yet_a_database(folder: Path) -> None:
    (folder / "var").mkdir()
    (folder / "var/ubr.db").touch()
    async with connect(settings()):
        assert SECRET_FILE.exists()


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*.db*")}


@pytest.fixture
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_usual_umask")
@pytest.mark.parametrize("url", ["sqlite:///var/ubr.db", "sqlite:///other.db"])
async def test_only_the_owner_can_read_a_new_database(folder: Path, url: str) -> None:
    (folder / "var").mkdir(mode=0o755)
    secret = "0123456789abcdef" * 4
    named = Settings.from_env({"UBR_DATABASE_URL": url, "UBR_SECRET_KEY": secret, "UBR_MIGRATE": "auto"})
    async with connect(replace(named, **TINY_HASHING)) as ubr:
        await ubr.register_user(RegisterUserCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)
        found = _modes(folder)
    assert set(found.values()) == {0o600}
    assert any(name.endswith("-wal") for name in found)


async def test_a_database_that_others_can_read_is_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with connect(settings()):
        pass
    assert "chmod 600" not in caplog.text
    (folder / "var/ubr.db").chmod(0o644)
    for _ in range(2):
        async with connect(settings()):
            pass
    assert caplog.text.count("chmod 600") == 1


def test_whatever_server_starts_the_application_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubr.entrypoints.http.log_lines.configure", lambda _: None)
    create()
    assert SECRET_FILE.exists()
