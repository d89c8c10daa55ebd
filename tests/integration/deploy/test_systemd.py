"""The units of deploy/systemd, as systemd reads them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.integration.deploy.kit import DEPLOY, says

# systemd is a package of Debian, which is not part of every machine.
pytestmark = [pytest.mark.system, pytest.mark.long]

UNITS = sorted([*DEPLOY.glob("systemd/*.service"), *DEPLOY.glob("systemd/*.timer")])
SERVICES = sorted(DEPLOY.glob("systemd/*.service"))


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.stem)
def test_a_service_is_confined(unit: Path) -> None:
    said = says("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert level is not None
    assert float(level[1]) < 3.0, said


def test_systemd_finds_no_mistake(tmp_path: Path) -> None:
    for unit in UNITS:
        # It also looks for the program, which is not installed here.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/ubr/bin/ubr", "/bin/true"))
    assert says("systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir())) == ""


def test_users_and_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for folder, kind in (("sysusers.d", "sysusers"), ("tmpfiles.d", "tmpfiles")):
        (tmp_path / "usr" / "lib" / folder).mkdir(parents=True)
        shutil.copy(DEPLOY / "systemd" / f"ubr.{kind}.conf", tmp_path / "usr" / "lib" / folder / "ubr.conf")
    says("systemd-sysusers", f"--root={tmp_path}", "ubr.conf")
    users = (tmp_path / "etc" / "passwd").read_text()
    assert re.search(r"^ubr:[^:]*:\d+:\d+:[^:]*:/var/lib/ubr:\S*nologin$", users, re.MULTILINE)
    assert re.search(r"^ubr-checkpoint:", users, re.MULTILINE)
    says("systemd-tmpfiles", f"--root={tmp_path}", "--create", "ubr.conf")
    assert (tmp_path / "etc" / "ubr" / "credentials").stat().st_mode & 0o777 == 0o700
