"""Every `run:` block of the workflows, executed as it stands, by the shell and the options of GitHub Actions.

Programs that need GitHub, AWS, a Docker daemon or a change of this machine are stand-ins that note their arguments.
make shows its commands and does not execute them: `.ci/run` and the long tests do, except those in `ELSEWHERE`.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.commands import clean_environment
from tests.support.papers import ROOT

pytestmark = pytest.mark.system

DIGEST = f"sha256:{'0a' * 32}"
SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
STAND_INS = {
    "aws": "needs an account",
    "docker": "needs a daemon and a registry",
    "gh": "needs GitHub",
    "sudo": "would change this machine",
}
"""The programs that do not run here, and the reason."""
ELSEWHERE = {"make test-image": "needs Docker, or buildah and root: DEVELOPMENT.md"}
"""The targets that neither CI nor the long tests execute, and the reason."""
STAND_IN = """#!/bin/sh
line=${0##*/}
for word in "$@"; do line="$line\t$word"; done
# One write: the two sides of a pipe run at the same time.
printf '%s\\n' "$line" >> "$NOTED"
if [ "${0##*/}" = sudo ] && [ "$1" = env ]; then exec "$@"; fi
"""


@dataclass(frozen=True)
class Done:
    status: int
    said: str
    output: str
    """The content of `GITHUB_OUTPUT`."""
    noted: list[list[str]]
    """The calls of stand-ins."""
    folder: Path


def blocks() -> dict[tuple[str, str], tuple[str, dict[str, str], str]]:
    """The text, the variables and the folder of each block, by workflow and step."""
    found: dict[tuple[str, str], tuple[str, dict[str, str], str]] = {}
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        workflow: dict[str, Any] = yaml.safe_load(path.read_text())
        assert workflow["defaults"] == {"run": {"shell": "bash"}}
        for job in workflow["jobs"].values():
            for step in job.get("steps", []):
                if "run" in step:
                    text, variables = step["run"], {**job.get("env", {}), **step.get("env", {})}
                    # An expression in a text would be code of a stranger.
                    assert "${{" not in text
                    found[path.name, step["name"]] = (text, variables, step.get("working-directory", "."))
    return found


BLOCKS = blocks()


def execute(workflow: str, step: str, folder: Path, **variables: str) -> Done:
    text, named, within = BLOCKS[workflow, step]
    programs = folder / "stand-ins"
    programs.mkdir(exist_ok=True)
    for name in STAND_INS:
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    noted, output = folder / "noted", folder / "output"
    noted.touch()
    output.touch()
    script = folder / "script.sh"
    script.write_text(text)
    used = {name for name in named if re.search(rf"\${{?{name}\b", text)}
    missing = {name for name in used if "${{" in named[name]} - variables.keys()
    assert missing == set(), "the workflow sets these by expressions"
    given = {name: value for name, value in named.items() if "${{" not in value}
    kept = {name: value for name, value in clean_environment().items() if not name.startswith(("PYTEST", "MAKE"))}
    done = subprocess.run(  # noqa: S603 - a block of a workflow, with stand-ins
        [*SHELL, script],
        cwd=(ROOT if "make" in text else folder) / within,
        env={
            **kept,
            **given,
            "PATH": f"{programs}:{kept['PATH']}",
            "NOTED": str(noted),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_REPOSITORY": "Owner/Ubr",
            "GITHUB_REF_NAME": "v1.2.0",
            "GITHUB_WORKSPACE": str(folder),
            "MAKEFLAGS": "--dry-run",
            **variables,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    calls = [line.split("\t") for line in noted.read_text().splitlines()]
    return Done(done.returncode, done.stdout, output.read_text(), calls, folder)


# Blocks that only call make

MAKE = {key: text for key, (text, _, _) in BLOCKS.items() if re.fullmatch(r"make [\w-]+( \w+=\"\$\w+\")?\n?", text)}


@pytest.mark.parametrize(("workflow", "step"), MAKE, ids=map("-".join, MAKE))
def test_a_target_of_make(workflow: str, step: str, tmp_path: Path) -> None:
    done = execute(workflow, step, tmp_path, **({"POSTGRES": "15"} if "POSTGRES" in MAKE[workflow, step] else {}))
    assert done.status == 0, done.said
    assert done.said
    if "POSTGRES" in MAKE[workflow, step]:
        assert "for major in 15;" in done.said


def test_each_target_is_executed_somewhere() -> None:
    executed = (ROOT / ".ci" / "run").read_text() + (ROOT / "Makefile").read_text().partition("\ntest-long:")[2]
    executed += "".join(path.read_text() for path in (ROOT / "tests" / "packaging").glob("*.py"))
    for text in set(MAKE.values()):
        target = text.split()[1]
        assert re.search(rf"\b{target}\b", executed) or f"make {target}" in ELSEWHERE, target


# All others


def requirements(folder: Path) -> None:
    (folder / "dist").mkdir()
    (folder / "dist" / "requirements.txt").write_text("# ubr\nubr==1.2.0 \\\n    --hash=sha256:0a\nidna==3.20\n")


def sums(folder: Path) -> None:
    requirements(folder)
    digest = hashlib.sha256((folder / "dist" / "requirements.txt").read_bytes()).hexdigest()
    (folder / "dist" / "SHA256SUMS").write_text(f"{digest}  requirements.txt\n")


def wrong_sums(folder: Path) -> None:
    sums(folder)
    (folder / "dist" / "requirements.txt").write_text("idna==3.20\n")


def release_notes(folder: Path) -> None:
    requirements(folder)
    (folder / "dist" / "RELEASE-NOTES.md").write_text("## 1.2.0\n")
    (folder / "notes.md").touch()


@dataclass(frozen=True)
class Case:
    workflow: str
    step: str
    variables: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[Path], None] = lambda _: None
    status: int = 0
    output: str = ""
    said: str = ""
    noted: str = ""
    """The calls of stand-ins, as lines of a shell."""


INSTALL = "sudo apt-get update --quiet\nsudo apt-get install --quiet --yes --no-install-recommends postgresql-common\n"
PGDG = "sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y"
IMAGE = f"ghcr.io/owner/ubr@{DIGEST}"
CASES = {
    "checks: PostgreSQL": Case(
        "checks.yml", "Install PostgreSQL", {"POSTGRES": "15"}, noted=f"{INSTALL}{PGDG} -i -v 15"
    ),
    "campaigns: PostgreSQL": Case("campaigns.yml", "Prepare the packages of PostgreSQL", noted=INSTALL + PGDG),
    "campaigns: git": Case("campaigns.yml", "Let root read the repository"),
    "campaigns: run": Case("campaigns.yml", "Run the campaign", {"TARGET": "test-rights"}, said="test_rights.py"),
    "campaigns: lowest": Case(
        "campaigns.yml", "Run the campaign", {"TARGET": "test-lowest"}, said=".venv-lowest/bin/python -m pytest"
    ),
    "release: version": Case("release.yml", "Read the version", before=requirements, output="version=1.2.0\n"),
    "release: another tag": Case(
        "release.yml", "Read the version", {"GITHUB_REF_NAME": "v1.3.0"}, before=requirements, status=1
    ),
    "release: name": Case("release.yml", "Name the image", output="name=ghcr.io/owner/ubr\n"),
    "release: tag": Case(
        "release.yml",
        "Tag the image",
        {"NAME": "ghcr.io/owner/ubr", "DIGEST": DIGEST, "VERSION": "1.2.0"},
        noted=f"docker buildx imagetools create --tag ghcr.io/owner/ubr:1.2.0 {IMAGE}",
    ),
    "release: sums": Case("release.yml", "Check the sums", before=sums, said="requirements.txt: OK"),
    "release: wrong sums": Case(
        "release.yml", "Check the sums", before=wrong_sums, status=1, said="requirements.txt: FAILED"
    ),
    "release: notes": Case("release.yml", "Write the notes", {"IMAGE": IMAGE}, before=release_notes),
    "release: create": Case(
        "release.yml",
        "Create the release",
        {"GH_TOKEN": "none"},
        before=release_notes,
        noted="gh release create v1.2.0 dist/RELEASE-NOTES.md dist/requirements.txt --repo Owner/Ubr --verify-tag "
        "--title v1.2.0 --notes-file notes.md",
    ),
    "deploy: name": Case("deploy-aws.yml", "Check the name of the image", {"IMAGE": IMAGE}),
    "deploy: a tag": Case(
        "deploy-aws.yml", "Check the name of the image", {"IMAGE": "ghcr.io/owner/ubr:1.2.0"}, status=1, said="is not"
    ),
    "deploy: another registry": Case(
        "deploy-aws.yml", "Check the name of the image", {"IMAGE": f"example.org/ubr@{DIGEST}"}, status=1, said="is not"
    ),
    "deploy: attestation": Case(
        "deploy-aws.yml",
        "Verify the attestation",
        {"IMAGE": IMAGE, "GH_TOKEN": "none"},
        noted=f"gh attestation verify oci://{IMAGE} --repo Owner/Ubr "
        "--signer-workflow Owner/Ubr/.github/workflows/release.yml",
    ),
    "deploy: copy": Case(
        "deploy-aws.yml",
        "Copy the image by digest",
        {"IMAGE": IMAGE, "REPOSITORY": "registry.example.org/ubr"},
        output=f"image=registry.example.org/ubr@{DIGEST}\n",
        noted="aws ecr get-login-password\n"
        "docker login --username AWS --password-stdin registry.example.org\n"
        f"docker buildx imagetools create --tag registry.example.org/ubr:{'0a' * 32} {IMAGE}",
    ),
}


def test_every_block_is_executed() -> None:
    assert {*MAKE, *((case.workflow, case.step) for case in CASES.values())} == set(BLOCKS)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_block(case: Case, tmp_path: Path) -> None:
    case.before(tmp_path)
    done = execute(case.workflow, case.step, tmp_path, **case.variables)
    assert done.status == case.status, done.said
    assert case.said in done.said
    assert done.output == case.output
    if case.noted:
        # The two sides of a pipe start in any order.
        assert sorted(done.noted) == sorted(shlex.split(line) for line in case.noted.splitlines())
    if case.step == "Write the notes":
        assert (tmp_path / "notes.md").read_text() == f"## 1.2.0\n\n### Image\n`{IMAGE}`\n"
