"""What is said of a log in which everything fits."""

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
    """Lines for people. `trusted` says that the key was given, and not taken from the log's own keeper."""
    lines = [f"Every one of {size} entries is what was signed." if size else "The log has no entry yet."]
    if pruned:
        lines.append(f"The content of {pruned} is gone, as entries of the log say; their hashes fit.")
    if unsigned:
        lines.append(
            f"Of {checkpoints + unsigned} checkpoints {unsigned} are of keys that are not known here; they fit."
        )
    lines += map(_restore, restores)
    if restores:
        lines.append("A checkpoint that was kept before a restore shows what it lost: give it with --checkpoint.")
    if signer is not None:
        lines.append(f"Signed by {signer}")
    if not trusted:
        lines.append("The key was the log's own word: whoever can write anything could have made one. Give --key.")
    return lines


def _restore(found: RestoreFound) -> str:
    if found.at is None:
        return (
            f"From entry {found.index} on the log has another origin: the database was put back to an earlier state. "
            "The entry that says so was pruned."
        )
    told = f"Entry {found.index}, {found.at:%Y-%m-%d %H:%M:%S}Z: the database was put back to an earlier state."
    try:
        size = Checkpoint.of(Note.parse(found.checkpoint or "")).size
    except BadNote:
        return f"{told} No checkpoint of before is named."
    lost = f": {size - found.index} entries at least are lost" if size > found.index else ""
    return f"{told} The checkpoint of before that is named reaches {size} entries{lost}."
