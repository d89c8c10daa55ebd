"""Numbers of this instance at this moment, from its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ubr.entrypoints.http.pages.console.desk import Desk
from ubr.entrypoints.http.routes.metrics import METRICS

if TYPE_CHECKING:
    # It contains the names of the routes, so they cannot import it.
    from ubr.entrypoints.http.metrics.exporter import Exporter

_SHOWN: Final = (
    "ubr_password_hashes_running",
    "ubr_password_hashes_waiting",
    "ubr_session_cache_entries",
    "ubr_http_requests_running",
    "ubr_database_connections_in_use",
    "ubr_audit_entries_waiting",
    "ubr_mails_due",
    "ubr_mails_dead",
)
"""The metrics that are shown. Each has its meaning in the words of the console."""


async def figures(desk: Desk) -> list[tuple[str, int]]:
    """Each name with its number, of all workers together; empty for an application without metrics."""
    exporter: Exporter | None = desk.call.state[METRICS]
    if exporter is None:
        return []
    gauges = {metric.name: samples for metric, samples in (await exporter.gauges()).items()}
    return [(name, int(sum(values[0] for _, values in gauges[name]))) for name in _SHOWN if gauges.get(name)]
