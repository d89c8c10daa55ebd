"""The report on a valid log."""

from __future__ import annotations

from collections.abc import Sequence

from ubr.domain.audit.checkpoint import BadNote, Checkpoint, Note
from ubr.domain.audit.log_check import RestoreFound


def report(
    size: int,
    *,
    pruned: int,
    checkpoints: int,
    unsigned: int,
    signer: str | None,
    trusted: bool,
    restores: Sequence[RestoreFound] = (),
) -> list[str]:
    """Lines for people. `trusted` is True if the caller named the key; otherwise it was read from the log itself."""
    lines = [f"All {size} entries match their signatures." if size else "The log has no entries yet."]
    if pruned:
        lines.append(f"The content of {pruned} entries was pruned, as recorded in the log; their hashes match.")
    if unsigned:
        lines.append(f"{unsigned} of {checkpoints + unsigned} checkpoints are signed by unknown keys; they match.")
    lines += map(_restore, restores)
    if restores:
        lines.append("To see the entries lost in a restore, pass a checkpoint saved before it with --checkpoint.")
    if signer is not None:
        lines.append(f"Signed by {signer}")
    if not trusted:
        lines.append(
            "The key comes from the log itself: anyone with full write access could have forged it. Use --key."
        )
    return lines


def _restore(found: RestoreFound) -> str:
    if found.at is None:
        return (
            f"The log has another origin from entry {found.index} on: the database was restored to an earlier state. "
            "The entry that records the restore was pruned."
        )
    told = f"Entry {found.index}, {found.at:%Y-%m-%d %H:%M:%S}Z: the database was restored to an earlier state."
    try:
        size = Checkpoint.of(Note.parse(found.checkpoint or "")).size
    except BadNote:
        return f"{told} The entry names no earlier checkpoint."
    lost = f": at least {size - found.index} entries are lost" if size > found.index else ""
    return f"{told} The earlier checkpoint that it names covers {size} entries{lost}."
