from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from ubr.application.access.session_cache import SessionCache
from ubr.application.audit.sequencer import Sequencer
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.kernel.secret_check import in_use, require_one_open
from ubr.application.ports.audit import DenialLog, LogSigning
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.one_time_link import UNDO_LIFETIME
from ubr.domain.actor import System
from ubr.domain.audit.checkpoint import BadNote, Note
from ubr.domain.errors import Forbidden, Invalid
from ubr.domain.events import Restored, SigningKeyCreated, SigningKeyRevoked
from ubr.domain.ids import SessionId

_BATCH: Final = 10_000


class AcknowledgeRestoreCommand(Command, frozen=True, kw_only=True):
    """`checkpoint` is the newest one saved outside the database; the default is the database's own.

    `lost_secret` confirms that the secret which encrypted the keys in the database is lost, and that a new one is used.
    """

    checkpoint: str | None = None
    lost_secret: bool = False


class AcknowledgedRestoreResult(Result, frozen=True, kw_only=True):
    """`key` signs the log from now on. `sessions` is the number of ended sessions."""

    key: str
    sessions: int


class AcknowledgeRestore(msgspec.Struct, frozen=True):
    """Acknowledge that the database was restored to an earlier state: credentials of that state become invalid.

    - Only the service itself may, while no instance runs.
    - Ends every session, invalidates every one-time link and revokes every signing key: credentials revoked since
      the backup must not become valid again. Queued mails are not sent.
    - The change feed gets a new epoch, so that every session cache is dropped.
    - The audit log continues under a new origin and key. The entry about this names the previous checkpoint: the
      entries in between are lost, and are not signed a second time under the old name.
    - Refused before any change if no secret decrypts a key in use, unless `lost_secret` is set.
    - It can be repeated, also after an interruption.
    """

    unit_of_work: UnitOfWork
    access_tokens: AccessTokens
    signing: LogSigning
    sequencer: Sequencer
    session_cache: SessionCache
    denials: DenialLog

    @denials_recorded
    async def __call__(self, command: AcknowledgeRestoreCommand, /, *, actor: System) -> AcknowledgedRestoreResult:
        """Errors: `Invalid` unless the text is a checkpoint; `SecretMismatch`; `LogDamaged` if the log differs from the
        signed one.
        """
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may acknowledge a restore")
        if command.checkpoint is not None:
            try:
                Note.parse(command.checkpoint)
            except BadNote as error:
                raise Invalid.at("/checkpoint", str(error)) from None
        if not command.lost_secret:
            await self._check_secret()
        sessions, last = 0, None
        while ended := await self._end_sessions(actor, last):
            sessions += len(ended)
            last = ended[-1]
        while await self._forget_links(actor) or await self._forget_queued_mails(actor):
            pass
        while await self._forget_reservations(actor):
            pass
        key = await self._settle(command.checkpoint, actor)
        await self.session_cache.poll_feed()  # an embedding program continues with the same cache
        await self.sequencer(wait=True)
        return AcknowledgedRestoreResult(key=key, sessions=sessions)

    async def _check_secret(self) -> None:
        async with self.unit_of_work.read() as tx:
            used = in_use(await tx.signing_keys.all(), tx.now)
            require_one_open(
                *(partial(self.access_tokens.check, key) for key in used),
                *(partial(self.signing.check, key) for key in (await tx.log_keys.all())[-1:]),
            )

    @retry_on_conflict
    async def _end_sessions(self, actor: System, after: SessionId | None) -> list[SessionId]:
        async with self.unit_of_work.begin(actor) as tx:
            ended = await tx.sessions.end_any(tx.now, _BATCH, after=after)
            await tx.commit()
        return ended

    @retry_on_conflict
    async def _forget_links(self, actor: System) -> int:
        async with self.unit_of_work.begin(actor) as tx:
            forgotten = await tx.links.forget_all(_BATCH)
            await tx.commit()
        return forgotten

    @retry_on_conflict
    async def _forget_reservations(self, actor: System) -> int:
        async with self.unit_of_work.begin(actor) as tx:
            forgotten = await tx.users.forget_reservations(tx.now + 2 * UNDO_LIFETIME, _BATCH)
            await tx.commit()
        return forgotten

    @retry_on_conflict
    async def _forget_queued_mails(self, actor: System) -> int:
        async with self.unit_of_work.begin(actor) as tx:
            forgotten = await tx.outbox.forget_all(_BATCH)
            await tx.commit()
        return forgotten

    @retry_on_conflict
    async def _settle(self, checkpoint: str | None, actor: System) -> str:
        async with self.unit_of_work.begin(actor) as tx:
            for key in await tx.signing_keys.all_to_change():
                if not key.revoked:
                    await tx.signing_keys.save(self.access_tokens.revoke(key, tx.now))
                    tx.record(SigningKeyRevoked(kid=key.kid))
            made = self.access_tokens.generate(tx.now)
            await tx.signing_keys.add(made)
            tx.record(SigningKeyCreated(kid=made.kid))
            await tx.begin_epoch()
            known = await tx.log_keys.all_to_change()
            new = self.signing.generate(tx.now, known[-1] if known else None, anew=True)
            await tx.log_keys.add(new)
            tx.record(
                Restored(
                    label=new.label,
                    key=str(new),
                    before=str(known[-1]) if known else "",
                    checkpoint=checkpoint or await tx.log_tree.newest_checkpoint(),
                )
            )
            await tx.commit()
        return str(new)
