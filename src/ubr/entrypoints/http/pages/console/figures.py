"""Numbers of this instance at this moment, from its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ubr.entrypoints.http.pages.console.desk import Desk
from ubr.entrypoints.http.routes.metrics import METRICS

if TYPE_CHECKING:
    # It contains the names of the routes, so they cannot import it.
    from ubr.entrypoints.http.metrics.exporter import Exporter

_SHOWN: Final = {
    "ubr_password_hashes_running": "passwords being hashed",
    "ubr_password_hashes_waiting": "passwords waiting for a place",
    "ubr_session_cache_entries": "sessions in the cache",
    "ubr_http_requests_running": "requests being answered",
    "ubr_database_connections_in_use": "database connections in use",
    "ubr_audit_entries_waiting": "log entries to be signed",
    "ubr_mails_due": "mails due",
    "ubr_mails_dead": "mails given up",
}
"""The metrics that are shown, by their names."""


async def figures(desk: Desk) -> list[tuple[str, int]]:
    """Each meaning with its number, of all workers together; empty for an application without metrics."""
    exporter: Exporter | None = desk.call.state[METRICS]
    if exporter is None:
        return []
    gauges = {metric.name: samples for metric, samples in (await exporter.gauges()).items()}
    return [
        (meaning, int(sum(values[0] for _, values in gauges[name])))
        for name, meaning in _SHOWN.items()
        if gauges.get(name)
    ]
