"""The guide names what exists: its generated parts are current, and its commands fit the synthesized stacks."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from deploy.aws.fleet.costs import monthly
from deploy.aws.fleet.parameters import load
from deploy.aws.pages import PAGE, page
from deploy.aws.tests.assemblies import Assembly
from tests.support.papers import blocks_of

_ROOT = Path(__file__).parents[3]
_TEXT = PAGE.read_text()
_COMMANDS = [
    line for block in blocks_of("docs/deploy/aws.md", "sh") for line in block.text.splitlines() if line.strip()
]


def test_the_generated_parts_are_current(small: Assembly) -> None:
    assert page(small) == _TEXT, "make docs-aws writes them"


def test_every_name_in_the_guide_is_in_a_template(small: Assembly) -> None:
    everything = json.dumps(small.templates) + json.dumps([f"ubr-small-{concern}" for concern in small.templates])
    for name in sorted(set(re.findall(r"ubr-small[a-z0-9/-]*", _TEXT))):
        if name != "ubr-small-restored":  # a database that the guide makes
            assert name.rstrip("-") in everything, name


def test_every_output_in_the_guide_exists(small: Assembly) -> None:
    outputs = {name for template in small.templates.values() for name in template.get("Outputs", {})}
    named = set(re.findall(r"output `(\w+)`", _TEXT))
    assert named == {"RepositoryUri", "DeploymentRole", "Checkpoint"}
    assert named <= outputs


def test_every_cdk_command_names_a_stack_and_an_environment(small: Assembly) -> None:
    commands = [shlex.split(line) for line in _COMMANDS if line.startswith("cdk ")]
    assert {words[1] for words in commands} == {"bootstrap", "deploy", "destroy"}
    for words in commands:
        stacks = [word for word in words[2:] if word.startswith("ubr-")]
        assert all(stack.removeprefix("ubr-small-") in small.templates for stack in stacks)
        if words[1] == "bootstrap":
            regions = {word.rpartition("/")[2] for word in words[2:]}
            parameters = load("small")
            assert regions == {parameters.region, parameters.backup_region, "us-east-1"}
        else:
            contexts = [words[at + 1] for at, word in enumerate(words) if word == "--context"]
            assert [each.partition("=")[0] for each in contexts] == ["environment", "version"]
            load(contexts[0].partition("=")[2])
            assert stacks or "--all" in words


def test_the_files_and_targets_of_the_guide_exist() -> None:
    makefile = (_ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z-]+)", "\n".join(_COMMANDS), re.MULTILINE):
        assert f"\n{target}:" in makefile
    assert (_ROOT / "deploy/aws/image/Dockerfile").is_file()
    assert "COPY --chmod=0444 rds-ca.pem /etc/ubr/rds-ca.pem" in (_ROOT / "deploy/aws/image/Dockerfile").read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", _TEXT):
        assert (PAGE.parent / link).is_file(), link


@pytest.mark.parametrize("name", ["small", "production"])
def test_an_estimate_names_the_parts_of_its_environment(name: str) -> None:
    parameters = load(name)
    parts = {cost.part: cost for cost in monthly(parameters)}
    assert all(cost.dollars > 0 for cost in parts.values())
    assert parameters.database.instance in parts["PostgreSQL"].assumption
    assert parameters.cache.node in parts["Redis"].assumption
