"""The audit log: entries with filters, the proof of one, and the checkpoint."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.audit.prove_log_entry import ProofResult, ProveLogEntryCommand
from ubr.application.kernel.representations import LogEntryResult, Page
from ubr.domain.audit.checkpoint import BadNote, Checkpoint, Note, NoteKey, VerifySignature
from ubr.domain.audit.merkle import BadProof, leaf_hash, root_by_inclusion
from ubr.domain.errors import Invalid, UbrError
from ubr.domain.events import actions
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages.console.acts import moment_of
from ubr.entrypoints.http.pages.console.desk import LIMIT, Desk, at_the_desk
from ubr.entrypoints.http.pages.page import PageController, page_operation
from ubr.entrypoints.http.query import ID
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import get

_FILTERS: Final = (
    "level",
    "action",
    "actor_id",
    "target_id",
    "request_id",
    "session_id",
    "since",
    "until",
    "cursor",
)
_FIELDS: Final = (
    "id",
    "level",
    "action",
    "message",
    "timestamp",
    "actor id",
    "target type",
    "target id",
    "client IP (digest)",
    "request id",
    "request id given",
    "data",
    "salt",
)
"""The fields of the canonical bytes, in their order."""
_LENGTH: Final = 4
_ABSENT: Final = b"\xff" * _LENGTH


class Checks(msgspec.Struct, frozen=True):
    """The results of checking a proof. `signer` is the key whose signature over the checkpoint is valid."""

    leaf: bool | None
    root: bool
    signer: str | None

    @property
    def good(self) -> bool:
        return self.leaf is not False and self.root and self.signer is not None


class LogDesk(PageController):
    @get("/console/log", page_operation("get_console_log"))
    @at_the_desk
    async def log(self, desk: Desk) -> Response:
        filters = desk.filters(*_FILTERS)
        entries: Page[LogEntryResult] = Page(items=[], next_cursor=None)
        error: UbrError | None = None
        try:
            entries = await desk.call.ubr.list_logs(_command(filters), actor=desk.actor)
        except Invalid as wrong:
            error = wrong
        return await desk.show(
            "log.html",
            "log",
            form=filters,
            error=error,
            entries=entries,
            actions=sorted(actions()),
            **desk.links(filters, entries.next_cursor),
        )

    @get("/console/log/checkpoint", page_operation("get_console_checkpoint"))
    @at_the_desk
    async def checkpoint(self, desk: Desk) -> Response:
        checkpoint = await desk.call.ubr.get_checkpoint(actor=desk.actor)
        keys = await desk.call.ubr.list_log_keys(actor=desk.actor)
        signer = _signer(Note.parse(checkpoint.note), [key.key for key in keys], desk.call.ubr.verify_log.verify)
        return await desk.show("checkpoint.html", "log", checkpoint=checkpoint, keys=keys, signer=signer)

    @get("/console/log/{entry_id}", page_operation("get_console_log_entry"))
    @at_the_desk
    async def entry(self, desk: Desk) -> Response:
        ubr = desk.call.ubr
        proof = await ubr.prove_log_entry(ProveLogEntryCommand(entry_id=desk.call.id("entry_id")), actor=desk.actor)
        keys = [key.key for key in await ubr.list_log_keys(actor=desk.actor)]
        note = Note.parse(proof.checkpoint)
        return await desk.show(
            "entry.html",
            "log",
            proof=proof,
            root=base64.b64encode(Checkpoint.of(note).root).decode(),
            fields=[] if proof.content is None else list(_fields(base64.b64decode(proof.content))),
            checks=checked(proof, note, keys, ubr.verify_log.verify),
        )


def _command(filters: Form) -> ListLogsCommand:
    ids = {name: filters.get(name) for name in ("actor_id", "session_id") if filters.get(name)}
    for name, text in ids.items():
        if not ID.fullmatch(text):
            raise Invalid.at(f"/{name}", "is not an id")
    return filters.command(
        ListLogsCommand, limit=LIMIT, since=moment_of(filters, "since"), until=moment_of(filters, "until")
    )


def checked(proof: ProofResult, note: Note, keys: Sequence[str], verify: VerifySignature) -> Checks:
    """Recompute a proof: the leaf from the content, the root from the leaf, and the signature of the root."""
    leaf, checkpoint = base64.b64decode(proof.leaf_hash), Checkpoint.of(note)
    hashes = [base64.b64decode(each) for each in proof.hashes]
    try:
        root = root_by_inclusion(leaf, proof.index, proof.size, hashes) == checkpoint.root
    except BadProof:
        root = False
    return Checks(
        leaf=None if proof.content is None else leaf_hash(base64.b64decode(proof.content)) == leaf,
        root=root and proof.size == checkpoint.size,
        signer=_signer(note, keys, verify),
    )


def _signer(note: Note, keys: Sequence[str], verify: VerifySignature) -> str | None:
    """The first of these keys whose signature is valid; None if another signature of one of them is not."""
    found = None
    try:
        for text in keys:
            key = NoteKey.parse(text)
            if note.signed_by(key, verify):
                found = found or key.label
    except BadNote:
        return None
    return found


def _fields(content: bytes) -> Iterator[tuple[str, str]]:
    """Name and text of each field of the canonical bytes that is not absent. The salt is shown in hexadecimal."""
    place = 1  # after the version
    for name in _FIELDS:
        head = content[place : place + _LENGTH]
        place += _LENGTH
        if head == _ABSENT:
            continue
        raw = content[place : place + int.from_bytes(head, "big")]
        place += len(raw)
        if name == "salt":
            yield name, raw.hex()
        elif name == "data":
            yield name, json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
        else:
            yield name, raw.decode()
