"""The objectives, alerts, runbooks and the dashboard fit the registry of metrics and each other."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from tests.support.papers import PAGES, ROOT, blocks_of
from tools import dashboard
from tools.alert_cases import CASES
from tools.monitoring import FOLDER, rules, yaml
from ubr.entrypoints.http.metrics import objectives
from ubr.entrypoints.http.metrics.alerts import ALERTS, JOB
from ubr.entrypoints.http.metrics.objectives import BURNS, FEED, HASHING, LONG_WINDOWS, OBJECTIVES, WINDOWS
from ubr.entrypoints.http.metrics.registry import METRICS, REQUEST_DURATION, ROUTES, Kind

RECORDS = {rule["record"] for group in rules()["groups"] for rule in group["rules"]}
SAMPLES = {
    name
    for metric in METRICS
    for name in (
        [f"{metric.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")]
        if metric.kind is Kind.HISTOGRAM
        else [metric.name]
    )
}
RUNBOOKS = [page for page in PAGES if page.startswith("docs/runbooks/")]
PANELS = [panel for _, panels in dashboard.ROWS for panel in panels]
NAME = re.compile(r"(?<![\w$./])(?:job:)?ubr_[a-z0-9_]+(?::\w+)?")


def names_in(text: str) -> set[str]:
    """The metrics, and the results of rules, that a text names."""
    return set(NAME.findall(text))


# --- objectives and alerts --------------------------------------------------------------------------------------------


def test_the_limits_of_latency_are_bounds_of_buckets_that_every_prometheus_writes_alike() -> None:
    for seconds in (objectives.API_SECONDS, objectives.LOGIN_SECONDS):
        assert seconds in REQUEST_DURATION.buckets
        assert seconds != int(seconds)


def test_the_routes_of_the_objectives_exist() -> None:
    assert {*HASHING, FEED} <= set(ROUTES.values)


def test_the_alerts_of_an_objective_are_those_of_the_workbook() -> None:
    """The Site Reliability Workbook, chapter 5, table 5-8; the short window is a twelfth of the long one."""
    hours = {"5m": 1 / 12, "30m": 1 / 2, "1h": 1, "2h": 2, "6h": 6, "1d": 24, "3d": 72}
    spent = [
        (burn.severity, burn.long, round(burn.factor * hours[burn.long] / (objectives.PERIOD_DAYS * 24), 4))
        for burn in BURNS
    ]
    assert spent == [("page", "1h", 0.02), ("page", "6h", 0.05), ("ticket", "1d", 0.1), ("ticket", "3d", 0.1)]
    assert all(hours[burn.long] == pytest.approx(12 * hours[burn.short]) for burn in BURNS)
    assert set(WINDOWS) == {burn.short for burn in BURNS} | set(LONG_WINDOWS)


def test_rules_and_alerts_name_only_metrics_that_exist() -> None:
    for objective in OBJECTIVES:
        assert names_in(objective.ratio("5m")) <= SAMPLES
    for alert in ALERTS:
        assert names_in(alert.expr) <= SAMPLES | RECORDS, alert.name


def test_an_alert_is_a_page_or_a_ticket_and_known_by_its_name() -> None:
    assert len({(alert.name, alert.severity) for alert in ALERTS}) == len(ALERTS)
    for alert in ALERTS:
        assert re.fullmatch(r"Ubr[A-Z]\w+", alert.name)
        assert not alert.summary.endswith(".")
        assert alert.meaning.endswith(".")


def test_every_alert_has_an_example_that_fires_and_one_just_below() -> None:
    for alert in ALERTS:
        cases = [case for case in CASES if case.alert == alert.name]
        fired = {alert.severity in {severity for severity, _ in case.fires} for case in cases}
        assert fired == {True, False}, (alert.name, alert.severity)
    assert {case.alert for case in CASES} == {alert.name for alert in ALERTS}


def test_the_example_of_prometheus_has_the_job_of_the_alerts() -> None:
    assert f"job_name: {JOB}\n" in (FOLDER / "prometheus.yml").read_text()


def test_the_rules_of_silence_name_alerts_that_exist() -> None:
    named = set(re.findall(r"Ubr\w+", (FOLDER / "alertmanager.yml").read_text()))
    assert named
    assert named <= {alert.name for alert in ALERTS}


def test_yaml_quotes_texts_that_would_be_something_else() -> None:
    text = yaml({"a": "yes", "b": "1", "c": "x: y", "d": "two\nlines", "e": [], "f": [{"g": "h"}, "#"]})
    assert text.splitlines() == [
        'a: "yes"',
        'b: "1"',
        'c: "x: y"',
        "d: |-",
        "  two",
        "  lines",
        "e: []",
        "f:",
        "  - g: h",
        '  - "#"',
    ]


# --- runbooks ---------------------------------------------------------------------------------------------------------


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {alert.runbook for alert in ALERTS} == set(RUNBOOKS)


@pytest.mark.parametrize("page", RUNBOOKS)
def test_a_runbook_says_what_to_see_and_to_do(page: str) -> None:
    text = (ROOT / page).read_text()
    assert re.findall(r"^#+ .*", text, re.MULTILINE) == [
        f"# {page.removeprefix('docs/runbooks/').removesuffix('.md')}",
        "## Users notice",
        "## Confirm",
        "## Act",
        "## It ends",
    ]
    assert blocks_of(page, "sh") or blocks_of(page, "promql"), "a command or a query confirms it"


@pytest.mark.parametrize("page", [*RUNBOOKS, "docs/metrics.md", "docs/operations/monitoring.md"])
def test_a_page_names_only_metrics_and_files_that_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    families = {metric.name for metric in METRICS}
    assert names_in(re.sub(r"ubr_verify_\S*", "", text)) <= SAMPLES | RECORDS | families
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target


# --- the dashboard ----------------------------------------------------------------------------------------------------


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    named = {name for panel in PANELS for query, _ in panel.queries for name in names_in(query)}
    assert named <= SAMPLES | RECORDS
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) if name not in SAMPLES else name for name in named}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert {metric.name for metric in METRICS} <= shown


def test_every_panel_has_a_description_a_unit_and_a_place() -> None:
    made = dashboard.dashboard()
    panels = made["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["targets"]
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart or above, (one, other)
    assert [variable["name"] for variable in made["templating"]["list"]] == ["datasource", "job", "instance"]


def test_the_example_of_grafana_names_our_dashboard() -> None:
    (block,) = blocks_of("docs/operations/monitoring.md", "yaml")
    assert re.search(r"path: /\S+/ubr\.json$", block.text, re.MULTILINE)
    assert (FOLDER / "grafana" / "ubr.json").exists()
