"""The rules of others: cdk-nag, cfn-lint, cloudsplaining, checkov and cfripper. Each exception has its reason."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from cloudsplaining.scan.policy_document import PolicyDocument

from deploy.aws.tests.assemblies import Assembly, listed, text

_ROOT = Path(__file__).parents[3]
_SCANNERS = _ROOT / ".venv-aws-scan" / "bin"

LINT = {
    "W3010": "The zones are parameters: without them, CDK asks an account for them.",
    "W3005": "CDK names a dependency that a reference implies already.",
}
CLOUDSPLAINING = {
    "ecr:GetAuthorizationToken": "It gives a password for the registry, which loads images. It has no resource.",
}
CFRIPPER = {
    (
        "GenericResourceWildcardPolicyRule",
        "AWS::KMS::Key",
    ): "Without it, no policy of IAM could allow the use of a key.",
    ("EC2SecurityGroupMissingEgressRule", "AWS::EC2::SecurityGroup"): "The rules are resources of their own.",
    ("PublicELBCheckerRule", "AWS::ElasticLoadBalancingV2::LoadBalancer"): "The balancer is public.",
    ("EC2SecurityGroupOpenToWorldRule", "AWS::EC2::SecurityGroup"): "The balancer is public.",
}
CHECKOV = {
    "CKV_AWS_260": "Port 80 of the balancer only answers with the address of HTTPS.",
    "CKV_AWS_18": "These two buckets are the access logs themselves.",
    "CKV_AWS_115": "The function runs once in each deployment.",
    "CKV_AWS_116": "CloudFormation gets every failure of the function.",
    "CKV_AWS_117": "The function calls only interfaces of AWS.",
}


def test_cdk_nag_has_found_nothing(fleet: Assembly) -> None:
    """A finding would have ended the synthesis."""
    report = json.loads((fleet.path / "validation-report.json").read_text())
    assert report["pluginReports"]
    assert all(each["conclusion"] == "success" and not each["violations"] for each in report["pluginReports"])


def test_cdk_nag_finds_a_bad_resource(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-O", "-m", "deploy.aws.tests.violation", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=_ROOT,
    )
    assert done.returncode != 0
    report = json.loads((tmp_path / "validation-report.json").read_text())
    failed = {each["pluginName"] for each in report["pluginReports"] if each["conclusion"] == "failure"}
    assert {"AwsSolutions", "NIST.800.53.R5"} <= failed, report


def test_cfn_lint_is_clean(fleet: Assembly) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("cfn-lint"),
            "--regions",
            "eu-central-1",
            "--ignore-checks",
            *LINT,
            "--",
            *fleet.files(),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("code", LINT)
def test_each_exception_from_cfn_lint_is_needed(code: str, production: Assembly) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--regions", "eu-central-1", "--", *production.files()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert code in done.stdout


def test_cloudsplaining_finds_no_risky_policy(fleet: Assembly) -> None:
    policies = fleet.resources("AWS::IAM::ManagedPolicy")
    assert len(policies) > 10
    for policy in policies:
        statements = [
            each | {"Resource": [text(resource) for resource in listed(each["Resource"])]}
            for each in policy["PolicyDocument"]["Statement"]
        ]
        document = PolicyDocument({"Version": "2012-10-17", "Statement": statements})
        found = [
            *document.credentials_exposure,
            *document.allows_privilege_escalation,
            *document.allows_data_exfiltration_actions,
            *document.permissions_management_without_constraints,
            *document.infrastructure_modification,
            *document.service_wildcard,
        ]
        assert set(found) <= set(CLOUDSPLAINING), policy["ManagedPolicyName"]


def test_checkov_is_clean(production: Assembly, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            _SCANNERS / "checkov",
            "--framework",
            "cloudformation",
            "--directory",
            production.path,
            "--skip-download",
            "--compact",
            "--quiet",
            "--output",
            "json",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 250
    failed = {(each["check_id"], each["resource"].partition(".")[0]) for each in report["results"]["failed_checks"]}
    assert {check for check, _ in failed} == set(CHECKOV), failed


def test_cfripper_is_clean(production: Assembly, tmp_path: Path) -> None:
    files = []
    for concern, template in deepcopy(production.templates).items():
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::ElasticLoadBalancingV2::Listener":
                del resource["Properties"]["Tags"]  # its model of a listener does not know them
        files.append(tmp_path / f"{concern}.json")
        files[-1].write_text(json.dumps(template))
    done = subprocess.run(
        [_SCANNERS / "cfripper", "--format", "json", "--logging", "ERROR", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    reports = _several(done.stdout)
    assert len(reports) == len(files)
    found = {
        (failure["rule"], kind)
        for report in reports
        for failure in report["failures"]
        for kind in failure["resource_types"]
    }
    assert found == set(CFRIPPER), found


def _several(text: str) -> list[dict[str, Any]]:
    """JSON values that stand one after another."""
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        found.append(value)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found
