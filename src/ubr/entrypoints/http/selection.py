"""Some of the routes, for programs that mount the service."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeAlias

from ubr.entrypoints.http.call import PAGES, Operation

Selection: TypeAlias = frozenset[str] | None
"""Tags and names of operations, as in the OpenAPI document. None selects every route."""


def select(names: Collection[str] | None, operations: Iterable[Operation]) -> Selection:
    """The selection of these names. Errors: `ValueError` for a name that no route has."""
    if names is None:
        return None
    wanted = frozenset((names,) if isinstance(names, str) else names)
    every = list(operations)
    known = {operation.tag for operation in every} | {operation.name for operation in every} | {PAGES}
    if unknown := sorted(wanted - known):
        tags = sorted({operation.tag for operation in every} | {PAGES})
        raise ValueError(
            f"No route has the name {', '.join(unknown)}. Take tags ({', '.join(tags)}) or the operationId of "
            "operations, as in the OpenAPI document"
        )
    return wanted


def is_selected(operation: Operation, selection: Selection) -> bool:
    return selection is None or operation.tag in selection or operation.name in selection
