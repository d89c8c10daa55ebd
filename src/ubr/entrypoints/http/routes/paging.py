"""The query of a list that has no filters."""

from __future__ import annotations

from ubr.application.kernel.command import Command
from ubr.application.kernel.fields import PageCursor, PageLimit
from ubr.application.kernel.paging import DEFAULT_LIMIT


class Paging(Command, frozen=True, kw_only=True):
    limit: PageLimit = DEFAULT_LIMIT
    cursor: PageCursor = None
