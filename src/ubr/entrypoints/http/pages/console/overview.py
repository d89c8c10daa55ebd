"""The first page: the last day in charts, and the state of the service."""

from __future__ import annotations

from ubr.application.audit.get_activity import MAX_COUNT
from ubr.domain.roles.permissions import EVERYTHING, LOGS_READ
from ubr.entrypoints.http.pages.console.charts import HEIGHT, WIDTH, Chart
from ubr.entrypoints.http.pages.console.desk import Desk, at_the_desk
from ubr.entrypoints.http.pages.console.figures import figures
from ubr.entrypoints.http.pages.page import PageController, page_operation
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import get


class OverviewDesk(PageController):
    @get("/console", page_operation("get_console"))
    @at_the_desk
    async def overview(self, desk: Desk) -> Response:
        return await desk.show(
            "overview.html",
            "overview",
            charts=await _charts(desk),
            figures=await figures(desk) if desk.may(EVERYTHING) else [],
            width=WIDTH,
            height=HEIGHT,
        )


async def _charts(desk: Desk) -> list[Chart]:
    if not desk.may(LOGS_READ):
        return []
    found = await desk.call.ubr.get_activity(actor=desk.actor)

    def chart(key: str, numbers: list[int], *, bad: bool = False) -> Chart:
        return Chart(key=key, hours=found.hours, numbers=numbers, most=MAX_COUNT, bad=bad)

    return [
        chart("logins", found.logins),
        chart("failed", found.failed_logins, bad=True),
        chart("ended", found.ended_sessions),
    ]
