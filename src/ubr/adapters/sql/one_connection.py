"""A connection for one purpose, outside units of work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from ubr.adapters.sql.engine import ConnectionLimits, make_engine
from ubr.adapters.sql.errors import translated


@asynccontextmanager
async def connected(url: str, limits: ConnectionLimits, *, schema: str | None = None) -> AsyncIterator[AsyncConnection]:
    """The connection is closed at the end.

    Errors: `ValueError` for the URL; `StoreUnavailable`, with the cause if a privilege is missing.
    """
    engine = make_engine(url, limits, schema=schema)
    try:
        async with engine.connect() as connection:
            yield connection
    except Exception as error:
        if (meaning := translated(error)) is not None:
            raise meaning from None
        raise
    finally:
        await engine.dispose()
