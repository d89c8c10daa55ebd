"""The files of deploy/monitoring that are made from the registry: rules, alerts, their tests, and a dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tools.alert_cases import CASES, Case
from tools.dashboard import dashboard
from ubr.entrypoints.http.metrics.alerts import ALERTS, CAUSES, SYMPTOMS, Alert
from ubr.entrypoints.http.metrics.objectives import LONG_WINDOWS, OBJECTIVES, WINDOWS

FOLDER: Final = Path(__file__).parents[1] / "deploy" / "monitoring"

_HEAD: Final = "# Made by `make docs` from src/ubr/entrypoints/http/metrics.\n"
_PLAIN: Final = re.compile(r"[A-Za-z_][\w ./%-]*(?<! )")
_WORDS: Final = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def files() -> dict[Path, str]:
    """The files, and what has to stand in them."""
    return {
        FOLDER / "rules.yml": _HEAD + yaml(rules()),
        FOLDER / "alerts.yml": _HEAD + yaml(alerts()),
        FOLDER / "objectives_test.yml": _HEAD + yaml(objective_tests()),
        FOLDER / "alerts_test.yml": _HEAD + yaml(cause_tests()),
        FOLDER / "grafana" / "ubr.json": json.dumps(dashboard(), indent=2) + "\n",
    }


def rules() -> dict[str, Any]:
    """The recording rules of each objective: the share of failures in each window, and the number in long ones."""
    return {
        "groups": [
            {
                "name": f"ubr objective {objective.name}",
                "rules": [
                    *(
                        {"record": objective.ratio_record(window), "expr": objective.ratio(window)}
                        for window in WINDOWS
                    ),
                    *(
                        {"record": objective.count_record(window), "expr": objective.failures(window, "increase")}
                        for window in LONG_WINDOWS
                    ),
                ],
            }
            for objective in OBJECTIVES
        ]
    }


def alerts() -> dict[str, Any]:
    """The alerting rules."""
    return {
        "groups": [
            {"name": "ubr objectives", "rules": [_rule(alert) for alert in SYMPTOMS]},
            {"name": "ubr causes", "rules": [_rule(alert) for alert in CAUSES]},
        ]
    }


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        **({} if alert.lasting == "0m" else {"for": alert.lasting}),
        "labels": _labels(alert),
        "annotations": _annotations(alert),
    }


def _labels(alert: Alert) -> dict[str, str]:
    found: dict[str, str] = {"severity": alert.severity, "kind": alert.kind}
    if alert.slo is not None:
        found["slo"] = alert.slo
    return {**found, **dict(alert.labels)}


def _annotations(alert: Alert) -> dict[str, str]:
    return {"summary": alert.summary, "description": alert.meaning, "runbook_url": alert.runbook}


def objective_tests() -> dict[str, Any]:
    """Tests of the alerts about objectives, for promtool: over many hours, so the rules are evaluated rarely."""
    objectives = {alert.name for alert in ALERTS if alert.slo is not None}
    rule_groups = [*rules()["groups"], *alerts()["groups"]]
    return {
        "rule_files": ["rules.yml", "alerts.yml"],
        "evaluation_interval": "30m",
        "group_eval_order": [group["name"] for group in rule_groups],
        "tests": [_test(*cases) for cases in _alike(case for case in CASES if case.alert in objectives)],
    }


def _alike(cases: Iterable[Case]) -> Iterator[list[Case]]:
    """Cases with the same example, which differ only in the objective: together they take a fifth of the time."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.example, []).append(case)
    yield from found.values()


def cause_tests() -> dict[str, Any]:
    """Tests of the other alerts: each fires in its examples, and does not just below them or too early."""
    objectives = {alert.name for alert in ALERTS if alert.slo is not None}
    return {
        "rule_files": ["alerts.yml"],
        "evaluation_interval": "1m",
        "tests": [_test(case) for case in CASES if case.alert not in objectives],
    }


def _test(*cases: Case) -> dict[str, Any]:
    series = dict(pair for case in cases for pair in case.series)
    return {
        "name": f"{' '.join(case.alert for case in cases)}: {cases[0].example}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [check for case in cases for check in _checks(case)],
    }


def _checks(case: Case) -> Iterator[dict[str, Any]]:
    """The alerts at the end of an example, and that none fires before it has been true for long enough."""
    lasting = max((int(alert.lasting[:-1]) * _UNITS[alert.lasting[-1]] for alert in _named(case.alert)), default=0)
    if case.fires and lasting > 1:
        yield {"eval_time": f"{lasting - 1}m", "alertname": case.alert, "exp_alerts": []}
    yield {"eval_time": case.at, "alertname": case.alert, "exp_alerts": _expected(case)}


_UNITS: Final = {"m": 1, "h": 60}


def _named(name: str) -> Iterator[Alert]:
    return (alert for alert in ALERTS if alert.name == name)


def _expected(case: Case) -> list[dict[str, Any]]:
    return [
        {"exp_labels": {**_labels(alert), **labels}, "exp_annotations": _annotations(alert)}
        for severity, labels in case.fires
        for alert in _named(case.alert)
        if alert.severity == severity
    ]


# --- YAML -------------------------------------------------------------------------------------------------------------


def yaml(value: Mapping[str, Any]) -> str:
    """A mapping as YAML. It consists of mappings, lists and strings."""
    return "\n".join([*_lines(value), ""])


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _entry(f"{key}:", inner)
    else:
        for inner in value:
            if isinstance(inner, str):
                yield f"- {_scalar(inner)}"
            else:
                first, *rest = _lines(inner)
                yield f"- {first}"
                yield from (f"  {line}" for line in rest)


def _entry(head: str, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if "\n" in value:
            yield f"{head} |-"
            yield from (f"  {line}" for line in value.splitlines())
        else:
            yield f"{head} {_scalar(value)}"
    elif value:
        yield head
        yield from (f"  {line}" for line in _lines(value))
    else:
        yield f"{head} {'[]' if isinstance(value, Sequence) else '{}'}"


def _scalar(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)
