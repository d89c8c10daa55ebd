"""Backups, the checkpoints of the audit log, alarms and the edge."""

from __future__ import annotations

import json

import pytest

from deploy.aws.fleet import metrics
from deploy.aws.tests.assemblies import Assembly, text
from ubr.entrypoints.http.metrics.alerts import ALERTS
from ubr.entrypoints.http.metrics.registry import METRICS


def test_a_backup_is_made_every_day_and_copied_to_another_region(production: Assembly) -> None:
    (rule,) = production.one("AWS::Backup::BackupPlan")["BackupPlan"]["BackupPlanRule"]
    assert rule["ScheduleExpression"] == "cron(0 2 * * ? *)"
    assert rule["Lifecycle"] == {"DeleteAfterDays": 35}
    (copy,) = rule["CopyActions"]
    assert copy["DestinationBackupVaultArn"] == (
        "arn:aws:backup:eu-west-1:111122223333:backup-vault:ubr-production-backups"
    )
    assert copy["Lifecycle"] == {"DeleteAfterDays": 90}
    (selected,) = production.one("AWS::Backup::BackupSelection")["BackupSelection"]["Resources"]
    assert "db:" in text(selected)


def test_no_one_can_shorten_the_vaults(production: Assembly) -> None:
    for concern, days in (("backup", 35), ("backup-copy", 90)):
        (vault,) = (
            each["Properties"]
            for each in production.templates[concern]["Resources"].values()
            if each["Type"] == "AWS::Backup::BackupVault"
        )
        lock = vault["LockConfiguration"]
        assert lock["ChangeableForDays"] == 3
        assert lock["MinRetentionDays"] <= days <= lock["MaxRetentionDays"]


def test_a_restore_is_tested_every_week(fleet: Assembly) -> None:
    assert fleet.one("AWS::Backup::RestoreTestingPlan")["ScheduleExpression"] == "cron(0 6 ? * SUN *)"
    selection = fleet.one("AWS::Backup::RestoreTestingSelection")
    assert selection["ProtectedResourceType"] == "RDS"
    assert selection["RestoreMetadataOverrides"]["publiclyAccessible"] == "false"


def test_checkpoints_are_locked_for_years(production: Assembly, small: Assembly) -> None:
    for fleet, years in ((production, 7), (small, 1)):
        bucket = fleet.one("AWS::S3::Bucket", ObjectLockEnabled=True)
        rule = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
        assert rule == {"Days": 365 * years, "Mode": "COMPLIANCE"}
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}


def test_checkpoints_are_written_on_schedule(production: Assembly) -> None:
    schedule = production.one("AWS::Scheduler::Schedule")
    assert schedule["ScheduleExpression"] == "rate(1 hour)"
    (container,) = production.task("checkpoint")["ContainerDefinitions"]
    bucket = production.one("AWS::S3::Bucket", ObjectLockEnabled=True)["BucketName"]
    assert container["Command"] == ["audit", "checkpoint", "--output", f"s3://{bucket}/checkpoint.txt"]
    assert "CheckpointTask" in text(schedule["Target"]["EcsParameters"]["TaskDefinitionArn"])


def test_alarms_are_made_from_the_registry(fleet: Assembly) -> None:
    alarms = {each["AlarmName"]: each for each in fleet.resources("AWS::CloudWatch::Alarm") if "AlarmName" in each}
    for alert in metrics.declared():
        alarm = alarms[f"{fleet.prefix}-{alert.name}"]
        assert alarm["Namespace"] == metrics.NAMESPACE
        assert alarm["MetricName"] == alert.metric.name
        assert alarm["Dimensions"] == [{"Name": "issuer", "Value": _public_url(fleet)}]
        assert alarm["AlarmDescription"] == alert.metric.meaning
        assert alarm["Threshold"] == alert.threshold
        assert alert.metric in METRICS


def _public_url(fleet: Assembly) -> str:
    (container,) = fleet.task("service")["ContainerDefinitions"]
    values = {each["Name"]: each["Value"] for each in container["Environment"]}
    url: str = values["UBR_PUBLIC_URL"]
    return url


BY_AWS = {
    # The balancer counts errors and times, also those of an instance that is gone.
    "UbrApiFails",
    "UbrApiSlow",
    "UbrLoginFails",
    "UbrLoginSlow",
    "UbrRevocationLate",
    "UbrClientsDisconnect",
    "UbrDown",
    "UbrInstanceDown",
    # ECS restarts tasks, limits their memory, and rolls out one version.
    "UbrRestarts",
    "UbrMemoryHigh",
    "UbrMixedVersions",
}
"""The alerts of Prometheus whose place another metric of AWS takes."""


def test_each_cause_that_prometheus_watches_has_an_alarm() -> None:
    alarmed = {alert.metric.name for alert in metrics.declared()}
    watched = {alert.name: alert.expr for alert in ALERTS}
    assert set(watched) >= BY_AWS
    for name, expr in watched.items():
        assert name in BY_AWS or any(metric in expr for metric in alarmed), name


def test_the_dashboard_has_every_metric(fleet: Assembly) -> None:
    body = text(fleet.one("AWS::CloudWatch::Dashboard")["DashboardBody"])
    for metric in METRICS:
        assert (metric.name in body) is (metric.name != "ubr_build_info")


@pytest.mark.parametrize("name", ["task", "deployment", "backup", "copy", "restore"])
def test_a_failure_without_a_metric_is_reported(fleet: Assembly, name: str) -> None:
    rule = fleet.one("AWS::Events::Rule", Name=f"{fleet.prefix}-{name}-failed")
    assert "Topic" in json.dumps(rule["Targets"])


def test_alarms_reach_a_person(fleet: Assembly) -> None:
    subscription = fleet.one("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "operations@example.com")


def test_only_cloudfront_reads_the_static_files(fleet: Assembly) -> None:
    distribution = fleet.one("AWS::CloudFront::Distribution")["DistributionConfig"]
    (origin,) = distribution["Origins"]
    assert origin["OriginAccessControlId"]
    assert origin["S3OriginConfig"] == {"OriginAccessIdentity": ""}
    assert distribution["WebACLId"]
    assert distribution["Logging"]
    readers = [
        statement
        for policy in fleet.resources("AWS::S3::BucketPolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow" and statement["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    ]
    (reader,) = readers
    assert reader["Action"] == "s3:GetObject"
    assert "distribution/" in text(reader["Condition"]["StringEquals"]["AWS:SourceArn"])
