"""Longer deadlines, for a machine with other work.

Production gives up after a second or a few: a request with a stale session cache, a unit waiting for a connection or a
lock. In a test about something else, that deadline would fail because of other work on the machine. Objects made in the
test process therefore get half a minute, unless the test sets another value.
"""

from __future__ import annotations

from typing import Final

from ubr.adapters.sql import ConnectionLimits
from ubr.application.access.session_cache import CacheTimes

SECONDS: Final = 30.0
PROMPT: Final = 20.0
"""Seconds within which a call ends that must not wait for another one: less than the deadlines, and enough on a machine
with other work."""
PRODUCTION_LIMITS, PRODUCTION_TIMES = ConnectionLimits(), CacheTimes()
"""The values of an installation, for tests of these deadlines."""


def give_room() -> None:
    """Change the defaults. Call it once for a run, before any object is made."""
    for limits, names in ((CacheTimes, ["patience"]), (ConnectionLimits, ["acquire", "connect", "statement", "lock"])):
        defaults = limits.__init__.__kwdefaults__
        assert defaults is not None
        assert set(names) <= set(defaults)
        defaults.update(dict.fromkeys(names, SECONDS))
