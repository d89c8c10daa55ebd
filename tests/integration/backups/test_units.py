"""The units of systemd for backups: their commands and settings exist, and systemd finds no mistake in them."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import click
import pytest

from tests.support.papers import ROOT
from ubr.entrypoints.cli.main import main
from ubr.settings import TABLE

FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("ubr-backup*"))


def values(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def test_each_timer_has_its_service() -> None:
    assert {unit.stem for unit in UNITS if unit.suffix == ".timer"} == {"ubr-backup", "ubr-backup-verify"}
    assert {unit.stem for unit in UNITS if unit.suffix == ".service"} == {"ubr-backup", "ubr-backup-verify"}
    for unit in UNITS:
        if unit.suffix == ".timer":
            parsed = ConfigParser(strict=True)
            parsed.read(unit)
            assert parsed["Install"]["WantedBy"] == "timers.target"


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.stem)
def test_the_commands_and_settings_of_a_unit_exist(unit: Path) -> None:
    commands = values(unit, "ExecStart")
    assert commands
    for line in commands:
        program, *words = line.split()
        assert program == "/opt/ubr/bin/ubr"
        group = main.commands[words[0]]
        assert isinstance(group, click.Group)
        command = group.commands[words[1]]
        command.make_context(words[1], words[2:], parent=click.Context(main))
    given = {value.partition("=")[0] for value in values(unit, "Environment")}
    known = {setting.name for setting in TABLE} | {setting.file_name for setting in TABLE} | {"TMPDIR"}
    assert given <= known
    loaded = {value.partition(":")[0] for value in values(unit, "LoadCredential")}
    assert {value.partition("=%d/")[2] for value in values(unit, "Environment") if "=%d/" in value} == loaded


def test_only_the_verification_knows_the_secret_of_the_service() -> None:
    assert "SECRET_KEY" not in (FOLDER / "ubr-backup.service").read_text()
    assert "SECRET_KEY" in (FOLDER / "ubr-backup-verify.service").read_text()


@pytest.mark.long
def test_systemd_finds_no_mistake(tmp_path: Path) -> None:
    """systemd is a package of Debian, which is not part of every machine."""
    for unit in UNITS:
        # It also looks for the program, which is not installed here.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/ubr/bin/ubr", "/bin/true"))
    analyze = shutil.which("systemd-analyze")
    assert analyze is not None
    for arguments in (
        ["verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        ["security", "--offline=true", "--threshold=30", *map(str, sorted(tmp_path.glob("*.service")))],
    ):
        done = subprocess.run(  # noqa: S603 - the program of systemd
            [analyze, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert arguments[0] == "security" or done.stdout + done.stderr == ""
