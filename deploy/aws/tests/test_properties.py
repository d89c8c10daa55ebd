"""What holds for every resource of every stack, and what a later change must not break."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from deploy.aws.fleet.access import WILDCARDS
from deploy.aws.tests.assemblies import Assembly, Resource, listed, text

_IAM = ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy")
_OF_RESOURCES = {
    "AWS::KMS::Key": "KeyPolicy",
    "AWS::S3::BucketPolicy": "PolicyDocument",
    "AWS::SNS::TopicPolicy": "PolicyDocument",
    "AWS::Logs::ResourcePolicy": "PolicyDocument",
}


def _statements(fleet: Assembly, *kinds: str) -> Iterator[Resource]:
    for resource in fleet.resources(*kinds):
        yield from listed(resource["PolicyDocument"]["Statement"])


def test_there_is_a_list_of_five_wildcards() -> None:
    assert len(WILDCARDS) == 5
    assert all(len(reason) > 20 for reason in WILDCARDS.values())


def test_rights_have_no_wildcard_beyond_the_list(fleet: Assembly) -> None:
    used = set()
    for statement in _statements(fleet, *_IAM):
        assert statement["Effect"] == "Allow"
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        for action in listed(statement["Action"]):
            assert "*" not in action
        for resource in map(text, listed(statement["Resource"])):
            if "*" in resource:
                kinds = [kind for kind in WILDCARDS if re.fullmatch(kind, resource)]
                assert len(kinds) == 1, resource
                used.add(kinds[0])
                if resource == "*":
                    assert listed(statement["Action"]) == ["ecr:GetAuthorizationToken"]
    # A kind that is no longer used has to leave the list.
    assert used == set(WILDCARDS) - {"key policy"}


def test_policies_of_resources_trust_the_account_and_named_services(fleet: Assembly) -> None:
    for kind, name in _OF_RESOURCES.items():
        for resource in fleet.resources(kind):
            for statement in listed(resource[name]["Statement"]):
                if statement["Effect"] == "Deny":
                    continue
                principal = statement["Principal"]
                assert principal != "*"
                assert text(principal.get("AWS", "")) != "*"
                if "Service" in principal and "delivery.logs" not in text(principal["Service"]):
                    assert statement.get("Condition"), (kind, statement)
                if kind != "AWS::KMS::Key":
                    assert all(action.count("*") == 0 for action in listed(statement["Action"]))


def test_roles_are_for_one_service_in_one_account(fleet: Assembly) -> None:
    for role in fleet.resources("AWS::IAM::Role"):
        assert "Policies" not in role
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        principal = statement["Principal"]
        assert set(principal) in ({"Service"}, {"Federated"})
        if "Federated" in principal:
            condition = statement["Condition"]["StringEquals"]
            assert condition["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
            assert condition["token.actions.githubusercontent.com:sub"] == (
                f"repo:example/ubr:environment:{fleet.prefix.removeprefix('ubr-')}"
            )


def test_the_task_may_connect_and_nothing_else(fleet: Assembly) -> None:
    allowed = {
        "task": {"rds-db:connect", "elasticache:Connect"},
        "checkpoint": {
            "rds-db:connect",
            "elasticache:Connect",
            "s3:GetObject",
            "s3:PutObject",
            "s3:ListBucket",
            "kms:Decrypt",
            "kms:GenerateDataKey",
        },
    }
    for name, actions in allowed.items():
        policy = fleet.one("AWS::IAM::ManagedPolicy", ManagedPolicyName=f"{fleet.prefix}-{name}")
        found = [action for each in policy["PolicyDocument"]["Statement"] for action in listed(each["Action"])]
        assert set(found) == actions
    migration = fleet.one("AWS::IAM::Role", RoleName=f"{fleet.prefix}-migration")
    assert "ManagedPolicyArns" not in migration


def test_nothing_is_public_but_the_balancer_and_cloudfront(fleet: Assembly) -> None:
    schemes = [each["Scheme"] for each in fleet.resources("AWS::ElasticLoadBalancingV2::LoadBalancer")]
    assert schemes == ["internet-facing"]
    assert len(fleet.resources("AWS::CloudFront::Distribution")) == 1
    for database in fleet.resources("AWS::RDS::DBInstance"):
        assert database["PubliclyAccessible"] is False
    for bucket in fleet.resources("AWS::S3::Bucket"):
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    kinds = {each["Type"] for _, _, each in fleet.every()}
    assert not kinds & {"AWS::EC2::EIP", "AWS::Lambda::Url", "AWS::Lambda::Permission", "AWS::ApiGateway::RestApi"}


# The property that says with which key a resource is encrypted, for every kind that stores anything.
_ENCRYPTED: dict[str, tuple[str, ...]] = {
    "AWS::RDS::DBInstance": ("KmsKeyId",),
    "AWS::ElastiCache::ReplicationGroup": ("KmsKeyId",),
    "AWS::SecretsManager::Secret": ("KmsKeyId",),
    "AWS::Logs::LogGroup": ("KmsKeyId",),
    "AWS::SNS::Topic": ("KmsMasterKeyId",),
    "AWS::S3::Bucket": ("BucketEncryption",),
    "AWS::ECR::Repository": ("EncryptionConfiguration",),
    "AWS::Backup::BackupVault": ("EncryptionKeyArn",),
}
_STORES_NOTHING = {
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::Backup::BackupPlan",
    "AWS::Backup::BackupSelection",
    "AWS::Backup::RestoreTestingPlan",
    "AWS::Backup::RestoreTestingSelection",
    "AWS::CertificateManager::Certificate",
    "AWS::CloudFront::Distribution",
    "AWS::CloudFront::OriginAccessControl",
    "AWS::CloudFront::ResponseHeadersPolicy",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::EC2::FlowLog",
    "AWS::EC2::InternetGateway",
    "AWS::EC2::Route",
    "AWS::EC2::RouteTable",
    "AWS::EC2::SecurityGroup",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::EC2::Subnet",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPC",
    "AWS::EC2::VPCEndpoint",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::ECS::Cluster",
    "AWS::ECS::Service",
    "AWS::ECS::TaskDefinition",
    "AWS::ElastiCache::ParameterGroup",
    "AWS::ElastiCache::SubnetGroup",
    "AWS::ElastiCache::User",
    "AWS::ElastiCache::UserGroup",
    "AWS::ElasticLoadBalancingV2::Listener",
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWS::ElasticLoadBalancingV2::TargetGroup",
    "AWS::Events::Rule",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::OIDCProvider",
    "AWS::IAM::Role",
    "AWS::KMS::Alias",
    "AWS::KMS::Key",
    "AWS::Lambda::Function",
    "AWS::RDS::DBParameterGroup",
    "AWS::RDS::DBSubnetGroup",
    "AWS::Route53::RecordSet",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::Scheduler::Schedule",
    "AWS::WAFv2::LoggingConfiguration",
    "AWS::WAFv2::WebACL",
    "AWS::WAFv2::WebACLAssociation",
    "Custom::Migration",
}


def test_everything_is_encrypted_at_rest(fleet: Assembly) -> None:
    for _, name, resource in fleet.every():
        kind = resource["Type"]
        # A new kind has to be put into one of the two lists.
        assert (kind in _ENCRYPTED) != (kind in _STORES_NOTHING), kind
        for wanted in _ENCRYPTED.get(kind, ()):
            assert resource["Properties"].get(wanted), name


def test_everything_is_encrypted_in_transit(fleet: Assembly) -> None:
    """All but one way: the balancer speaks plain HTTP to the tasks, inside the VPC (see the guide)."""
    groups = fleet.resources("AWS::ElasticLoadBalancingV2::TargetGroup")
    assert [each["Protocol"] for each in groups] == ["HTTP"]
    for distribution in fleet.resources("AWS::CloudFront::Distribution"):
        configuration = distribution["DistributionConfig"]
        assert configuration["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "redirect-to-https"
        assert configuration["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    for topic in fleet.resources("AWS::SNS::TopicPolicy"):
        assert any(_denies_plain(each) for each in topic["PolicyDocument"]["Statement"])
    policies = [
        text(each["Bucket"])
        for each in fleet.resources("AWS::S3::BucketPolicy")
        if any(_denies_plain(statement) for statement in each["PolicyDocument"]["Statement"])
    ]
    assert len(policies) == len(fleet.resources("AWS::S3::Bucket")) == 4


def _denies_plain(statement: Any) -> bool:
    return bool(
        statement["Effect"] == "Deny" and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
    )


def test_every_alarm_has_an_action(fleet: Assembly) -> None:
    alarms = fleet.resources("AWS::CloudWatch::Alarm")
    assert len(alarms) > 15
    for alarm in alarms:
        assert alarm["AlarmActions"]
        if "AlarmName" in alarm:
            assert alarm["OKActions"] == alarm["AlarmActions"]
            assert alarm["AlarmDescription"]


def test_every_log_group_ends(fleet: Assembly) -> None:
    wanted = 365 if fleet.prefix == "ubr-production" else 30
    assert {each["RetentionInDays"] for each in fleet.resources("AWS::Logs::LogGroup")} == {wanted}


def test_stacks_are_protected_and_tagged(fleet: Assembly) -> None:
    manifest = json.loads((fleet.path / "manifest.json").read_text())
    stacks = [each for each in manifest["artifacts"].values() if each["type"] == "aws:cloudformation:stack"]
    assert len(stacks) == 11
    for stack in stacks:
        assert stack["properties"]["terminationProtection"] is True
        assert stack["properties"]["tags"] == {"environment": fleet.prefix.removeprefix("ubr-"), "service": "ubr"}
