"""The metrics for CloudWatch: valid lines, and the same numbers as `/metrics`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import ValidationError

from tests.integration.http.kit import memory_settings
from tests.support import emf, exposition
from ubr.bootstrap import open_environment
from ubr.entrypoints.http.metrics import registry
from ubr.entrypoints.http.metrics.access import MetricsAccess
from ubr.entrypoints.http.metrics.board import Board
from ubr.entrypoints.http.metrics.emf import MAX_METRICS, EmbeddedMetrics, document
from ubr.entrypoints.http.metrics.exporter import Exporter
from ubr.entrypoints.http.metrics.registry import METRICS, Kind
from ubr.entrypoints.http.metrics.worker import WorkerMetrics

pytestmark = pytest.mark.anyio

MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
LOGIN = "/api/auth/login"


class Writing:
    """Workers of one instance, each with its own writer of lines, on a clock that moves by hand."""

    def __init__(self, environment: Any, workers: int) -> None:
        self.now = 1000.0
        self.lines: list[bytes] = []
        self.board = Board(workers)
        self.environment = environment
        self.exporters: dict[int, Exporter] = {}
        self.writers: dict[int, EmbeddedMetrics] = {}
        for number in range(workers):
            self.start(number)

    def start(self, number: int) -> WorkerMetrics:
        worker = WorkerMetrics(self.board, number)
        self.exporters[number] = Exporter(
            worker=worker,
            access=MetricsAccess(),
            environment=self.environment,
            jobs={},
            elapsed=lambda: self.now,
        )
        self.writers[number] = EmbeddedMetrics(
            self.exporters[number], "https://ubr.example.org", 60, clock=lambda: MOMENT, output=self.lines.append
        )
        return worker

    def answer(self, number: int, *statuses: int, seconds: float = 0.2) -> None:
        worker = self.exporters[number].worker
        for status in statuses:
            worker.request_began()
            worker.request_ended("POST", LOGIN, status, seconds)

    async def look(self, *, after: float = 0) -> None:
        self.now += after
        for writer in self.writers.values():
            await writer.write()

    async def scrape(self) -> dict[str, exposition.Family]:
        return exposition.parse((await self.exporters[0].text()).decode())

    @property
    def parsed(self) -> list[dict[str, Any]]:
        return [emf.parse(line) for line in self.lines]


@asynccontextmanager
async def writing(workers: int = 2) -> AsyncIterator[Writing]:
    async with open_environment(memory_settings()) as environment:
        yield Writing(environment, workers)


async def test_one_worker_writes_a_line_for_all_of_them_once_in_an_interval() -> None:
    async with writing() as service:
        service.answer(0, 200, 401)
        service.answer(1, 200, 503, 499)
        await service.look()
        await service.look(after=59)
        assert len(service.lines) == 1
        service.answer(1, 200)
        await service.look(after=1)
    first, second = service.parsed
    assert first["_aws"]["Timestamp"] == MOMENT.timestamp() * 1000
    assert first["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "ubr"
    assert first["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["issuer"]]
    assert first["issuer"] == "https://ubr.example.org"
    classes = [first[f"ubr_http_requests_total.{part}"] for part in ("2xx", "4xx", "499", "5xx")]
    assert (first["ubr_http_requests_total"], classes) == (5, [2, 1, 1, 1])
    assert first["ubr_worker_starts_total"] == 2
    assert second["ubr_http_requests_total"] == second["ubr_http_requests_total.2xx"] == 1
    assert second["ubr_worker_starts_total"] == 0


async def test_the_lines_add_up_to_the_metrics_also_when_the_writer_is_replaced() -> None:
    async with writing() as service:
        for seconds in (0.0004, 0.2, 0.7, 30.0):
            service.answer(0, 200, seconds=seconds)
            service.answer(1, 200, 500, seconds=seconds)
            service.exporters[1].worker.password_hashed(seconds)
            service.exporters[1].worker.rate_limited("account")
            await service.look(after=60)
            predecessor = service.writers[0]
            service.start(0)
            await predecessor.write()
            await predecessor.finish()
        for _ in range(3):
            service.exporters[0].worker.revocation_waited(7.0, in_time=False)
        await service.writers[1].finish()
        await service.writers[0].finish()
        found = await service.scrape()
    lines = service.parsed
    assert len(lines) == 5
    for metric in METRICS:
        if metric.kind is Kind.COUNTER:
            assert sum(line[metric.name] for line in lines) == found[metric.name].sum(), metric.name
        elif metric.kind is Kind.HISTOGRAM:
            sets = [line[metric.name] for line in lines if metric.name in line]
            measured = {
                end: sum(value for (name, _), value in found[metric.name].samples.items() if name.endswith(end))
                for end in ("_sum", "_count")
            }
            assert sum(each["Sum"] for each in sets) == pytest.approx(measured["_sum"])
            assert sum(each["Count"] for each in sets) == measured["_count"] > 0
    assert sum(line["ubr_rate_limited_total.account"] for line in lines) == 4
    assert [line["ubr_http_request_duration_seconds"]["Values"] for line in lines[:4]] == [[0.001], [0.25], [1.0], [30]]


async def test_gauges_are_those_of_the_moment() -> None:
    async with writing() as service:
        await service.look()
        found = await service.scrape()
    [line] = service.parsed
    for metric in METRICS:
        if metric.kind is Kind.GAUGE and not metric.labels:
            assert (metric.name in line) == (metric.name in found), metric.name
    assert line["ubr_database_readable"] == 1
    assert line["ubr_revocation_bound_seconds"] == found["ubr_revocation_bound_seconds"].value()
    assert line["ubr_database_connections_in_use.requests"] == 0
    assert "ubr_build_info" not in line


def test_a_line_has_room_for_every_metric() -> None:
    labels = {metric: tuple(label.values[-1] for label in metric.labels if label.values) for metric in METRICS}
    grown = {metric: [(labels[metric], [1.0] * metric.width)] for metric in METRICS if metric.kind is not Kind.GAUGE}
    gauges = {
        metric: [(labels[metric], [1.0])]
        for metric in METRICS
        if metric.kind is Kind.GAUGE and metric is not registry.BUILD
    }
    line = document(1_700_000_000_000, "ubr", grown, gauges)
    names = [each["Name"] for each in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
    assert len(names) <= MAX_METRICS
    assert {metric.name for metric in METRICS} - set(names) == {"ubr_build_info"}


async def test_the_check_of_the_format_rejects_what_it_does_not_allow() -> None:
    async with writing() as service:
        service.answer(0, 200)
        await service.look()
    line = service.parsed[0]
    mistakes: tuple[dict[str, Any], ...] = (
        {"ubr_mails_due": [1, "2"]},
        {"ubr_http_request_duration_seconds": {"Values": [0.2], "Counts": [1]}},
        {"_aws": {"CloudWatchMetrics": []}},
    )
    for wrong in mistakes:
        with pytest.raises(ValidationError):
            emf.parse(json.dumps({**line, **wrong}))
