"""The files of the embedded database are made when it is opened for the first time, and not before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

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


def test_whatever_server_starts_the_application_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubr.entrypoints.http.log_lines.configure", lambda _: None)
    create()
    assert SECRET_FILE.exists()
