from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec

from ubr.application.access.authorization import Authority, Authorize
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import EXAMPLE_EMAIL, EXAMPLE_ID, Id, Timestamp, example
from ubr.application.kernel.paging import walk
from ubr.application.kernel.representations import (
    GrantResult,
    LogEntryResult,
    MachineKeyResult,
    UserResult,
    grant_result,
    log_entry_result,
    machine_key_result,
    present_user,
)
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog, LogFilter
from ubr.application.ports.paging import After
from ubr.application.ports.personal_data import PersonalRecords
from ubr.application.ports.revocation import ChangeFeed
from ubr.application.ports.system import Clock
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.application.protection.account_locks import AccountLocks
from ubr.application.protection.rate_limits import RateLimiter
from ubr.application.revocation.follow_revocations import leases_of
from ubr.domain.accounts.one_time_link import LinkKind, OneTimeLink
from ubr.domain.accounts.user import REAUTHENTICATION, User
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.audit.entry import LogEntry
from ubr.domain.errors import ReauthenticationRequired, UserNotFound
from ubr.domain.events import UserExported
from ubr.domain.ids import SessionId, UserId
from ubr.domain.machines.key import MachineKey
from ubr.domain.mail.kinds import MailKind
from ubr.domain.mail.queued_mail import QueuedMail
from ubr.domain.roles.permissions import LOGS_READ, SESSIONS_READ, USERS_READ
from ubr.domain.sessions.session import Session, SessionKind

USER_EXPORT_VERSION: Final = 1
"""Version of the document. A change that a reader of the previous version cannot ignore gets a new one."""

PAGE: Final = 500
"""The log entries, and the sessions, that are read at a time."""

_NEEDED: Final = (USERS_READ, SESSIONS_READ, LOGS_READ)
_STREAMED: Final = b'"sessions":[],"acts":[],"acts_upon":[]}'
"""The end of an encoded document without sessions and entries."""


class ExportUserCommand(Command, frozen=True, kw_only=True):
    user_id: UUID


class FormerEmailResult(Result, frozen=True, kw_only=True):
    """An e-mail, in canonical form, that the user gave up. No other user can take it before `reserved_until`."""

    email: Annotated[str, example(EXAMPLE_EMAIL)]
    reserved_until: Timestamp


class HeldLinkResult(Result, frozen=True, kw_only=True):
    """A one-time link that was mailed, without its token: only a digest of that is stored."""

    kind: Annotated[LinkKind, example("password_reset")]
    email: Annotated[str, example(EXAMPLE_EMAIL)]
    full_name: Annotated[str | None, example(None)]
    created_at: Timestamp
    expires_at: Timestamp


class HeldMailResult(Result, frozen=True, kw_only=True):
    """A mail that is not sent yet. `ip` is the client IP of the request for it, unless it is that of another user."""

    kind: Annotated[MailKind, example("password_reset")]
    email: Annotated[str, example(EXAMPLE_EMAIL)]
    new_email: Annotated[str | None, example(None)]
    full_name: Annotated[str | None, example(None)]
    ip: Annotated[str | None, example("192.0.2.1")]
    created_at: Timestamp
    given_up: Annotated[bool, example(False)]


class HeldResultsResult(Result, frozen=True, kw_only=True):
    """The stored results of calls with an idempotency key, by the user or about the user."""

    count: Annotated[int, example(0)]
    until: Annotated[Timestamp | None, example(None)]


class HeldSessionResult(Result, frozen=True, kw_only=True):
    """`ended_at` is null for a session that was not ended before it expires."""

    id: Id
    kind: Annotated[SessionKind, example("tokens")]
    created_at: Timestamp
    last_seen_at: Timestamp
    expires_at: Annotated[Timestamp, example("2026-02-14T12:00:00Z")]
    ended_at: Annotated[Timestamp | None, example(None)]
    ip: Annotated[str | None, example("192.0.2.1")]
    user_agent: Annotated[str | None, example("curl/8.5.0")]


class HeldKeyResult(MachineKeyResult, frozen=True, kw_only=True):
    """A key of a machine, without its text and its digest. `scope` is null for all permissions of the machine."""


class UserExportResult(Result, frozen=True, kw_only=True):
    """Everything that is stored about a user, but no secret and no hash.

    `ubr_user_export` is the version of this document. `roles` includes grants that have ended. `known_clients` are the
    times at which clients last logged in; the clients themselves are stored as HMACs. `verifiers` are the leases of
    services that follow revocations as this user. `keys` are those of a machine, and people have none. `acts` are the
    audit log entries of the user's own acts, `acts_upon` those about the user: the client IP, the request id and the
    session of another user's act are omitted. Entries are newest first.
    """

    ubr_user_export: Annotated[Literal[1], example(USER_EXPORT_VERSION)]
    exported_at: Timestamp
    user: UserResult
    has_password: Annotated[bool, example(True)]
    wrong_passwords: Annotated[int, example(0)]
    former_emails: Annotated[list[FormerEmailResult], example([])]
    roles: Annotated[list[GrantResult], example([])]
    known_clients: Annotated[list[Timestamp], example([])]
    links: Annotated[list[HeldLinkResult], example([])]
    mails: Annotated[list[HeldMailResult], example([])]
    idempotency_keys: HeldResultsResult
    verifiers: Annotated[list[UUID], example([EXAMPLE_ID])]
    keys: Annotated[list[HeldKeyResult], example([])]
    sessions: Annotated[list[HeldSessionResult], example([])]
    acts: Annotated[list[LogEntryResult], example([])]
    acts_upon: Annotated[list[LogEntryResult], example([])]


class ExportUser(msgspec.Struct, frozen=True):
    """Export everything that is stored about a user, as one JSON document (GDPR, articles 15 and 20).

    - Users may export their own data within 10 minutes of login; otherwise it requires `users:read`, `sessions:read`
      and `logs:read`.
    - The export is an audit log entry itself, written before the answer.
    - No secret, no hash, and no client IP of another user.
    - All fields of the host, also those that the user may not read otherwise, and those no longer declared.
    - Returns the document in parts. Each part with sessions or log entries is read in a unit of its own.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    clock: Clock
    locks: AccountLocks
    rate_limiter: RateLimiter
    feed: ChangeFeed
    denials: DenialLog
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: ExportUserCommand, /, *, actor: Actor | System) -> AsyncIterator[bytes]:
        """Errors while the parts are read: `StoreUnavailable`."""
        user_id = UserId(command.user_id)
        who = await self.authorize(actor)
        self._check(who, user_id)
        if who.is_user(user_id):
            await self.rate_limiter.own_change(user_id)
        leases = leases_of(user_id, await self.feed.workers())
        async with self.unit_of_work.begin(actor) as tx:
            user = await tx.users.get(user_id)
            if user is None:
                raise UserNotFound
            begun = await self._begun(tx, user, leases)
            tx.record(UserExported(user_id=user_id))
            await tx.commit()
        return self._parts(user_id, begun)

    def _check(self, who: Authority, user_id: UserId) -> None:
        machine = who.principal is not None and who.principal.user.is_machine
        if machine or not who.is_user(user_id) or all(map(who.permissions.allow, _NEEDED)):
            who.require(*_NEEDED)
        elif who.principal is not None and self.clock() - who.principal.session.created_at > REAUTHENTICATION:
            raise ReauthenticationRequired

    async def _begun(self, tx: Transaction, user: User, leases: Iterable[UUID]) -> bytes:
        """The document without sessions and entries, up to the first of their fields."""
        records = await tx.personal_data.of(user)
        failed = await self.locks.failed(tx, user.email)
        roles = {role.id: str(role.name) for role in await tx.roles.many(user.grants)}
        document = UserExportResult(
            ubr_user_export=USER_EXPORT_VERSION,
            exported_at=tx.now,
            user=await present_user(tx, user, self.user_fields.in_export),
            has_password=user.password_hash is not None,
            wrong_passwords=0 if failed is None else failed.count,
            former_emails=[FormerEmailResult(email=e.key, reserved_until=e.until) for e in records.former_emails],
            roles=sorted(
                (grant_result(roles[id], grant) for id, grant in user.grants.items() if id in roles),
                key=lambda grant: (grant.granted_at, grant.role),
            ),
            known_clients=list(records.known_clients),
            links=[_link(link) for link in records.links],
            mails=[_mail(mail, user) for mail in records.mails],
            idempotency_keys=_results(records),
            verifiers=list(leases),
            keys=[machine_key_result(HeldKeyResult, key) async for key in _keys(tx, user.id)],
            sessions=[],
            acts=[],
            acts_upon=[],
        )
        return msgspec.json.encode(document).removesuffix(_STREAMED)

    async def _parts(self, user_id: UserId, begun: bytes) -> AsyncIterator[bytes]:
        yield begun
        acts = self._entries(LogFilter(actor_id=user_id), lambda _: True, user_id)
        upon = self._entries(LogFilter(target_id=str(user_id)), lambda entry: entry.actor_id != user_id, user_id)
        for before, items in (
            (b'"sessions":[', self._sessions(user_id)),
            (b'],"acts":[', acts),
            (b'],"acts_upon":[', upon),
        ):
            async for part in _listed(before, items):
                yield part
        yield b"]}"

    async def _sessions(self, user_id: UserId) -> AsyncIterator[HeldSessionResult]:
        after: SessionId | None = None
        while True:
            async with self.unit_of_work.peek() as tx:
                page = await tx.personal_data.sessions(user_id, after, PAGE)
            for session in page:
                yield _session(session)
            if len(page) < PAGE:
                return
            after = page[-1].id

    async def _entries(
        self, which: LogFilter, wanted: Callable[[LogEntry], bool], user_id: UserId
    ) -> AsyncIterator[LogEntryResult]:
        async def page(after: After[datetime] | None) -> list[LogEntry]:
            async with self.unit_of_work.peek() as tx:
                return await tx.logs.page(which, after, PAGE)

        async for entry in walk(page, lambda entry: After(entry.timestamp, entry.id), limit=PAGE):
            if wanted(entry):
                yield _entry(entry, user_id)


async def _keys(tx: Transaction, user_id: UserId) -> AsyncIterator[MachineKey]:
    """The keys of a machine, ended ones included, newest first."""

    async def page(after: After[datetime] | None) -> list[MachineKey]:
        return await tx.machine_keys.page(user_id, after, PAGE)

    async for key in walk(page, lambda key: After(key.created_at, key.id), limit=PAGE):
        yield key


async def _listed(before: bytes, items: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """The items of a list, in parts of about a page."""
    part = [before]
    separator = b""
    async for item in items:
        part += (separator, msgspec.json.encode(item))
        separator = b","
        if len(part) > 2 * PAGE:
            yield b"".join(part)
            part = []
    yield b"".join(part)


def _entry(entry: LogEntry, user_id: UserId) -> LogEntryResult:
    """The entry, without the origin and the session of another user's act: they are the other user's personal data."""
    result = log_entry_result(entry)
    if entry.actor_id in {None, user_id}:
        return result
    return msgspec.structs.replace(result, ip=None, request_id=None, session_id=None)


def _link(link: OneTimeLink) -> HeldLinkResult:
    return HeldLinkResult(
        kind=link.kind,
        email=link.email.address,
        full_name=link.full_name,
        created_at=link.created_at,
        expires_at=link.expires_at,
    )


def _mail(mail: QueuedMail, user: User) -> HeldMailResult:
    return HeldMailResult(
        kind=mail.kind,
        email=mail.email.address,
        new_email=mail.new_email,
        full_name=mail.full_name,
        ip=None if _is_of_an_operator(mail, user) else mail.ip,
        created_at=mail.created_at,
        given_up=mail.dead,
    )


def _is_of_an_operator(mail: QueuedMail, user: User) -> bool:
    """True if another user requested it. A user gets a verification by registering, or asks for it by their e-mail."""
    if mail.kind is MailKind.VERIFICATION:
        return mail.user_id is not None and mail.created_at != user.created_at
    return mail.kind in {MailKind.INVITATION, MailKind.EMAIL_REPLACED}


def _results(records: PersonalRecords) -> HeldResultsResult:
    return HeldResultsResult(count=records.results, until=records.results_until)


def _session(session: Session) -> HeldSessionResult:
    return HeldSessionResult(
        id=session.id,
        kind=session.kind,
        created_at=session.created_at,
        last_seen_at=session.last_seen_at,
        expires_at=session.usable_until,
        ended_at=session.ended_at,
        ip=session.ip,
        user_agent=session.user_agent,
    )
