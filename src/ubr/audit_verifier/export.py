"""Verification of an export, line by line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from ubr.audit_verifier.signatures import verify_signature
from ubr.domain.audit.checkpoint import BadNote, Note, NoteKey
from ubr.domain.audit.entry import ClientIp, LogEntry
from ubr.domain.audit.log_check import EXPORT_VERSION, Checked, Leaf, LogCheck, Tampered
from ubr.domain.audit.merkle import HASH_BYTES

Line = dict[str, Any]

_LARGEST: Final = 2**63

_TOLD: Final = 1000
"""Lines between two calls of `progress`."""


class NotAnExport(Exception):
    """The input is not an export of a log, from its first line on."""


def check_export(
    lines: Iterable[str],
    *,
    keys: Sequence[NoteKey] = (),
    against: Sequence[Note] = (),
    progress: Callable[[int, int], object] | None = None,
) -> Checked:
    """Check an export, and return the result. Without `keys`, the keys that the export itself names are trusted.

    `progress` is called now and then with the number of entries done, and their total.

    Errors: `Tampered`; `NotAnExport`; `BadNote` for a checkpoint of another log.
    """
    rest = iter(lines)
    size, declared = _head(next(rest, ""))
    check = LogCheck(verify_signature, keys or declared, declared=not keys, against=against)
    for number, line in enumerate(rest, start=1):
        _take(check, line)
        if progress is not None and number % _TOLD == 0:
            progress(check.frontier.size, max(size, check.frontier.size))
    checked = check.end()
    if checked.size != size:
        raise Tampered(f"The export states {size} entries, but has {checked.size}", index=min(size, checked.size))
    return checked


def _head(line: str) -> tuple[int, list[NoteKey]]:
    try:
        head = _read(line)
        if head["ubr_log"] != EXPORT_VERSION:
            raise NotAnExport("The export has an unknown version")
        return _number(head["size"]), [NoteKey.parse(key) for key in head["keys"]]
    except (BadNote, KeyError, TypeError, ValueError, AttributeError):
        raise NotAnExport("This is not an export of a log: its first line is not a valid header") from None


def _take(check: LogCheck, line: str) -> None:
    """Check a line with an entry or a checkpoint. Errors: `Tampered`."""
    at = check.frontier.size
    try:
        record = _read(line)
        if "checkpoint" in record:
            size, note = _number(record["size"]), str(record["checkpoint"])
            leaf = None
        else:
            leaf, size, note = _leaf(record), 0, ""
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Tampered(f"The record in place of entry {at} cannot be read", index=at) from None
    if leaf is None:
        check.checkpoint(size, note)
    else:
        check.leaf(leaf)


def _leaf(record: Line) -> Leaf:
    """Errors: `ValueError`, `KeyError`, `TypeError`."""
    hashed, raw = bytes.fromhex(record["leaf"]), record["entry"]
    if len(hashed) != HASH_BYTES:
        raise ValueError("A leaf is a hash")
    entry, readable = None, True
    if raw is None and "client_ip" in record:
        raise ValueError("Nothing proves the client IP of a pruned entry")
    if raw is not None:
        try:
            entry = replace(LogEntry.imported(raw), client_ip=_client_ip(record))
        except ValueError:
            readable = False
    return Leaf(
        index=_number(record["index"]), entry_id=UUID(record["id"]), hash=hashed, entry=entry, readable=readable
    )


def _client_ip(record: Line) -> ClientIp | None:
    """The client IP beside an entry; None if it was erased. Errors: `ValueError`."""
    if "client_ip" not in record:
        return None
    raw = record["client_ip"]
    if not isinstance(raw, dict) or set(raw) != {"ip", "salt"} or not all(isinstance(v, str) for v in raw.values()):
        raise ValueError("This is not a client IP")
    salt = bytes.fromhex(raw["salt"])
    if salt.hex() != raw["salt"]:
        raise ValueError("This is not a client IP")
    return ClientIp(ip=raw["ip"], salt=salt)


def _number(raw: object) -> int:
    """Errors: `ValueError` unless it is an integer that a log can have."""
    if type(raw) is not int or not 0 <= raw < _LARGEST:
        raise ValueError("This is not a number of entries")
    return raw


def _read(line: str) -> Line:
    """Errors: `ValueError`, also for a duplicate name, because one of its values would be ignored."""
    try:
        found = json.loads(line, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("A line is not nested that deep") from None
    if not isinstance(found, dict):
        raise ValueError("A line is an object")  # noqa: TRY004 - callers handle one error
    return found


def _once(pairs: list[tuple[str, Any]]) -> Line:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("A name occurs twice")
    return found
