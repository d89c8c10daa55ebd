"""The report on an intact log."""

from __future__ import annotations


def report(size: int, *, pruned: int, checkpoints: int, unsigned: int, signer: str | None, trusted: bool) -> list[str]:
    """Lines for people. `trusted` means that the key was given, and not taken from the keeper of the log."""
    lines = [f"Every one of {size} entries is what was signed." if size else "The log has no entry yet."]
    if pruned:
        lines.append(f"The content of {pruned} is gone, as entries of the log say; their hashes fit.")
    if unsigned:
        lines.append(
            f"Of {checkpoints + unsigned} checkpoints {unsigned} are of keys that are not known here; they fit."
        )
    if signer is not None:
        lines.append(f"Signed by {signer}")
    if not trusted:
        lines.append("The key was the log's own word: whoever can write anything could have made one. Give --key.")
    return lines
