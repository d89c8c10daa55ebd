"""The picture of the rooms in `docs/architecture.md`: packages as boxes, imports as arrows, read off the code."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

SOURCE = Path(__file__).parents[1] / "src"
Arrows: TypeAlias = Mapping[str, set[str]]


def imported(path: Path) -> set[str]:
    """The modules of ubr that a file imports, those for type checkers alone left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    return {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module is not None and id(node) not in typing_only
        if node.module.startswith("ubr")
    }


def arrows(room_of: Callable[[str], str | None]) -> Arrows:
    """From each room to those that it imports. `room_of` takes the name of a module."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((SOURCE / "ubr").rglob("*.py")):
        here = room_of(".".join(path.relative_to(SOURCE).with_suffix("").parts))
        if here is None:
            continue
        found[here] |= {there for module in imported(path) if (there := room_of(module)) not in {None, here}}
    return found


def reduced(graph: Arrows) -> Arrows:
    """The same without each arrow that a longer way of arrows replaces: what is left shows the order of the rooms."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph.get(start, ()))
        while waiting:
            room = waiting.pop()
            if room not in seen:
                seen.add(room)
                waiting.extend(graph.get(room, ()))
        return seen

    return {
        room: {to for to in targets if not any(to in reach(via) for via in targets - {to})}
        for room, targets in graph.items()
    }


def package(module: str) -> str | None:
    """`ubr.adapters.sql.rows` is in the room `adapters`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (SOURCE / "ubr" / parts[1]).is_dir() else None


def capability(module: str) -> str | None:
    """`ubr.application.sessions.log_in` is in the room `sessions`."""
    parts = module.split(".")
    if parts[:2] != ["ubr", "application"] or len(parts) < 3:  # noqa: PLR2004 - ubr, application, and the room
        return None
    return parts[2]


def mermaid(graph: Arrows) -> str:
    lines = [f"  {room} --> {to}" for room in sorted(graph) for to in sorted(graph[room])]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```"])


def pictures() -> dict[str, str]:
    """Each picture by the name of its place on the page."""
    return {"packages": mermaid(reduced(arrows(package))), "rooms": mermaid(reduced(arrows(capability)))}


if __name__ == "__main__":
    for picture in pictures().values():
        print(picture)
