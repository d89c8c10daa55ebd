"""Deployments of each stack on moto, a simulator of AWS, as far as it goes.

It creates resources and follows references between stacks, so it shows that each stack can be created after those that
it needs. It has no idea of rights, of states of tasks, or of what a value means. `NOT_COVERED` lists the types that it
does not know; they are left out, and references to them get an example value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

import boto3
import pytest
from moto import mock_aws

from deploy.aws.fleet.parameters import load
from deploy.aws.tests.assemblies import Assembly

_ORDER: Final = (
    "keys",
    "network",
    "images",
    "data",
    "access",
    "service",
    "audit",
    "backup-copy",
    "backup",
    "edge",
    "observability",
)
_REGIONS: Final = {"backup-copy": "eu-west-1", "edge": "us-east-1"}

NOT_COVERED: Final = {
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::Backup::BackupPlan",
    "AWS::Backup::BackupSelection",
    "AWS::Backup::BackupVault",
    "AWS::Backup::RestoreTestingPlan",
    "AWS::Backup::RestoreTestingSelection",
    "AWS::CertificateManager::Certificate",
    "AWS::CloudFront::Distribution",
    "AWS::CloudFront::OriginAccessControl",
    "AWS::CloudFront::ResponseHeadersPolicy",
    "AWS::CloudWatch::Alarm",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::ElastiCache::ParameterGroup",
    "AWS::ElastiCache::ReplicationGroup",
    "AWS::ElastiCache::SubnetGroup",
    "AWS::ElastiCache::User",
    "AWS::ElastiCache::UserGroup",
    "AWS::IAM::OIDCProvider",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::Scheduler::Schedule",
    "AWS::SecretsManager::Secret",
    "AWS::WAFv2::LoggingConfiguration",
    "AWS::WAFv2::WebACL",
    "AWS::WAFv2::WebACLAssociation",
    "Custom::Migration",  # moto would run its function in docker
}


ATTRIBUTES_NOT_COVERED: Final = {
    "DbiResourceId",
    "MasterUserSecret.SecretArn",
    "LoadBalancerFullName",
    "TargetGroupFullName",
}


# Properties that moto takes for something else.
READ_WRONGLY: Final = {
    "AWS::ElasticLoadBalancingV2::Listener": "Certificates",
    "AWS::KMS::Key": "Tags",
    "AWS::RDS::DBInstance": "DBParameterGroupName",
}


def _without(template: dict[str, Any]) -> dict[str, Any]:
    """A template without the types that moto does not know, and the properties that it reads wrongly."""
    template = deepcopy(template)
    missing = {name for name, each in template["Resources"].items() if each["Type"] in NOT_COVERED}
    template["Resources"] = {name: each for name, each in template["Resources"].items() if name not in missing}
    for each in template["Resources"].values():
        if (left_out := READ_WRONGLY.get(each["Type"])) is not None:
            each["Properties"].pop(left_out, None)
        needed = each.get("DependsOn", [])
        each["DependsOn"] = [name for name in ([needed] if isinstance(needed, str) else needed) if name not in missing]
    template.pop("Rules", None)

    def replaced(value: Any) -> Any:
        match value:
            case {"Ref": name} if name in missing:
                return f"arn:aws:example:eu-central-1:111122223333:kind:ubr-small-{name}-AbCdEf"
            case {"Fn::GetAtt": [name, attribute]} if name in missing or attribute in ATTRIBUTES_NOT_COVERED:
                return f"arn:aws:example:eu-central-1:111122223333:kind:ubr-small-{name}-AbCdEf"
            case dict():
                return {key: replaced(each) for key, each in value.items()}
            case list():
                return [replaced(each) for each in value]
            case _:
                return value

    made: dict[str, Any] = replaced(template)
    return made


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (
        ("ACCESS_KEY_ID", "example"),
        ("SECRET_ACCESS_KEY", "example"),
        ("DEFAULT_REGION", "eu-central-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
    with mock_aws():
        for region in ("eu-central-1", *_REGIONS.values()):
            # What `cdk bootstrap` leaves.
            boto3.client("ssm", region_name=region).put_parameter(
                Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String"
            )
        yield


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("aws")
def test_each_stack_can_be_created_after_those_it_needs(small: Assembly) -> None:
    created: set[str] = set()
    unknown: set[str] = set()
    made = boto3.client("route53").create_hosted_zone(Name="example.com", CallerReference="example")
    zone = made["HostedZone"]["Id"].rpartition("/")[2]
    for concern in _ORDER:
        client = boto3.client("cloudformation", region_name=_REGIONS.get(concern, "eu-central-1"))
        name = f"{small.prefix}-{concern}"
        template = _without(small.templates[concern])
        body = json.dumps(template).replace(load("small").names.hosted_zone_id, zone)
        client.create_stack(StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])
        (stack,) = client.describe_stacks(StackName=name)["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE", (concern, stack)
        there = {
            each["LogicalResourceId"]
            for page in client.get_paginator("list_stack_resources").paginate(StackName=name)
            for each in page["StackResourceSummaries"]
        }
        for id, each in template["Resources"].items():
            (created if id in there else unknown).add(each["Type"])
    assert unknown == set()
    assert {each["Type"] for _, _, each in small.every()} == created | NOT_COVERED
