"""A changed parameter changes these resources, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.aws.tests.assemblies import Assembly, assembly


def _normal(resource: Any) -> Any:
    return {name: value for name, value in resource.items() if name != "Metadata"}


def _changed(before: Assembly, after: Assembly) -> dict[str, set[str]]:
    """The types of the changed, new and missing resources, by the concern of their stack."""
    found: dict[str, set[str]] = {}
    for concern, template in after.templates.items():
        old, new = before.templates[concern]["Resources"], template["Resources"]
        for name in old.keys() | new.keys():
            if _normal(old.get(name, {})) != _normal(new.get(name, {})):
                found.setdefault(concern, set()).add((new.get(name) or old[name])["Type"])
    return found


_LOGGED = {"AWS::Logs::LogGroup"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("version", {"service": {"AWS::ECS::TaskDefinition", "Custom::Migration"}}),
        (
            "instances",
            {
                "service": {"AWS::ECS::Service", "AWS::ApplicationAutoScaling::ScalableTarget"},
                "observability": {"AWS::CloudWatch::Alarm"},
            },
        ),
        ("storage", {"data": {"AWS::RDS::DBInstance"}, "observability": {"AWS::CloudWatch::Alarm"}}),
        (
            "retention",
            {
                "network": {"AWS::Logs::LogGroup", "AWS::S3::Bucket"},
                "data": _LOGGED,
                "service": _LOGGED,
                "edge": {"AWS::Logs::LogGroup", "AWS::S3::Bucket"},
            },
        ),
        ("schedule", {"audit": {"AWS::Scheduler::Schedule"}}),
    ],
)
def test_a_parameter_changes_what_it_is_about(small: Assembly, name: str, expected: dict[str, set[str]]) -> None:
    assert _changed(small, assembly(name)) == expected


def test_no_change_replaces_a_store(small: Assembly) -> None:
    """The logical ids of stores stay: a new id would be a new and empty store."""
    stores = ("AWS::RDS::DBInstance", "AWS::S3::Bucket", "AWS::SecretsManager::Secret", "AWS::KMS::Key")

    def ids(fleet: Assembly) -> set[tuple[str, str]]:
        return {(concern, name) for concern, name, each in fleet.every() if each["Type"] in stores}

    for name in ("version", "instances", "storage", "retention", "schedule", "mail"):
        assert ids(assembly(name)) == ids(small)
