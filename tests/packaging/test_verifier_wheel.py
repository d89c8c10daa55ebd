"""The wheel of ubr-verifier, in an environment that has nothing else, beside a real service."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.integration.verifier.processes import follower_key
from tests.packaging.test_wheel import LOCKED, PIP, run
from tests.support.alone import FOLDER, ROOT, VERIFY
from tests.support.service import ADMIN, ADMIN_EMAIL, ADMIN_PASSWORD, serving

pytestmark = pytest.mark.long


def test_the_wheel_of_the_verifier(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path, cwd=FOLDER)
    (wheel,) = tmp_path.glob("ubr_verifier-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"ubr_verifier"}
    assert {"ubr_verifier/py.typed", "ubr_verifier/verifier.py", "ubr_verifier/domain/keys/access_token.py"} <= {*names}

    environment = tmp_path / "venv"
    python = environment / "bin" / "python"
    run(ROOT / "tools" / "make-venv", environment, cwd=ROOT, PYTHON=sys.executable)
    run(python, *PIP, *LOCKED, "-r", ROOT / "requirements" / "verifier.txt", cwd=tmp_path)
    run(python, *PIP, "--no-deps", "--no-index", wheel, cwd=tmp_path)
    run(python, "-m", "pip", "check", "--disable-pip-version-check", cwd=tmp_path)

    with serving(tmp_path, ADMIN) as service:
        body = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        tokens = httpx.post(f"{service.url}/api/auth/login", json=body, timeout=30).json()
        key = follower_key(service.url, tokens["access_token"])
        said = run(python, "-c", VERIFY, service.url, key, tokens["access_token"], cwd=tmp_path)
    assert said.split() == [tokens["user"]["id"], "refused"]
