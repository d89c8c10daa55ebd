from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.audit.sequencer import current_checkpoint
from ubr.application.kernel.command import Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.secret_check import locked_keys, locked_log_key
from ubr.application.operations.initialize import locked_hashes
from ubr.application.ports.accounts import PasswordHasher
from ubr.application.ports.audit import Backlog, DenialLog, LogSigning
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.audit.checkpoint import BadNote, Checkpoint
from ubr.domain.errors import LogDamaged
from ubr.domain.ids import UserId
from ubr.domain.keys.signing_key import signer
from ubr.domain.machines.key import MachineKey
from ubr.domain.roles.permissions import EVERYTHING
from ubr.domain.roles.role import ADMIN_ROLE_ID

LOOKED_AT: Final = 200
"""Maximum number of queued mails of each state that are looked at."""

KEYS_LOOKED_AT: Final = 500
"""Maximum number of keys of machines that are looked at, the oldest first."""

UNUSED: Final = timedelta(days=90)
"""The time without a login after which a key may be forgotten."""

ENDING: Final = timedelta(days=14)
"""The time before the end of a key in which it should be replaced."""


class KeysInspection(Result, frozen=True, kw_only=True):
    """The signing keys. `signing` is the `kid` of the key that signs since `since`; null without one.

    `locked` are the `kid` of the keys in use that no secret decrypts.
    """

    signing: str | None
    since: datetime | None
    locked: list[str]


class LogInspection(Result, frozen=True, kw_only=True):
    """The audit log. `size` is that of the newest checkpoint; null if nothing was signed yet.

    `damage` is a sentence about stored data that this service cannot have written. `locked` is the label of the newest
    key if no secret decrypts it. `waiting` entries are not signed yet, the oldest since `waiting_since`.
    """

    keys: int
    locked: str | None
    size: int | None
    damage: str | None
    waiting: int
    waiting_since: datetime | None


class OutboxInspection(Result, frozen=True, kw_only=True):
    """The queued mails, the 200 oldest of each state. `due_since` is the time since which a mail should have been sent.

    `given_up` mails are not retried.
    """

    waiting: int
    due_since: datetime | None
    given_up: int


class KeyToReview(Result, frozen=True, kw_only=True):
    """A key of a machine that an operator should look at."""

    machine: str
    id: UUID
    last_used_at: datetime | None
    expires_at: datetime | None


class MachineKeysInspection(Result, frozen=True, kw_only=True):
    """The keys of machines that are accepted, of the 500 oldest keys.

    `lasting` have no end. `unused` were not used for 90 days. `ending` end within 14 days, and their machines have no
    key that lasts longer.
    """

    accepted: int
    lasting: list[KeyToReview]
    unused: list[KeyToReview]
    ending: list[KeyToReview]


class InspectionResult(Result, frozen=True, kw_only=True):
    """The state of an installation at the time `now`, by the clock of the store.

    `prepared` is false until the first process has created the built-in roles and keys. `administrator` is true if an
    active user is one without an end. `locked_passwords` counts the password hashes that no secret decrypts, of the
    `passwords` of the oldest users. Not every user is indexed by `unindexed_fields`, by which a search is refused.
    """

    now: datetime
    prepared: bool
    administrator: bool
    keys: KeysInspection
    log: LogInspection
    outbox: OutboxInspection
    machine_keys: MachineKeysInspection
    locked_passwords: int
    passwords: int
    unindexed_fields: list[str]


class InspectInstallation(msgspec.Struct, frozen=True):
    """Read the state of keys, audit log, administrators and outbox, for an operator. Changes nothing.

    - Requires `*`.
    - Works if the secrets decrypt none of the keys, and if the audit log is damaged.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    access_tokens: AccessTokens
    log_signing: LogSigning
    hasher: PasswordHasher
    new_id: NewId
    denials: DenialLog
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    async def __call__(self, *, actor: Actor | System) -> InspectionResult:
        (await self.authorize(actor)).require(EVERYTHING)
        async with self.unit_of_work.read() as tx:
            keys, log = await self._keys(tx), await self._log(tx)
            locked, users = await locked_hashes(tx, self.hasher)
            return InspectionResult(
                now=tx.now,
                prepared=keys.signing is not None and log.keys > 0 and await tx.roles.get(ADMIN_ROLE_ID) is not None,
                administrator=await tx.users.another_admin_stays(UserId(self.new_id())),
                keys=keys,
                log=log,
                outbox=await _outbox(tx),
                machine_keys=await _machine_keys(tx),
                locked_passwords=locked,
                passwords=users,
                unindexed_fields=self.user_fields.index.lacking(await tx.users.indexes()),
            )

    async def _keys(self, tx: Transaction) -> KeysInspection:
        keys = await tx.signing_keys.all()
        accepted = [key for key in keys if key.accepted_at(tx.now)]
        signing = signer(keys, tx.now)
        return KeysInspection(
            signing=None if signing is None else signing.kid,
            since=None if signing is None else signing.signs_from,
            locked=locked_keys(self.access_tokens, accepted),
        )

    async def _log(self, tx: Transaction) -> LogInspection:
        keys = await tx.log_keys.all()
        size, damage, backlog = None, None, Backlog()
        try:
            backlog = await tx.log_tree.backlog()
            if (await tx.log_tree.state()).size:
                size = Checkpoint.of(await current_checkpoint(tx)).size
        except BadNote as error:
            damage = f"The newest checkpoint {error}"
        except LogDamaged as error:
            damage = error.detail
        return LogInspection(
            keys=len(keys),
            locked=locked_log_key(self.log_signing, keys),
            size=size,
            damage=damage,
            waiting=backlog.entries,
            waiting_since=backlog.oldest,
        )


async def _machine_keys(tx: Transaction) -> MachineKeysInspection:
    keys = [key for key in await tx.machine_keys.every(None, KEYS_LOOKED_AT) if key.accepted_at(tx.now)]

    async def review(wanted: list[MachineKey]) -> list[KeyToReview]:
        found = []
        for key in wanted:
            machine = await tx.machines.get(key.user_id)
            name = str(key.user_id) if machine is None else str(machine.name)
            found.append(KeyToReview(machine=name, id=key.id, last_used_at=key.last_used_at, expires_at=key.expires_at))
        return found

    def has_successor(key: MachineKey) -> bool:
        return any(
            other.user_id == key.user_id and (other.expires_at is None or other.expires_at - tx.now > ENDING)
            for other in keys
        )

    unused = [key for key in keys if tx.now - (key.last_used_at or key.created_at) > UNUSED]
    ending = [key for key in keys if key.expires_at is not None and key.expires_at - tx.now <= ENDING]
    return MachineKeysInspection(
        accepted=len(keys),
        lasting=await review([key for key in keys if key.expires_at is None]),
        unused=await review(unused),
        ending=await review([key for key in ending if not has_successor(key)]),
    )


async def _outbox(tx: Transaction) -> OutboxInspection:
    waiting = await tx.outbox.page(None, LOOKED_AT, dead=False)
    given_up = await tx.outbox.page(None, LOOKED_AT, dead=True)
    return OutboxInspection(
        waiting=len(waiting),
        due_since=min((queued.next_try_at for queued in waiting if queued.next_try_at <= tx.now), default=None),
        given_up=len(given_up),
    )
