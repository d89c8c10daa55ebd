"""The small files that are kept beside a log: keys and checkpoints."""

from __future__ import annotations

from pathlib import Path

from ubr.domain.audit.checkpoint import MAX_NOTE_BYTES, BadNote, Note, NoteKey


def read_keys(path: Path) -> list[NoteKey]:
    """The keys in a file, one per line. Errors: `BadNote`, `OSError`."""
    keys = [NoteKey.parse(line.strip()) for line in _text(path).splitlines() if line.strip()]
    if not keys:
        raise BadNote("contains no key")
    return keys


def read_note(path: Path) -> Note:
    """The checkpoint in a file. Errors: `BadNote`, `OSError`."""
    return Note.parse(_text(path))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(MAX_NOTE_BYTES + 1)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadNote("is not UTF-8") from None
