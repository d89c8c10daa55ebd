"""The page about one machine as it stands, on a bare Debian with its systemd: from the release to a restoration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.packaging.debian import booted, debian, install, ran, shell
from tests.support.papers import blocks_of

pytestmark = pytest.mark.long

LOG_IN = """
import httpx, sys
answer = httpx.post("http://127.0.0.1:8000/api/auth/login", json={"email": sys.argv[1], "password": sys.argv[2]})
print(answer.status_code, answer.json().get("user", {}).get("roles"))
"""
READY = (
    "until /opt/ubr/bin/python -c 'import httpx; httpx.get(\"http://127.0.0.1:8000\")' 2>/dev/null; do sleep 1; done"
)


def test_the_page_about_one_machine(tmp_path: Path, released: Path) -> None:
    root = debian(tmp_path / "debian", released)
    # Afterwards the machine has no network: its ports are its own.
    install(root, "systemd", "systemd-sysv", "dbus", "iproute2", "postgresql", "openssl")
    ran(*shell(root, "/srv/release", blocks_of("docs/operations/install.md", "sh")[1].text))
    (root / "srv" / "log_in.py").write_text(LOG_IN)
    units, database, start, restore, update = (
        block.text for block in blocks_of("docs/operations/one-machine.md", "sh")
    )

    with booted(root) as machine:
        machine.run("/srv/release", units)
        machine.run("/", database)
        asks = "ubr admin create --email admin@example.org"
        assert asks in start  # on a terminal
        said = machine.run("/", start.replace(asks, f"{asks} --generate"))
        assert re.search(r"^ok +backups .* the last verification was at ", said, re.MULTILINE)
        assert "Errors: 0." in said
        (password,) = re.findall(r"^password  (\S+)$", said.replace("\r", ""), re.MULTILINE)
        log_in = f"{READY}; /opt/ubr/bin/python /srv/log_in.py admin@example.org {password}"
        assert "200 ['admin', 'user']" in machine.run("/", log_in)

        # Each unit succeeds, and the service refuses a database that is behind the checkpoint.
        machine.run("/", "systemctl start ubr-backup ubr-checkpoint")
        setting = "echo UBR_AUDIT_CHECKPOINT=/var/lib/ubr-checkpoint/log.checkpoint >> /etc/ubr/ubr.env"
        machine.run("/", f"{setting}; systemctl restart ubr; {READY}")
        said = machine.run("/", f"{restore}\nsystemctl is-active ubr")
        assert "the database was restored to an earlier state" in said
        assert said.endswith("active\n")
        assert "200 ['admin', 'user']" in machine.run("/", log_in)

        assert "The schema is up to date" in machine.run("/", update)
        assert "200 ['admin', 'user']" in machine.run("/", log_in)
        ended = machine.run("/", "systemctl stop ubr; systemctl show --property=Result,ExecMainStatus ubr")
        assert set(ended.split()) == {"Result=success", "ExecMainStatus=0"}
        assert machine.run("/", "systemctl list-units --failed --plain --no-legend") == ""
