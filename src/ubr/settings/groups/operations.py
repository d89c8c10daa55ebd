"""Monitoring, and the resources of a worker."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from ubr.settings.declaration import setting
from ubr.settings.urls import parse_http_url
from ubr.settings.values import as_text, duration, one_of, parse_file, whole

BACKGROUND_CONNECTIONS: Final = 4
"""The connections of each worker that are not for requests."""


def parse_token(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]{16,512}=*", raw):
        raise ValueError("must have 16 to 512 letters, digits or any of . _ ~ + / -, like a bearer token")
    return raw


def parse_interval(raw: str) -> timedelta | None:
    named = {"off": None, "on": timedelta(minutes=1)}
    return named[raw] if raw in named else duration("10s", "1h")(raw)


def parse_share(raw: str) -> float:
    if not re.fullmatch(r"[01]|0?\.[0-9]{1,6}|1\.0", raw):
        raise ValueError("must be a number from 0 to 1, such as 0.1")
    return float(raw)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class OperationsSettings:
    """The settings of monitoring and of the resources of a worker."""

    metrics_token: str | None = setting(
        parse_token,
        None,
        "The bearer token for `/metrics`, 16 characters or more. Without it, only this machine may read them, and only "
        "while `UBR_HOST` is a loopback address and `UBR_TRUSTED_PROXIES` is not set.",
        otherwise="none",
        shown="nothing",
    )
    metrics_emf: timedelta | None = setting(
        parse_interval,
        "off",
        "Writes the metrics to standard output in the embedded metric format of CloudWatch: `on` for a line a minute, "
        "or the time between two lines, from `10s` to `1h`.",
        text=lambda interval: "off" if interval is None else as_text(interval),
    )
    otlp_endpoint: str | None = setting(
        parse_http_url,
        None,
        "The address of an OpenTelemetry collector for traces, by OTLP over HTTP: `http://collector:4318`. Needs "
        "the extra `otel` of ubr.",
        shown="url",
    )
    otlp_share: float = setting(
        parse_share,
        "1",
        "The share of the requests to trace, from 0 to 1. A request with a `traceparent` is traced as that one says.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        one_of("debug", "info", "warning", "error"), "info", "The log level: `debug`, `info`, `warning` or `error`."
    )
    log_format: Literal["auto", "json", "text"] = setting(
        one_of("auto", "json", "text"),
        "auto",
        "The form of log lines: `json`, one object a line; `text`, for people; or `auto`, which is `text` on a "
        "terminal and `json` elsewhere.",
    )
    pool_size: int = setting(
        whole(1, 1000),
        "10",
        "Maximum number of database connections for the requests of each worker. "
        f"{BACKGROUND_CONNECTIONS} more keep its session cache fresh and the audit log signed.",
    )
    session_cache_size: int = setting(
        whole(100, 10_000_000),
        "100000",
        "Maximum number of sessions that each worker keeps in memory, in about 85 MiB for 100,000. "
        "A request of any other session takes a query.",
    )
    audit_refreshes: Literal["daily", "all"] = setting(
        one_of("daily", "all"),
        "daily",
        "The refreshes in the audit log: `daily`, the first of a session on each UTC day after its login, or `all`.",
    )
    audit_checkpoint: str | None = setting(
        parse_file,
        None,
        "A file with a checkpoint of the audit log, written by `ubr audit checkpoint`, outside the database. The "
        "service does not start if the log does not continue it. A missing file is ignored.",
    )
