"""The report on a valid log."""

from __future__ import annotations


def report(size: int, *, pruned: int, checkpoints: int, unsigned: int, signer: str | None, trusted: bool) -> list[str]:
    """Lines for people. `trusted` means that the caller named the key, so it was not read from the log itself."""
    lines = [f"All {size} entries match their signatures." if size else "The log has no entries yet."]
    if pruned:
        lines.append(f"The content of {pruned} entries was pruned, as recorded in the log; their hashes match.")
    if unsigned:
        lines.append(f"{unsigned} of {checkpoints + unsigned} checkpoints are signed by unknown keys; they match.")
    if signer is not None:
        lines.append(f"Signed by {signer}")
    if not trusted:
        lines.append(
            "The key comes from the log itself: anyone with full write access could have forged it. Use --key."
        )
    return lines
