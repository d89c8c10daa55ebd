"""The web application firewall: rules of AWS, and limits of requests for each client.

ubr has limits of its own, for each account and client (docs/limits.md). These are coarser: they stop a flood before it
takes connections of ubr.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from aws_cdk import ArnFormat, aws_logs, aws_wafv2

from deploy.aws.fleet.base import FleetStack

WINDOW_SECONDS: Final = 300
REQUESTS: Final = 6000
"""Requests of one client in the window."""
LOGINS: Final = 600
"""Requests of one client to paths below /api/auth/ in the window. ubr refuses failed logins much earlier."""

_Property = aws_wafv2.CfnWebACL


def rules_of_service() -> list[Any]:
    return [
        *rules_of_aws(),
        _rate("requests", 10, REQUESTS, None),
        _rate("logins", 11, LOGINS, "/api/auth/"),
    ]


def rules_of_aws() -> list[Any]:
    """The rule groups that AWS maintains, at no charge."""
    names = (
        "AWSManagedRulesAmazonIpReputationList",
        "AWSManagedRulesKnownBadInputsRuleSet",
        "AWSManagedRulesCommonRuleSet",
    )
    return [
        _Property.RuleProperty(
            name=name,
            priority=priority,
            override_action=_Property.OverrideActionProperty(none={}),
            statement=_Property.StatementProperty(
                managed_rule_group_statement=_Property.ManagedRuleGroupStatementProperty(vendor_name="AWS", name=name)
            ),
            visibility_config=_visible(name),
        )
        for priority, name in enumerate(names)
    ]


def _rate(name: str, priority: int, limit: int, path: str | None) -> Any:
    below = path and _Property.StatementProperty(
        byte_match_statement=_Property.ByteMatchStatementProperty(
            field_to_match=_Property.FieldToMatchProperty(uri_path={}),
            positional_constraint="STARTS_WITH",
            search_string=path,
            text_transformations=[_Property.TextTransformationProperty(priority=0, type="NORMALIZE_PATH")],
        )
    )
    return _Property.RuleProperty(
        name=name,
        priority=priority,
        action=_Property.RuleActionProperty(
            block=_Property.BlockActionProperty(custom_response=_Property.CustomResponseProperty(response_code=429))
        ),
        statement=_Property.StatementProperty(
            rate_based_statement=_Property.RateBasedStatementProperty(
                aggregate_key_type="IP",
                evaluation_window_sec=WINDOW_SECONDS,
                limit=limit,
                scope_down_statement=below or None,
            )
        ),
        visibility_config=_visible(name),
    )


def _visible(name: str) -> Any:
    return _Property.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=True
    )


def web_acl(scope: FleetStack, kind: Literal["REGIONAL", "CLOUDFRONT"], rules: list[Any]) -> aws_wafv2.CfnWebACL:
    return aws_wafv2.CfnWebACL(
        scope,
        "Firewall",
        name=f"{scope.prefix}-{kind.lower()}",
        scope=kind,
        default_action=_Property.DefaultActionProperty(allow={}),
        rules=rules,
        visibility_config=_visible(f"{scope.prefix}-{kind.lower()}"),
    )


def logged(scope: FleetStack, web: aws_wafv2.CfnWebACL, group: aws_logs.LogGroup) -> None:
    """Log the requests that the firewall stops, without their credentials."""
    aws_wafv2.CfnLoggingConfiguration(
        scope,
        "FirewallLogging",
        resource_arn=web.attr_arn,
        log_destination_configs=[
            scope.format_arn(
                service="logs",
                resource="log-group",
                resource_name=group.log_group_name,
                arn_format=ArnFormat.COLON_RESOURCE_NAME,
            )
        ],
        redacted_fields=[
            aws_wafv2.CfnLoggingConfiguration.FieldToMatchProperty(single_header={"Name": name})
            for name in ("authorization", "cookie")
        ],
        logging_filter={
            "DefaultBehavior": "DROP",
            "Filters": [
                {
                    "Behavior": "KEEP",
                    "Requirement": "MEETS_ANY",
                    "Conditions": [{"ActionCondition": {"Action": "BLOCK"}}],
                }
            ],
        },
    )
