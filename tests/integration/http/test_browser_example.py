"""The program of examples/browser, run unchanged by node, against a service."""

from __future__ import annotations

import subprocess
from pathlib import Path

import playwright
import pytest

from tests.support.commands import PATIENCE
from tests.support.papers import ROOT
from tests.support.service import ADMIN, ADMIN_EMAIL, ADMIN_PASSWORD, serving

NODE = Path(playwright.__file__).parent / "driver/node"
"""The one that drives browsers: it has what a browser has, and no test needs another."""


@pytest.mark.system
def test_a_page_keeps_its_user_logged_in_over_all_tabs(tmp_path: Path) -> None:
    program, example = Path(__file__).with_name("browser_example.mjs"), ROOT / "examples/browser/session.js"
    with serving(tmp_path, ADMIN) as service:
        ran = subprocess.run(  # noqa: S603
            [NODE, program, example, service.url, ADMIN_EMAIL, ADMIN_PASSWORD],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert (ran.stdout, ran.returncode) == ("done\n", 0), ran.stderr
