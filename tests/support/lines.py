"""The log lines of a block of code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ubr.entrypoints.http.log_lines import OUTPUT


@contextmanager
def capture_logs() -> Iterator[list[dict[str, Any]]]:
    """Every line that is written meanwhile, as its fields."""
    lines: list[dict[str, Any]] = []

    def write(event: dict[str, Any], *, at_once: bool) -> None:
        lines.append(event)

    OUTPUT.write = write  # type: ignore[method-assign]
    try:
        yield lines
    finally:
        del OUTPUT.write
