"""The overlays of deploy/kubernetes, rendered by the kustomize of kubectl."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests.integration.deploy.kit import DEPLOY, says
from tests.support.papers import ROOT, blocks_of
from tests.support.servers import find_kubectl
from ubr.entrypoints.cli.supervisor import DRAIN
from ubr.settings import BACKGROUND_CONNECTIONS, Settings
from ubr.settings.declaration import declared_in

pytestmark = pytest.mark.system

OVERLAYS = sorted(path.name for path in (DEPLOY / "kubernetes" / "overlays").iterdir())
SETTINGS = {setting.name: setting for setting in declared_in(Settings)}
FILES = {setting.file_name for setting in SETTINGS.values()} - {None}
SECRETS = {
    "ubr": {"database_url", "redis_url", "secret_key", "metrics_token", "admin_password"},
    "ubr-owner": {"migration_database_url", "backup_key"},
}


@pytest.fixture(scope="module", params=OVERLAYS)
def rendered(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    text = says(find_kubectl(), "kustomize", DEPLOY / "kubernetes" / "overlays" / request.param)
    return list(yaml.safe_load_all(text))


def of_kind(rendered: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in rendered if each["kind"] == kind}


def pods(rendered: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for each in rendered:
        spec = each.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template is not None:
            yield each["metadata"]["name"], template


def given(rendered: list[dict[str, Any]], container: dict[str, Any]) -> dict[str, str]:
    """The settings of a container. Each map that it names has to exist."""
    maps = of_kind(rendered, "ConfigMap")
    made = dict[str, str]()
    for source in container.get("envFrom", ()):
        made |= maps[source["configMapRef"]["name"]]["data"]
    return made | {each["name"]: each["value"] for each in container["env"]}


def test_every_object_is_valid(rendered: list[dict[str, Any]]) -> None:
    assert {"Deployment", "Job", "CronJob", "NetworkPolicy", "ServiceAccount", "Service", "Namespace"} <= {
        each["kind"] for each in rendered
    }
    for each in rendered:
        kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
        assert each["metadata"].get("namespace", "ubr") == "ubr"
        assert each["metadata"]["labels"]["app.kubernetes.io/name"] == "ubr"
    assert of_kind(rendered, "Secret") == {}


def test_the_commands_of_the_page_make_the_objects(tmp_path: Path) -> None:
    """Those that need no cluster."""
    block = blocks_of("docs/operations/kubernetes.md", "sh")[0]
    for name in set().union(*SECRETS.values()):
        (tmp_path / name).write_text(name)
    made = {}
    for line in block.text.splitlines():
        program, *words = shlex.split(line)
        assert program == "kubectl"
        text = says(find_kubectl(), *words, "--dry-run=client", "--output=yaml", folder=tmp_path)
        found = yaml.safe_load(text)
        made[found["kind"], found["metadata"]["name"]] = set(found.get("data", ()))
        assert found["metadata"].get("namespace", "ubr") == "ubr"
    assert made == {("Namespace", "ubr"): set(), **{("Secret", name): keys for name, keys in SECRETS.items()}}


def test_every_pod_is_restricted(rendered: list[dict[str, Any]]) -> None:
    """The standard `restricted` of Kubernetes, and a root file system that cannot be written to."""
    labels = of_kind(rendered, "Namespace")["ubr"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    seen = 0
    for _, template in pods(rendered):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["serviceAccountName"] in of_kind(rendered, "ServiceAccount")
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all("hostPath" not in volume for volume in spec["volumes"])
        for container in spec["containers"]:
            seen += 1
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["image"].startswith("registry.example.org/ubr")
            assert {"requests", "limits"} <= container["resources"].keys()
    assert seen == 4


def test_settings_exist_and_secrets_are_files_of_the_two_secrets(rendered: list[dict[str, Any]]) -> None:
    for name, template in pods(rendered):
        (container,) = template["spec"]["containers"]
        settings = given(rendered, container)
        assert settings.keys() <= SETTINGS.keys() | FILES
        named = {variable for variable in settings if variable in FILES}
        assert not {variable.removesuffix("_FILE") for variable in named} & settings.keys()
        values = {variable: value for variable, value in settings.items() if variable not in named}
        if "UBR_ADMIN_PASSWORD_FILE" in named:
            values["UBR_ADMIN_PASSWORD"] = "the first administrator"
        Settings.from_env({**values, "UBR_DATABASE_URL": "postgresql://localhost/ubr"}, secret=False)
        (volume,) = [volume for volume in template["spec"]["volumes"] if volume["name"] == "secrets"]
        sources = [source["secret"] for source in volume.get("projected", {}).get("sources", ())]
        if "secret" in volume:
            sources = [{**volume["secret"], "name": volume["secret"]["secretName"]}]
        mounted = set()
        for source in sources:
            keys = {item["key"] for item in source["items"]}
            assert keys <= SECRETS[source["name"]]
            mounted |= {item["path"] for item in source["items"]}
        assert {settings[variable] for variable in named} == {f"/etc/ubr/secrets/{path}" for path in mounted}
        owners = {"ubr-migrate", "ubr-backup", "ubr-backup-verify"}
        assert ("migration_database_url" in mounted) is (name in owners)


def test_a_pod_has_the_time_that_it_needs_to_stop(rendered: list[dict[str, Any]]) -> None:
    spec = of_kind(rendered, "Deployment")["ubr"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    delay = int(given(rendered, container)["UBR_SHUTDOWN_DELAY"].removesuffix("s"))
    assert spec["terminationGracePeriodSeconds"] >= delay + DRAIN + 10
    ready, live = container["readinessProbe"], container["livenessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] < delay
    assert (ready["httpGet"]["path"], live["httpGet"]["path"]) == ("/health/ready", "/health/live")
    assert "lifecycle" not in container


def test_the_selectors_find_the_pods_of_the_service_and_no_others(rendered: list[dict[str, Any]]) -> None:
    labels = {name: template["metadata"]["labels"] for name, template in pods(rendered)}

    def selected(selector: dict[str, str]) -> set[str]:
        return {name for name, has in labels.items() if selector.items() <= has.items()}

    assert selected(of_kind(rendered, "Service")["ubr"]["spec"]["selector"]) == {"ubr"}
    assert selected(of_kind(rendered, "Deployment")["ubr"]["spec"]["selector"]["matchLabels"]) == {"ubr"}
    policies = of_kind(rendered, "NetworkPolicy")
    assert selected(policies["ubr"]["spec"]["podSelector"]["matchLabels"]) == set(labels)
    assert policies["ubr"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert selected(policies["ubr-service"]["spec"]["podSelector"]["matchLabels"]) == {"ubr"}


def test_the_overlays_differ_as_the_page_says() -> None:
    small, production = (
        list(yaml.safe_load_all(says(find_kubectl(), "kustomize", DEPLOY / "kubernetes" / "overlays" / name)))
        for name in ("small", "production")
    )
    assert of_kind(small, "Deployment")["ubr"]["spec"]["replicas"] == 1
    assert "redis" not in yaml.safe_dump(of_kind(small, "Deployment"))
    assert of_kind(small, "PodDisruptionBudget") == {}
    deployment = of_kind(production, "Deployment")["ubr"]["spec"]
    assert "replicas" not in deployment
    spread = {each["topologyKey"] for each in deployment["template"]["spec"]["topologySpreadConstraints"]}
    assert spread == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    scaler = of_kind(production, "HorizontalPodAutoscaler")["ubr"]["spec"]
    pool = int(given(production, deployment["template"]["spec"]["containers"][0])["UBR_POOL_SIZE"])
    page = (ROOT / "docs" / "operations" / "kubernetes.md").read_text()
    assert re.search(rf"With ten replicas of `production`, {10 * (pool + BACKGROUND_CONNECTIONS)} \(", page)
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 10)
    assert of_kind(production, "Ingress")["ubr"]["spec"]["rules"][0]["host"] == "users.example.org"
