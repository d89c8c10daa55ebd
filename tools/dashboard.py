"""The dashboard for Grafana, made from the registry of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ubr.entrypoints.http.metrics import registry
from ubr.entrypoints.http.metrics.objectives import LOGIN, OBJECTIVES
from ubr.entrypoints.http.metrics.registry import Metric

_HERE: Final = 'job=~"$job",instance=~"$instance"'
_RATE: Final = "$__rate_interval"
_WIDTH: Final = 24
_PANEL: Final = {"w": 8, "h": 8}
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A graph, or with `stat` the newest value. `queries` are pairs of PromQL and legend."""

    title: str
    description: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    stat: bool = False


def _rate(metric: Metric, *matchers: str, by: str = "", suffix: str = "") -> str:
    by = f" by ({by})" if by else ""
    return f"sum{by} (rate({metric.name}{suffix}{{{','.join((_HERE, *matchers))}}}[{_RATE}]))"


def _quantiles(metric: Metric, *matchers: str) -> tuple[tuple[str, str], ...]:
    buckets = _rate(metric, *matchers, by="le", suffix="_bucket")
    return tuple(
        (f"histogram_quantile({quantile}, {buckets})", f"p{quantile * 100:g}") for quantile in (0.5, 0.9, 0.99)
    )


def _slowest(buckets: str) -> str:
    return f"topk(10, histogram_quantile(0.99, {buckets}))"


def _mean(metric: Metric) -> str:
    return f"{_rate(metric, by='instance', suffix='_sum')} / {_rate(metric, by='instance', suffix='_count')}"


def _sum(metric: Metric, by: str = "instance", *matchers: str) -> str:
    return f"sum by ({by}) ({metric.name}{{{','.join((_HERE, *matchers))}}})"


def _max(metric: Metric, by: str = "instance") -> str:
    return f"max by ({by}) ({metric.name}{{{_HERE}}})"


_API: Final = 'route=~"/api/.+"'
_LOGIN: Final = f'route="{LOGIN}"'

ROWS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    (
        "Objectives",
        tuple(
            Panel(
                title=objective.title,
                description=f"{objective.meaning} The objective is {objective.target:.1%} in 30 days. Shown is the "
                "share of failures within 5 minutes and 6 hours.",
                unit="percentunit",
                queries=tuple(
                    (f'{objective.ratio_record(window)}{{job=~"$job"}}', f"{{{{job}}}} {window}")
                    for window in ("5m", "6h")
                ),
            )
            for objective in OBJECTIVES
        ),
    ),
    (
        "Traffic",
        (
            Panel(
                title="Requests",
                description="Requests a second, by the status of their response.",
                unit="reqps",
                queries=((_rate(registry.REQUESTS, by="status"), "{{status}}"),),
            ),
            Panel(
                title="Busiest routes",
                description="Requests a second of the ten routes with the most requests.",
                unit="reqps",
                queries=((f"topk(10, {_rate(registry.REQUESTS, by='method, route')})", "{{method}} {{route}}"),),
            ),
            Panel(
                title="Running requests",
                description=registry.REQUESTS_RUNNING.meaning,
                unit="short",
                queries=((_sum(registry.REQUESTS_RUNNING), "{{instance}}"),),
            ),
        ),
    ),
    (
        "Errors",
        (
            Panel(
                title="Failures",
                description="Requests a second that were answered with a status of 500 or more, by route.",
                unit="reqps",
                queries=((_rate(registry.REQUESTS, 'status=~"5.."', by="route, status"), "{{route}} {{status}}"),),
            ),
            Panel(
                title="Refusals",
                description="Requests a second that were answered with a status from 400 to 498, by status.",
                unit="reqps",
                queries=((_rate(registry.REQUESTS, 'status=~"4..",status!="499"', by="status"), "{{status}}"),),
            ),
            Panel(
                title="Clients that disconnected",
                description="Requests a second whose client disconnected before the response (499), by route.",
                unit="reqps",
                queries=((_rate(registry.REQUESTS, 'status="499"', by="route"), "{{route}}"),),
            ),
        ),
    ),
    (
        "Duration",
        (
            Panel(
                title="API",
                description="Duration of the requests to the API, without logins.",
                unit="s",
                queries=_quantiles(registry.REQUEST_DURATION, _API, f'route!="{LOGIN}"'),
            ),
            Panel(
                title="Slowest routes",
                description="The 99th percentile of the duration, of the ten slowest routes.",
                unit="s",
                queries=(
                    (
                        _slowest(_rate(registry.REQUEST_DURATION, by="le, route", suffix="_bucket")),
                        "{{route}}",
                    ),
                ),
            ),
            Panel(
                title="Mean duration",
                description="The mean duration of all requests, by instance.",
                unit="s",
                queries=(
                    (
                        _mean(registry.REQUEST_DURATION),
                        "{{instance}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Logins and hash queue",
        (
            Panel(
                title="Logins",
                description="Logins a second by their status: 200 is a success, 401 a wrong password or e-mail, 429 a "
                "limit, 503 a full queue.",
                unit="reqps",
                queries=((_rate(registry.REQUESTS, _LOGIN, by="status"), "{{status}}"),),
            ),
            Panel(
                title="Duration of logins",
                description="Duration of logins, the wait for the hashing included.",
                unit="s",
                queries=_quantiles(registry.REQUEST_DURATION, _LOGIN),
            ),
            Panel(
                title="Hash queue",
                description="Passwords that are being hashed, and those that wait for it.",
                unit="short",
                queries=(
                    (_sum(registry.HASHES_RUNNING), "{{instance}} running"),
                    (_sum(registry.HASHES_WAITING), "{{instance}} waiting"),
                ),
            ),
            Panel(
                title="Duration of a hash",
                description=registry.HASH_DURATION.meaning,
                unit="s",
                queries=_quantiles(registry.HASH_DURATION),
            ),
            Panel(
                title="Limits",
                description="Attempts a second that a limit refused, by limit. docs/limits.md describes them.",
                unit="ops",
                queries=((f"{_rate(registry.RATE_LIMITED, by='limit')} > 0", "{{limit}}"),),
            ),
        ),
    ),
    (
        "Revocation and session cache",
        (
            Panel(
                title="Wait of a revocation",
                description=registry.REVOCATION_WAIT.meaning,
                unit="s",
                queries=_quantiles(registry.REVOCATION_WAIT),
            ),
            Panel(
                title="Revocations that reached the bound",
                description=registry.REVOCATIONS_AT_BOUND.meaning,
                unit="ops",
                queries=((_rate(registry.REVOCATIONS_AT_BOUND, by="instance"), "{{instance}}"),),
            ),
            Panel(
                title="Age of the session cache",
                description=registry.CACHE_AGE.meaning,
                unit="s",
                queries=(
                    (_max(registry.CACHE_AGE), "{{instance}}"),
                    (f"max ({registry.REVOCATION_BOUND.name}{{{_HERE}}})", "bound"),
                ),
            ),
            Panel(
                title="Cached sessions",
                description=registry.CACHED_SESSIONS.meaning,
                unit="short",
                queries=((_sum(registry.CACHED_SESSIONS), "{{instance}}"),),
            ),
        ),
    ),
    (
        "Database",
        (
            Panel(
                title="Connections in use",
                description=registry.CONNECTIONS_IN_USE.meaning,
                unit="short",
                queries=((_sum(registry.CONNECTIONS_IN_USE, "instance, pool"), "{{instance}} {{pool}}"),),
            ),
            Panel(
                title="Waiting for a connection",
                description=registry.CONNECTIONS_AWAITED.meaning,
                unit="short",
                queries=((_sum(registry.CONNECTIONS_AWAITED, "instance, pool"), "{{instance}} {{pool}}"),),
            ),
            Panel(
                title="Readable",
                description="1 if the database answered the scrape within a second, otherwise 0.",
                unit="short",
                queries=((f"min by (instance) ({registry.STORE_READABLE.name}{{{_HERE}}})", "{{instance}}"),),
            ),
        ),
    ),
    (
        "Mail",
        (
            Panel(
                title="Queued mails",
                description="Mails that are due, and those that were given up, which are kept for a week.",
                unit="short",
                queries=((_max(registry.MAILS_DUE, "job"), "due"), (_max(registry.MAILS_DEAD, "job"), "given up")),
            ),
            Panel(
                title="Oldest due mail",
                description=registry.MAIL_AGE.meaning,
                unit="s",
                queries=((_max(registry.MAIL_AGE, "job"), "{{job}}"),),
            ),
        ),
    ),
    (
        "Audit log",
        (
            Panel(
                title="Unsigned entries",
                description=registry.AUDIT_WAITING.meaning,
                unit="short",
                queries=((_max(registry.AUDIT_WAITING, "job"), "{{job}}"),),
            ),
            Panel(
                title="Oldest unsigned entry",
                description=registry.AUDIT_AGE.meaning,
                unit="s",
                queries=((_max(registry.AUDIT_AGE, "job"), "{{job}}"),),
            ),
        ),
    ),
    (
        "Jobs",
        (
            Panel(
                title="Failures in a row",
                description=registry.JOB_FAILURES.meaning,
                unit="short",
                queries=((f"{_max(registry.JOB_FAILURES, 'background_job')} > 0", "{{background_job}}"),),
            ),
            Panel(
                title="Time since the last success",
                description=registry.JOB_SUCCESS_AGE.meaning,
                unit="s",
                queries=((_max(registry.JOB_SUCCESS_AGE, "background_job"), "{{background_job}}"),),
            ),
            Panel(
                title="Memory",
                description=f"{registry.MEMORY.meaning} {registry.MEMORY_LIMIT.meaning}",
                unit="bytes",
                queries=(
                    (_sum(registry.MEMORY), "{{instance}}"),
                    (_max(registry.MEMORY_LIMIT), "{{instance}} limit"),
                ),
            ),
        ),
    ),
    (
        "Keys and versions",
        (
            Panel(
                title="Age of the signing key",
                description=registry.KEY_AGE.meaning,
                unit="s",
                stat=True,
                queries=((_max(registry.KEY_AGE, "job"), "{{job}}"),),
            ),
            Panel(
                title="Versions",
                description="The number of instances of each version.",
                unit="short",
                stat=True,
                queries=((f"count by (version) ({registry.BUILD.name}{{{_HERE}}})", "{{version}}"),),
            ),
            Panel(
                title="Uptime",
                description="Time since the start of each instance.",
                unit="s",
                stat=True,
                queries=((f"time() - {_max(registry.START_TIME)}", "{{instance}}"),),
            ),
            Panel(
                title="Worker starts",
                description=registry.WORKER_STARTS.meaning,
                unit="short",
                queries=((_sum(registry.WORKER_STARTS), "{{instance}}"),),
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's format."""
    return {
        "uid": "ubr",
        "title": "ubr",
        "description": "The metrics of ubr. `make docs` makes this dashboard; docs/metrics.md describes the metrics.",
        "tags": ["ubr"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_data_source(), *_variables()]},
        "panels": _panels(),
    }


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}


def _variables() -> list[dict[str, Any]]:
    """The variables for the scrape job and for the instances, each of which may be all."""
    queries = {
        "job": f"label_values({registry.BUILD.name}, job)",
        "instance": f'label_values({registry.BUILD.name}{{job=~"$job"}}, instance)',
    }
    return [
        {
            "name": name,
            "label": name.title(),
            "type": "query",
            "datasource": _SOURCE,
            "definition": query,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "current": {"text": "All", "value": "$__all"},
            "hide": 0,
        }
        for name, query in queries.items()
    ]


def _panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    y = 0
    for title, panels in ROWS:
        place = {"x": 0, "y": y, "w": _WIDTH, "h": 1}
        found.append(
            {"id": len(found) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        )
        y += 1
        for number, panel in enumerate(panels):
            x = number * _PANEL["w"] % _WIDTH
            if number and not x:
                y += _PANEL["h"]
            found.append(_panel(len(found) + 1, panel, {"x": x, "y": y, **_PANEL}))
        y += _PANEL["h"]
    return found


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    options: dict[str, Any] = (
        {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "textMode": "auto"}
        if panel.stat
        else {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    )
    return {
        "id": number,
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": _SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "range": not panel.stat,
                "instant": panel.stat,
            }
            for at, (expr, legend) in enumerate(panel.queries)
        ],
    }
