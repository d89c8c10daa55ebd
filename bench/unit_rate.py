"""How many use cases the unit tests call in a second: run it as `python bench/unit_rate.py [PYTEST ARGUMENT …]`."""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any, Final, get_type_hints

import pytest

from ubr.application.app import UseCases

ROOT: Final = Path(__file__).parent.parent
TESTS: Final = ROOT / "tests" / "unit"

calls: Counter[str] = Counter()


def counted(name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same call, with one more on its count."""

    @wraps(call)
    def counting(*args: Any, **kwargs: Any) -> Awaitable[Any]:
        calls[name] += 1
        return call(*args, **kwargs)

    return counting


def main() -> int:
    types = get_type_hints(UseCases)
    for field in fields(UseCases):
        use_case: Any = types[field.name]
        use_case.__call__ = counted(field.name, use_case.__call__)
    # ubr is loaded already, so its pytest plugin cannot be rewritten, and need not be.
    quiet = ["-q", "--no-header", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    os.chdir(ROOT)
    start = time.perf_counter()
    status = pytest.main([*quiet, "--rootdir", str(ROOT), str(TESTS), *sys.argv[1:]])
    seconds = time.perf_counter() - start
    for name, count in calls.most_common():
        print(f"{count:7} {name}")
    print(f"{calls.total():7} calls in {seconds:.1f} s: {calls.total() / seconds:.0f} a second")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
