"""`ubr-verifier`, which cannot import ubr, beside a real service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.integration.verifier.processes import follower_key
from tests.support.alone import BUILD, VERIFY
from tests.support.service import ADMIN, ADMIN_EMAIL, ADMIN_PASSWORD, serving

pytestmark = pytest.mark.system


def test_it_verifies_the_tokens_of_a_real_service(tmp_path: Path) -> None:
    BUILD["write"](tmp_path / "alone")
    with serving(tmp_path, ADMIN) as service:
        body = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        tokens = httpx.post(f"{service.url}/api/auth/login", json=body, timeout=30).json()
        key = follower_key(service.url, tokens["access_token"])
        done = subprocess.run(  # noqa: S603 - our own text
            [sys.executable, "-c", VERIFY, service.url, key, tokens["access_token"]],
            cwd=tmp_path / "alone",
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [tokens["user"]["id"], "refused"]
