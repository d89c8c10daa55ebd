"""The files of deploy/monitoring work with a real Prometheus, a real Alertmanager and a real service."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.http.kit import bearer
from tests.integration.test_docs_programs import shell
from tests.support.commands import PATIENCE
from tests.support.monitoring import Daemon, find, running, tool
from tests.support.papers import ROOT, blocks, blocks_of
from tests.support.plugin import NewDatabase
from tests.support.servers import on_path
from tests.support.service import ADMIN, ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, on_postgres, serving
from ubr.entrypoints.http.metrics.alerts import ALERTS
from ubr.entrypoints.http.metrics.objectives import OBJECTIVES, WINDOWS

MONITORING = ROOT / "deploy" / "monitoring"
TOKEN = "a-token-for-metrics"

QUIET = {"Failures", "Clients that disconnected", "Failures in a row", "Limits"}
"""The panels that show only what goes wrong."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the files, with the file that contains the token."""
    copy = tmp_path / "monitoring"
    shutil.copytree(MONITORING, copy)
    (copy / "metrics_token").write_text(f"{TOKEN}\n")
    return copy


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# --- the tools --------------------------------------------------------------------------------------------------------


@pytest.mark.system(seconds=8)
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml", "alerts.yml"),
        ("test", "rules", "objectives_test.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
)
def test_promtool_finds_no_mistake(folder: Path, arguments: tuple[str, ...]) -> None:
    done = tool("promtool", *arguments, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.system
def test_promtool_would_find_a_wrong_threshold(folder: Path) -> None:
    alerts = folder / "alerts.yml"
    text = alerts.read_text()
    assert "(ubr_audit_oldest_waiting_seconds) > 60" in text
    alerts.write_text(
        text.replace("(ubr_audit_oldest_waiting_seconds) > 60", "(ubr_audit_oldest_waiting_seconds) > 59")
    )
    examples = folder / "alerts_test.yml"
    head, *cases = examples.read_text().split("  - name: ")
    some = [case for case in cases if case.startswith('"UbrAuditUnsigned: ')]
    examples.write_text("  - name: ".join([head, *some]))
    done = tool("promtool", "test", "rules", "alerts_test.yml", folder=folder)
    assert done.returncode == 1
    assert "UbrAuditUnsigned" in done.stdout + done.stderr


@pytest.mark.system
def test_pages_and_tickets_go_to_their_receivers(folder: Path) -> None:
    done = tool("amtool", "check-config", "alertmanager.yml", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    for labels, receiver in (
        (["severity=page", "alertname=UbrDown"], "pager"),
        (["severity=ticket", "alertname=UbrMailsDead"], "tickets"),
        (["alertname=SomethingElse"], "tickets"),
    ):
        done = tool(
            "amtool",
            "config",
            "routes",
            "test",
            "--config.file=alertmanager.yml",
            f"--verify.receivers={receiver}",
            *labels,
            folder=folder,
        )
        assert done.returncode == 0, (labels, done.stdout, done.stderr)


@pytest.mark.system
def test_the_commands_of_the_page_run(folder: Path) -> None:
    lines = [line for block in blocks_of("docs/operations/monitoring.md", "sh") for line in block.text.splitlines()]
    # The other tests start Prometheus, on ports that are free.
    ends = [line for line in lines if not line.startswith("prometheus ")]
    assert (len(lines), len(ends)) == (6, 5)
    path = on_path(Path(find("promtool")), Path(find("amtool")))
    done = subprocess.run(  # noqa: S603 - the documentation is ours
        ["/bin/sh", "-eu", "-c", "\n".join(ends)],
        cwd=folder,
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pager" in done.stdout.splitlines()
    assert (folder / "metrics_token").stat().st_mode & 0o777 == 0o600


# --- the daemons ------------------------------------------------------------------------------------------------------


def alert(name: str, severity: str, **labels: str) -> dict[str, Any]:
    [found] = [each for each in ALERTS if (each.name, each.severity) == (name, severity)]
    own = {"slo": found.slo} if found.slo is not None else {}
    now = datetime.now(UTC)  # noqa: TID251 - Alertmanager has no other clock
    return {
        "labels": {"alertname": name, "severity": severity, "kind": found.kind, "job": "ubr", **own, **labels},
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
    }


@pytest.mark.system
def test_a_cause_silences_its_symptoms_and_a_page_its_ticket(folder: Path) -> None:
    # No notification is sent: the receivers of the example do not exist.
    config = folder / "alertmanager.yml"
    config.write_text(re.sub(r"url: http://\S+", "url: http://127.0.0.1:9/", config.read_text()))
    options = [f"--config.file={config}", "--cluster.listen-address=", f"--storage.path={folder / 'data'}"]
    with running("prometheus-alertmanager", options, folder) as alertmanager:
        alertmanager.post(
            "/api/v2/alerts",
            [
                alert("UbrApiFails", "page"),
                alert("UbrLoginFails", "page"),
                alert("UbrLoginFails", "ticket"),
                alert("UbrApiSlow", "ticket"),
                alert("UbrApiSlow", "page", job="another"),
                alert("UbrLoginSlow", "page", job="another"),
                alert("UbrLoginSlow", "ticket", job="another"),
                alert("UbrLoginSlow", "ticket", job="a third"),
                alert("UbrDown", "page", job="another one"),
                alert("UbrInstanceDown", "ticket", job="another one"),
                alert("UbrInstanceDown", "ticket", job="a third"),
                alert("UbrDatabaseUnreadable", "page", instance="a"),
                alert("UbrJobFails", "ticket"),
                alert("UbrMailsDead", "ticket"),
                alert("UbrMemoryHigh", "ticket", instance="a"),
            ],
        )
        silent = {
            ("UbrApiFails", "page", "ubr"),
            ("UbrLoginFails", "page", "ubr"),
            ("UbrLoginFails", "ticket", "ubr"),
            ("UbrApiSlow", "ticket", "ubr"),
            ("UbrLoginSlow", "ticket", "another"),
            ("UbrJobFails", "ticket", "ubr"),
            ("UbrInstanceDown", "ticket", "another one"),
        }

        def inhibited() -> set[tuple[str, str, str]]:
            return {
                (each["labels"]["alertname"], each["labels"]["severity"], each["labels"]["job"])
                for each in alertmanager.get("/api/v2/alerts")
                if each["status"]["inhibitedBy"]
            }

        until(lambda: len(alertmanager.get("/api/v2/alerts")) == 15 and inhibited() == silent)


def plain(query: str) -> str:
    """A query of the dashboard, with values for Grafana's variables."""
    for variable, value in {"$__rate_interval": "1m", "$job": "ubr", "$instance": ".+"}.items():
        query = query.replace(variable, value)
    assert "$" not in query
    return query


def use(service: UbrProcess) -> None:
    """A bit of everything that the dashboard shows."""
    user = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
    with httpx.Client(base_url=service.url, timeout=60) as client:
        for _ in range(2):
            token = bearer(client.post("/api/auth/login", json=user).json())
            assert client.get("/api/users", headers=token).status_code == 200
            assert client.post("/api/auth/logout", headers=token).status_code == 204
        assert client.post("/api/auth/login", json={**user, "password": "wrong"}).status_code == 401


@pytest.mark.system(seconds=15)
def test_prometheus_logs_in_with_the_key_of_a_machine(folder: Path) -> None:
    (set_up,) = blocks_of("docs/metrics.md", "sh")
    (oauth2,) = blocks_of("docs/metrics.md", "yaml")
    with (
        serving(folder, {**ADMIN, "UBR_METRICS_TOKEN": TOKEN}) as service,
        httpx.Client(base_url=service.url, timeout=60) as client,
    ):
        login = client.post("/api/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}).json()
        client.headers.update(bearer(login))
        role = {"name": "monitoring", "permissions": ["metrics:read"]}
        assert client.post("/api/roles", json=role).status_code == 201
        made = shell(folder, set_up.text)
        assert made.returncode == 0, made.stderr
        (folder / "machine_key").write_text(made.stdout.splitlines()[-1])
        [machine] = client.get("/api/machines").json()["items"]
        block = re.sub(r"client_id: \S+", f"client_id: {machine['id']}", oauth2.text)
        block = block.replace("https://users.example.org", service.url)
        text = (
            (folder / "prometheus.yml").read_text().replace('"ubr-1:8000", "ubr-2:8000"', f'"127.0.0.1:{service.port}"')
        )
        text = re.sub(
            r"alerting:\n(?: .*\n)+", "", re.sub(r"scrape_(interval|timeout): \w+", r"scrape_\1: 500ms", text)
        )
        text = re.sub(r"    authorization:\n(?:      .*\n)+", textwrap.indent(block, "    "), text)
        config = folder / "prometheus.yml"
        config.write_text(text)
        done = tool("promtool", "check", "config", "prometheus.yml", folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        with running("prometheus", options, folder) as prometheus:

            def up() -> str | None:
                found = prometheus.get("/api/v1/query", query='up{job="ubr"}')["data"]["result"]
                return found[0]["value"][1] if found else None

            until(lambda: up() == "1")
            keys = f"/api/machines/{machine['id']}/keys"
            [key] = client.get(keys).json()["items"]
            assert client.delete(f"{keys}/{key['id']}").status_code == 204
            until(lambda: up() == "0")


@pytest.mark.system(seconds=15)
def test_every_expression_is_evaluated_on_a_live_service(folder: Path, new_database: NewDatabase) -> None:
    environment = {**on_postgres(new_database(), workers=2), "UBR_METRICS_TOKEN": TOKEN}
    with serving(folder, environment) as service:
        use(service)
        config = folder / "prometheus.yml"
        text = config.read_text().replace('"ubr-1:8000", "ubr-2:8000"', f'"127.0.0.1:{service.port}"')
        for name, interval in (
            ("scrape_interval", "500ms"),
            ("scrape_timeout", "500ms"),
            ("evaluation_interval", "2s"),
        ):
            text, changed = re.subn(rf"{name}: \w+", f"{name}: {interval}", text)
            assert changed == 1
        config.write_text(re.sub(r"alerting:\n(?: .*\n)+", "", text))
        options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        with running("prometheus", options, folder) as prometheus:

            def value(query: str) -> list[Any]:
                answer = prometheus.get("/api/v1/query", query=query)
                assert answer["status"] == "success", answer
                found: list[Any] = answer["data"]["result"]
                return found

            until(lambda: bool(value("count_over_time(ubr_build_info[1m]) > 3")))
            use(service)
            ratios = [objective.ratio_record(window) for objective in OBJECTIVES for window in WINDOWS]
            until(lambda: all(value(f"{name} >= 0") for name in ratios))

            rules = [rule for group in prometheus.get("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]
            assert {rule["health"] for rule in rules} == {"ok"}, rules
            assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == {alert.name for alert in ALERTS}
            assert _firing(prometheus) == set()

            panels = json.loads((folder / "grafana" / "ubr.json").read_text())["panels"]
            for panel in panels:
                for target in panel.get("targets", ()):
                    assert value(plain(target["expr"])) or panel["title"] in QUIET, panel["title"]
            for block in blocks():
                if block.language == "promql":
                    for query in block.text.splitlines():
                        value(query)
            for fact in (
                "ubr_memory_bytes > 10e6",
                "ubr_memory_bytes < ubr_memory_limit_bytes",
                "max(ubr_job_success_age_seconds) < 60",
                "ubr_worker_starts_total == 2",
                "time() - ubr_start_time_seconds < 300",
                "ubr_revocation_bound_seconds == 1",
            ):
                assert value(fact), fact
            assert value('sum(ubr_http_requests_total{route="/api/auth/login",status="200"})')[0]["value"][1] == "4"


def _firing(prometheus: Daemon) -> set[str]:
    alerts = prometheus.get("/api/v1/alerts")["data"]["alerts"]
    return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}
