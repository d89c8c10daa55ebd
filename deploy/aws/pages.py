"""The parts of `docs/deploy/aws.md` that are made from the code: `make docs-aws`.

The traffic is read off the rules of the security groups, the order of the stacks off their references.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from deploy.aws.fleet.costs import DATE, table
from deploy.aws.fleet.parameters import load
from deploy.aws.tests.assemblies import FOLDER, Assembly, assembly, text
from tools.rooms import mermaid, reduced
from tools.write_docs import filled

PAGE: Final = Path(__file__).parents[2] / "docs" / "deploy" / "aws.md"


def traffic(fleet: Assembly) -> str:
    """Who may open connections to whom, and on which port."""
    groups = {name: name.rstrip("0123456789ABCDEF") for _, name, each in fleet.every() if _is_group(each["Type"])}
    lines = set()
    for each in fleet.resources("AWS::EC2::SecurityGroup"):
        name = each["GroupName"].removeprefix(f"{fleet.prefix}-").title()
        for rule in each.get("SecurityGroupIngress", []):
            lines.add(f"  Clients -->|{rule['ToPort']}| {name}")
    for rule in fleet.resources("AWS::EC2::SecurityGroupEgress"):
        source = groups[text(rule["GroupId"]).strip("{}").partition(".")[0]]
        if "DestinationPrefixListId" in rule:
            lines.add(f"  {source} -->|{rule['ToPort']}| S3")
        else:
            target = groups[text(rule["DestinationSecurityGroupId"]).strip("{}").partition(".")[0]]
            lines.add(f"  {source} -->|{rule['ToPort']}| {target}")
    return "\n".join(["```mermaid", "flowchart LR", *sorted(lines), "  Clients -->|443| CloudFront --> Files", "```"])


def _is_group(kind: str) -> bool:
    return kind == "AWS::EC2::SecurityGroup"


def order(fleet: Assembly) -> str:
    """Which stack needs which: an arrow means "needs"."""
    manifest = json.loads((fleet.path / "manifest.json").read_text())
    stacks = {
        name: {each for each in artifact.get("dependencies", []) if not each.endswith(".assets")}
        for name, artifact in manifest["artifacts"].items()
        if artifact["type"] == "aws:cloudformation:stack"
    }
    short = {name: name.removeprefix(f"{fleet.prefix}-") for name in stacks}
    needs = {short[name]: {short[each] for each in needed} for name, needed in stacks.items()}
    alone = [name for name in sorted(needs) if not needs[name] and all(name not in each for each in needs.values())]
    return mermaid(reduced(needs)).replace(
        "flowchart TD", "\n".join(["flowchart TD", *(f"  {name}" for name in alone)])
    )


def outputs(fleet: Assembly) -> str:
    """The outputs of the stacks that people use."""
    lines = ["| stack | output |", "| --- | --- |"]
    for concern, template in sorted(fleet.templates.items()):
        names = sorted(name for name, each in template.get("Outputs", {}).items() if "Export" not in each)
        if names:
            lines.append(f"| `{concern}` | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines)


def page(fleet: Assembly) -> str:
    made = PAGE.read_text(encoding="utf-8")
    costs = f"An estimate, by list prices of {DATE}.\n\n{table(load('small'), load('production'))}"
    parts = {"traffic": traffic(fleet), "stacks": order(fleet), "outputs": outputs(fleet), "costs": costs}
    for name, part in parts.items():
        made = filled(made, part, name)
    return made


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER] = folder  # noqa: TID251 - as the tests do
        program = [sys.executable, "-O", "-m", "deploy.aws.tests.synthesize", folder, "small"]
        subprocess.run(program, check=True)  # noqa: S603 - it is this program's own
        PAGE.write_text(page(assembly("small")), encoding="utf-8")
