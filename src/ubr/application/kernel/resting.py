"""The pace of jobs that work through many rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def resting() -> AsyncIterator[None]:
    """Sleep after this for as long as it took, so that a backlog takes at most half of what the database can do."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    yield
    await asyncio.sleep(loop.time() - began)
