from __future__ import annotations

import json
import re

import pytest

from deploy.aws.fleet import task
from deploy.aws.fleet.parameters import load
from deploy.aws.tests.assemblies import Assembly, text
from ubr.settings.settings import TABLE

TASKS = ("service", "migration", "checkpoint")


def test_the_balancer_speaks_tls_only(fleet: Assembly) -> None:
    listeners = {each["Port"]: each for each in fleet.resources("AWS::ElasticLoadBalancingV2::Listener")}
    assert set(listeners) == {80, 443}
    assert listeners[443]["Protocol"] == "HTTPS"
    assert listeners[443]["Certificates"]
    assert re.fullmatch(r"ELBSecurityPolicy-TLS13-1-2-Res-PQ-.*", listeners[443]["SslPolicy"])
    (action,) = listeners[80]["DefaultActions"]
    assert action["Type"] == "redirect"
    assert action["RedirectConfig"]["Protocol"] == "HTTPS"
    assert action["RedirectConfig"]["StatusCode"] == "HTTP_301"


def test_the_balancer_logs_and_drops_strange_headers(fleet: Assembly) -> None:
    balancer = fleet.one("AWS::ElasticLoadBalancingV2::LoadBalancer")
    attributes = {each["Key"]: each["Value"] for each in balancer["LoadBalancerAttributes"]}
    assert attributes["access_logs.s3.enabled"] == "true"
    assert attributes["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert attributes["deletion_protection.enabled"] == "true"
    assert attributes["routing.http.desync_mitigation_mode"] == "strictest"


def test_the_balancer_asks_ready_and_drains_with_ubr(fleet: Assembly) -> None:
    group = fleet.one("AWS::ElasticLoadBalancingV2::TargetGroup")
    balancer = fleet.one("AWS::ElasticLoadBalancingV2::LoadBalancer")
    attributes = {each["Key"]: each["Value"] for each in balancer["LoadBalancerAttributes"]}
    delay = {each["Key"]: each["Value"] for each in group["TargetGroupAttributes"]}[
        "deregistration_delay.timeout_seconds"
    ]
    container = fleet.task("service")["ContainerDefinitions"][0]
    values = {each["Name"]: each["Value"] for each in container["Environment"]}
    drain = int(values["UBR_SHUTDOWN_DELAY"].removesuffix("s"))
    noticed = group["HealthCheckIntervalSeconds"] * group["UnhealthyThresholdCount"]
    assert group["HealthCheckPath"] == "/health/ready"
    # The balancer has taken the instance out before it stops to listen; then running requests have 30 s.
    assert noticed < drain
    assert int(delay) == 30
    assert drain + 30 < container["StopTimeout"] <= 120
    assert int(values["UBR_KEEP_ALIVE"].removesuffix("s")) > int(attributes["idle_timeout.timeout_seconds"])


def test_the_firewall_limits_each_client(fleet: Assembly) -> None:
    web = fleet.one("AWS::WAFv2::WebACL", Scope="REGIONAL")
    limits = {
        rule["Name"]: rule["Statement"]["RateBasedStatement"]["Limit"]
        for rule in web["Rules"]
        if "RateBasedStatement" in rule["Statement"]
    }
    assert limits == {"requests": 6000, "logins": 600}
    assert sum("ManagedRuleGroupStatement" in rule["Statement"] for rule in web["Rules"]) == 3
    assert fleet.one("AWS::WAFv2::WebACLAssociation")
    assert len(fleet.resources("AWS::WAFv2::LoggingConfiguration")) == 2


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_no_privileges(fleet: Assembly, name: str) -> None:
    (container,) = fleet.task(name)["ContainerDefinitions"]
    assert container["ReadonlyRootFilesystem"] is True
    assert container["Privileged"] is False
    assert container["User"] == "65532:65532"
    assert container["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert "MountPoints" not in container


def test_the_container_check_asks_live(fleet: Assembly) -> None:
    (container,) = fleet.task("service")["ContainerDefinitions"]
    *_, program = container["HealthCheck"]["Command"]
    assert "/health/live" in program
    compile(program, "health check", "exec")


def test_tasks_run_one_version_by_its_tag(fleet: Assembly) -> None:
    for name in TASKS:
        assert text(fleet.task(name)["ContainerDefinitions"][0]["Image"]).endswith(":1.2.3")
    repository = fleet.one("AWS::ECR::Repository")
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    assert repository["EncryptionConfiguration"]["EncryptionType"] == "KMS"


def test_a_failed_roll_out_goes_back(fleet: Assembly) -> None:
    configuration = fleet.one("AWS::ECS::Service")["DeploymentConfiguration"]
    assert configuration["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert (configuration["MinimumHealthyPercent"], configuration["MaximumPercent"]) == (100, 200)


def test_tasks_have_no_public_address_and_no_shell(fleet: Assembly) -> None:
    service = fleet.one("AWS::ECS::Service")
    assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    assert service["EnableExecuteCommand"] is False


def test_the_fleet_grows_with_cpu_and_with_waiting_passwords(production: Assembly) -> None:
    target = production.one("AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (3, 12)
    kinds = {each["PolicyType"] for each in production.resources("AWS::ApplicationAutoScaling::ScalingPolicy")}
    assert kinds == {"TargetTrackingScaling", "StepScaling"}
    alarms = [each for each in production.resources("AWS::CloudWatch::Alarm") if "AlarmName" not in each]
    assert {each["MetricName"] for each in alarms} == {"ubr_password_hashes_waiting"}


def test_the_service_changes_only_after_the_migration(fleet: Assembly) -> None:
    resources = fleet.templates["service"]["Resources"]
    (service,) = (each for each in resources.values() if each["Type"] == "AWS::ECS::Service")
    (migration,) = (name for name, each in resources.items() if each["Type"] == "Custom::Migration")
    assert migration in service["DependsOn"]
    assert fleet.task("migration")["ContainerDefinitions"][0]["Command"] == ["migrate"]
    # Its properties name the task definition, whose number changes with each version: so each roll-out runs it.
    assert "MigrationTask" in text(resources[migration]["Properties"]["TaskDefinition"])


def test_only_the_migration_task_gets_the_owner_of_the_tables(fleet: Assembly) -> None:
    for name in TASKS:
        (container,) = fleet.task(name)["ContainerDefinitions"]
        names = {each["Name"] for each in [*container["Environment"], *container["Secrets"]]}
        owner = {"UBR_MIGRATION_DATABASE_URL", "UBR_MIGRATION_DATABASE_PASSWORD"}
        assert names & owner == (owner if name == "migration" else set())


def test_secrets_are_references(fleet: Assembly) -> None:
    for name in TASKS:
        (container,) = fleet.task(name)["ContainerDefinitions"]
        references = {each["Name"]: text(each["ValueFrom"]) for each in container["Secrets"]}
        assert references["UBR_ADMIN_PASSWORD"].endswith(":password::")
        assert references["UBR_SECRET_KEY"].endswith("}")
        assert not {each["Name"] for each in container["Environment"]} & set(references)
        assert "password" not in json.dumps(container["Environment"]).lower()


def test_metrics_are_written_to_the_log_once_ubr_can() -> None:
    addresses = task.Addresses(database_url="", owner_url="", redis_url="", secret_key="", admin="", owner="")
    known = {setting.name for setting in TABLE}
    assert (task.EMF in task.plain(load("small"), addresses)) is (task.EMF in known)
