"""`ubr emulate`: the example in JavaScript passes against it, and it is not taken for an installation."""

# ruff: noqa: S603 - the commands that it runs are ours

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.support import commands
from tests.support.commands import PATIENCE
from tests.support.papers import ROOT, blocks_of
from tests.support.servers import free_port
from ubr.entrypoints.cli.emulate import settings_of as emulator_settings

pytestmark = pytest.mark.system

EXAMPLES = ROOT / "examples"


def driver_node() -> str:
    """The Node that comes with the browser's driver: it runs TypeScript."""
    from playwright._impl._driver import compute_driver_executable  # noqa: PLC0415

    return str(compute_driver_executable()[0])


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError(url)


@pytest.mark.system(seconds=8)
def test_the_example_in_javascript(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [commands.UBR, "emulate", "--port", str(port), "--state", str(EXAMPLES / "emulator.json")]
    environment = commands.clean_environment()
    with (tmp_path / "out").open("w+") as out:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=out)
        try:
            wait_until_ready(url)
            example = [shutil.which("node") or driver_node(), "--test", str(EXAMPLES / "emulator.test.mjs")]
            told = commands.clean_environment(UBR_URL=url)
            ran = subprocess.run(example, env=told, capture_output=True, text=True, timeout=PATIENCE, check=False)
            assert ran.returncode == 0, ran.stdout + ran.stderr
            assert "pass 5" in ran.stdout
            taken = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
            assert (taken.returncode, taken.stdout) == (1, "")
            assert f"Cannot listen on 127.0.0.1, port {port}" in taken.stderr
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0
        out.seek(0)
        said = out.read()
    assert said.startswith(f"ubr emulator on {url}: in memory, for tests only.")
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.system(seconds=6)
def test_the_tests_of_the_tutorial_in_typescript(tmp_path: Path) -> None:
    [state], [program] = blocks_of("docs/tutorial.md", "json"), blocks_of("docs/tutorial.md", "ts")
    (tmp_path / "emulator.json").write_text(state.text)
    (tmp_path / "notes.test.ts").write_text(program.text)
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [commands.UBR, "emulate", "--port", str(port), "--state", "emulator.json"]
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(command, cwd=tmp_path, env=commands.clean_environment(), stdout=out, stderr=out)
        try:
            wait_until_ready(url)
            told = commands.clean_environment(UBR_URL=url)
            tests = [driver_node(), "--test", "notes.test.ts"]
            ran = subprocess.run(
                tests, cwd=tmp_path, env=told, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
            assert ran.returncode == 0, ran.stdout + ran.stderr
            assert "pass 1" in ran.stdout
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("name", ["UBR_DATABASE_URL", "UBR_REDIS_URL", "UBR_SMTP_URL"])
def test_it_does_not_run_in_the_environment_of_an_installation(name: str, tmp_path: Path) -> None:
    value = {
        "UBR_DATABASE_URL": "sqlite:///ubr.db",
        "UBR_REDIS_URL": "redis://127.0.0.1",
        "UBR_SMTP_URL": "smtp://127.0.0.1",
    }[name]
    environment = commands.clean_environment(
        **{name: value, "UBR_MAIL_FROM": "ubr@example.org", "UBR_PUBLIC_URL": "https://a.test"}
    )
    code, _, err = commands.run("emulate", folder=tmp_path, environment=environment)
    assert code == 1
    assert f"environment of an installation: it sets {name}" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--state", "absent.json"), 1, "Cannot read absent.json"),
        (("--host", "localhost"), 2, "IP address"),
        (("--port", "0"), 2, "--port"),
        (("--allow-host", "emulator:8025"), 2, "--allow-host"),
        (("--allow-host", "emulator", "--allow-host", ""), 2, "--allow-host"),
    ],
)
def test_a_mistake_in_its_arguments(arguments: tuple[str, ...], code: int, words: str, tmp_path: Path) -> None:
    ended, _, err = commands.run("emulate", *arguments, folder=tmp_path, environment=commands.clean_environment())
    assert ended == code
    assert words in err


@pytest.mark.parametrize("environment", [{}, {"UBR_HOST": "0.0.0.0", "UBR_PORT": "8000"}])  # noqa: S104 - replaced
def test_links_lead_to_the_emulator(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = emulator_settings("127.0.0.1", 8025, limits=False)
    assert {settings.address, settings.public_url, settings.issuer} == {"http://127.0.0.1:8025"}
    everywhere = emulator_settings("::", 8025, limits=False)
    assert (everywhere.public_url, everywhere.issuer) == ("http://[::1]:8025", "http://[::]:8025")
    monkeypatch.setenv("UBR_PUBLIC_URL", "http://emulator:8025")
    named = emulator_settings("::", 8025, limits=False)
    assert {named.public_url, named.issuer} == {"http://emulator:8025"}


def test_the_schema_of_its_file(tmp_path: Path) -> None:
    code, out, _ = commands.run("emulate", "--schema", folder=tmp_path, environment=commands.clean_environment())
    assert code == 0
    assert "$schema" in json.loads(out)
