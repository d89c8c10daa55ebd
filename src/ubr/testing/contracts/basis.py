"""The event loop of the suites."""

from __future__ import annotations

import pytest


@pytest.mark.anyio
class Contract:
    """Coroutines of a suite run on asyncio, as ubr does.

    A suite whose fixtures are coroutines of a larger scope overrides `anyio_backend` with one of that scope.
    """

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"
