"""What all tests share."""

import gc
from collections.abc import Callable
from functools import lru_cache

import pytest
import zxcvbn
from hypothesis import settings

from tests.support.event_loop import Loop
from tests.support.room import give_room
from ubr.adapters.sql.migrations import upgrade

give_room()

# Thousands of tests set the same few passwords, and an estimate takes milliseconds. It depends on the password alone.
zxcvbn.zxcvbn = lru_cache(maxsize=4096)(zxcvbn.zxcvbn)  # type: ignore[assignment]

# How long an example takes says more of the machine than of the code. `make test-long` tries more of them.
settings.register_profile("ubr", deadline=None, max_examples=30)
settings.register_profile("long", deadline=None, max_examples=300)
settings.load_profile("ubr")

pytest_plugins = ["tests.support.plugin", "pytester"]


def pytest_collection_finish() -> None:
    """What stays for the whole run is not looked through for garbage again and again.

    On a busy machine that takes so long that a store in memory seems out of reach.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One event loop for the whole session, so that pools made in a session fixture work in every test."""
    return "asyncio", {"loop_factory": Loop}


@pytest.fixture(scope="session")
def migrate() -> Callable[[str], object]:
    """The real migrations."""
    return upgrade
