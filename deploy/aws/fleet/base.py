"""The parts that every stack uses: its environment, its names, log groups, and exceptions from the rules."""

from __future__ import annotations

from typing import Any, Final

from aws_cdk import Acknowledgment, Environment, RemovalPolicy, Stack, Tags, Validations, aws_iam, aws_kms, aws_logs
from constructs import Construct, IConstruct

from deploy.aws.fleet.parameters import Parameters

_RETENTIONS: Final = {
    1: "ONE_DAY",
    3: "THREE_DAYS",
    5: "FIVE_DAYS",
    7: "ONE_WEEK",
    14: "TWO_WEEKS",
    30: "ONE_MONTH",
    60: "TWO_MONTHS",
    90: "THREE_MONTHS",
    120: "FOUR_MONTHS",
    150: "FIVE_MONTHS",
    180: "SIX_MONTHS",
    365: "ONE_YEAR",
    400: "THIRTEEN_MONTHS",
    545: "EIGHTEEN_MONTHS",
    731: "TWO_YEARS",
    1096: "THREE_YEARS",
    1827: "FIVE_YEARS",
    2192: "SIX_YEARS",
    2557: "SEVEN_YEARS",
    2922: "EIGHT_YEARS",
    3288: "NINE_YEARS",
}


class FleetStack(Stack):
    """A stack of one environment, named `ubr-<environment>-<concern>`."""

    def __init__(
        self, scope: Construct, concern: str, parameters: Parameters, description: str, *, region: str | None = None
    ) -> None:
        super().__init__(
            scope,
            f"{parameters.prefix}-{concern}",
            description=description,
            env=Environment(account=parameters.account, region=region or parameters.region),
            termination_protection=True,
            analytics_reporting=False,
        )
        self.parameters = parameters
        self.prefix = parameters.prefix
        Tags.of(self).add("service", "ubr")
        Tags.of(self).add("environment", parameters.name)

    def arn_of(self, service: str, resource: str, *, region: str | None = None) -> str:
        """The ARN of a resource whose name is known before it exists."""
        return f"arn:aws:{service}:{region or self.parameters.region}:{self.parameters.account}:{resource}"


def audit_bucket_name(parameters: Parameters) -> str:
    """The name of the bucket of checkpoints. Stacks before it name it too."""
    return f"{parameters.prefix}-audit-{parameters.account}"


def log_group(scope: FleetStack, id: str, name: str, key: aws_kms.IKey) -> aws_logs.LogGroup:
    """An encrypted log group that is kept when its stack is deleted."""
    return aws_logs.LogGroup(
        scope,
        id,
        log_group_name=name,
        encryption_key=key,
        retention=getattr(aws_logs.RetentionDays, _RETENTIONS[scope.parameters.logs.retention_days]),
        removal_policy=RemovalPolicy.RETAIN,
    )


def role(
    scope: Construct,
    id: str,
    *,
    name: str,
    principal: aws_iam.IPrincipal,
    description: str,
    statements: list[aws_iam.PolicyStatement],
) -> aws_iam.Role:
    """A role with exactly these statements, in a policy of its own. Nothing can add a statement later."""
    policy = aws_iam.ManagedPolicy(scope, f"{id}Policy", managed_policy_name=name, statements=statements)
    return aws_iam.Role(
        scope, id, role_name=name, assumed_by=principal, description=description, managed_policies=[policy]
    )


def allow(*actions: str, on: list[str], **more: Any) -> aws_iam.PolicyStatement:
    return aws_iam.PolicyStatement(actions=list(actions), resources=on, **more)


def accept(construct: IConstruct, reason: str, *rules: str) -> None:
    """Accept findings of cdk-nag for this construct and those in it. The reason stands in the code."""
    for rule in rules:
        Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))


def accept_wildcards(policy: IConstruct, *resources: str) -> None:
    """Accept wildcards in a policy. `WILDCARDS` in the stack of access has the reason for each kind."""
    for resource in resources:
        accept(policy, "A wildcard of the list WILDCARDS, with its reason.", f"AwsSolutions-IAM5[Resource::{resource}]")
