"""Room for a machine that is busy otherwise.

Production gives up after a second or a few: a request on a view that is not fresh, a unit on a connection or a lock.
Where that is not what a test looks at, such a deadline fails it for what else the machine does. So whatever is made
in the process of the tests has half a minute, unless the test says otherwise.
"""

from __future__ import annotations

from typing import Final

from ubr.adapters.sql import ConnectionLimits
from ubr.application.access.session_cache import CacheTimes

SECONDS: Final = 30.0
PRODUCTION_LIMITS, PRODUCTION_TIMES = ConnectionLimits(), CacheTimes()
"""As an installation has them, for tests of what they are there for."""


def give_room() -> None:
    """From now on these are what is meant where nothing is said. Once for a run, before anything is made."""
    for limits, names in ((CacheTimes, ["patience"]), (ConnectionLimits, ["acquire", "connect", "statement", "lock"])):
        defaults = limits.__init__.__kwdefaults__
        assert defaults is not None
        assert set(names) <= set(defaults)
        defaults.update(dict.fromkeys(names, SECONDS))
