"""The memory of this process, and its limit, as Linux counts them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_USED: Final = Path("/proc/self/smaps_rollup")
_GROUP: Final = Path("/proc/self/cgroup")
_GROUPS: Final = Path("/sys/fs/cgroup")


def used(source: Path = _USED) -> int:
    """The proportional set size in bytes: a page that several processes share counts in parts. 0 if it is unknown.

    Workers are forks that share most of their memory, so the sum of their resident sizes would be too large.
    """
    try:
        text = source.read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)


def limit(group: Path = _GROUP, groups: Path = _GROUPS) -> int:
    """The lowest `memory.max` of the control group of this process and of those above it, in bytes.

    Without such a limit, or with control groups of version 1, the memory of the machine.
    """
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        path = next(line[3:].strip("/") for line in group.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return found[0]
    for folder in (groups / path, *(groups / path).parents):
        try:
            text = (folder / "memory.max").read_text().strip()
        except OSError:
            text = "max"
        if text.isdecimal():
            found.append(int(text))
        if folder == groups:
            break
    return min(found)
