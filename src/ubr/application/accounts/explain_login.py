from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias
from uuid import UUID

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.access.field_access import administrating
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import EXAMPLE_EMAIL, EXAMPLE_ID, EmailStr, Timestamp, example
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import UserResult, log_entry_result, present_user
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.accounts import PasswordHasher
from ubr.application.ports.audit import DenialLog, LogFilter
from ubr.application.ports.protection import Decision
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.application.protection.account_locks import AccountLock, AccountLocks
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.one_time_link import LinkKind
from ubr.domain.accounts.user import User
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.audit.entry import LogEntry
from ubr.domain.errors import Invalid, StoreUnavailable, UserNotFound
from ubr.domain.events import LogInFailed, LogRead, SessionOpened
from ubr.domain.ids import UserId
from ubr.domain.roles.permissions import LOGS_READ, USERS_READ

MAX_FAILED_LOGINS: Final = 10
"""The failed logins that an explanation lists, the newest."""

_EXAMPLE_TIME: Final = "2026-01-31T12:00:00Z"
_EXAMPLE_USER: Final = {
    "id": EXAMPLE_ID,
    "email": EXAMPLE_EMAIL,
    "full_name": "Ada Lovelace",
    "status": "active",
    "email_verified": False,
    "roles": ["user"],
    "created_at": _EXAMPLE_TIME,
    "updated_at": _EXAMPLE_TIME,
    "kind": "person",
}

LoginObstacle: TypeAlias = Literal[
    "no_account", "disabled", "no_password", "unreadable_password", "locked", "login_limit"
]
"""Why a login with the right password fails.

`unreadable_password`: the hash was encrypted with a secret that this process does not have. `locked`: too many wrong
passwords; a client that is known to the account is exempt unless it has a lock itself. `login_limit`: too many logins.
"""


class ExplainLoginCommand(Command, frozen=True, kw_only=True):
    """Exactly one of the two: an e-mail, which need not have an account, or the id of a user."""

    email: Annotated[EmailStr | None, example(EXAMPLE_EMAIL)] = None
    user_id: UUID | None = None


class LoginLockResult(Result, frozen=True, kw_only=True):
    """`ip` is null for the lock of the account, and a client IP for the lock of a client that is known to it."""

    until: Timestamp
    ip: Annotated[str | None, example("192.0.2.1")]


class FailedLoginResult(Result, frozen=True, kw_only=True):
    """`reason` is `wrong_password`, `disabled` or `no_password`."""

    timestamp: Timestamp
    reason: Annotated[str, example("wrong_password")]
    ip: Annotated[str | None, example("192.0.2.1")]


class LoginExplanationResult(Result, frozen=True, kw_only=True):
    """`obstacles` is empty if the right password succeeds.

    `user` is null if no account has the e-mail; the fields about an account are then null, 0 or empty. `max_…` is null
    without a limit. `reserved_for` is the user who gave up the e-mail, for whom it is reserved until `reserved_until`.
    `registration_until` is set while a mailed link can finish a registration. `remaining_logins` is null without a
    limit, and if the count cannot be read; `next_login_at` is set if none remains.
    """

    email: Annotated[str, example(EXAMPLE_EMAIL)]
    obstacles: Annotated[list[LoginObstacle], example(["locked"])]
    user: Annotated[UserResult | None, example(_EXAMPLE_USER)]
    registration: Annotated[Literal["open", "verified", "closed"], example("open")]
    reserved_for: Annotated[UUID | None, example(None)]
    reserved_until: Annotated[Timestamp | None, example(None)]
    registration_until: Annotated[Timestamp | None, example(None)]
    last_login_at: Annotated[Timestamp | None, example(_EXAMPLE_TIME)]
    sessions: Annotated[int, example(1)]
    max_sessions: Annotated[int, example(50)]
    locks: Annotated[list[LoginLockResult], example([{"until": _EXAMPLE_TIME, "ip": None}])]
    wrong_passwords: Annotated[int, example(10)]
    max_wrong_passwords: Annotated[int | None, example(10)]
    remaining_logins: Annotated[int | None, example(100)]
    next_login_at: Annotated[Timestamp | None, example(None)]
    failed_logins: Annotated[
        list[FailedLoginResult],
        example([{"timestamp": _EXAMPLE_TIME, "reason": "wrong_password", "ip": "192.0.2.1"}]),
    ]


class ExplainLogin(msgspec.Struct, frozen=True):
    """Explain why logins with an e-mail, or of a user, fail, or that the right password succeeds.

    - Requires `users:read` and `logs:read`.
    - Changes nothing, and counts against no limit. No password is checked.
    - A limit that applies to a client IP, whatever its account, is not part of the answer.
    - The last login and the failed ones come from the audit log. That read is an audit log entry itself, written before
      the answer, as for every read of the log.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    locks: AccountLocks
    hasher: PasswordHasher
    policy: OperatorPolicy
    denials: DenialLog
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: ExplainLoginCommand, /, *, actor: Actor | System) -> LoginExplanationResult:
        if (command.email is None) == (command.user_id is None):
            raise Invalid.at("/email", "or user_id must be given, and not both")
        email = None if command.email is None else Email.parse(command.email)
        (await self.authorize(actor)).require(USERS_READ, LOGS_READ)
        async with self.unit_of_work.read() as tx:
            now = tx.now
            email, user = await _account(tx, email, command.user_id)
            locks = await self.locks.of(tx, email, user)
            failed = await self.locks.failed(tx, email)
            reserved = await tx.users.reserved(email, now)
            link = await tx.links.pending(LinkKind.REGISTRATION, email, now) if user is None else None
            sessions = 0 if user is None else await tx.sessions.count(user.id, now)
            last, failures = await _logins(tx, user)
            view = self.user_fields.seen_by(administrating(actor))
            shown = None if user is None else await present_user(tx, user, view)
        logins = await self._next_login(user)
        if user is not None:
            async with self.unit_of_work.begin(actor) as tx:
                tx.record(LogRead(filters={"target_id": str(user.id)}, entries=len(last) + len(failures)))
                await tx.commit()
        account = self.locks.passwords.rate_limiter.quotas.account
        return LoginExplanationResult(
            email=email.address,
            obstacles=self._obstacles(user, locks, logins),
            user=shown,
            registration=self.policy.registration,
            reserved_for=None if reserved is None else reserved.user_id,
            reserved_until=None if reserved is None else reserved.until,
            registration_until=None if link is None else link.expires_at,
            last_login_at=last[0].timestamp if last else None,
            sessions=sessions,
            max_sessions=self.policy.sessions.per_user,
            locks=[LoginLockResult(until=lock.until, ip=lock.ip) for lock in locks],
            wrong_passwords=0 if failed is None else failed.count,
            max_wrong_passwords=None if account is None else account.limit,
            remaining_logins=None if logins is None else logins.remaining,
            next_login_at=_next(logins, now),
            failed_logins=[_failed_login(entry) for entry in failures],
        )

    def _obstacles(
        self, user: User | None, locks: Sequence[AccountLock], logins: Decision | None
    ) -> list[LoginObstacle]:
        """Each reason, in the order in which a login meets it."""
        found: list[LoginObstacle] = []
        if any(lock.ip is None for lock in locks):
            found.append("locked")
        if user is None:
            return ["no_account", *found]
        if user.password_hash is None:
            found.append("no_password")
        elif self.hasher.lacks_secret(user.password_hash):
            found.append("unreadable_password")
        if not user.active:
            found.append("disabled")
        if logins is not None and not logins.allowed:
            found.append("login_limit")
        return found

    async def _next_login(self, user: User | None) -> Decision | None:
        try:
            return None if user is None else await self.locks.passwords.rate_limiter.next_login(user)
        except StoreUnavailable:  # the rest of the answer is worth more
            return None


async def _account(tx: Transaction, email: Email | None, user_id: UUID | None) -> tuple[Email, User | None]:
    """The user, if the e-mail has one. Errors: `UserNotFound` for an id that no user has."""
    if email is not None:
        return email, await tx.users.by_email(email)
    user = None if user_id is None else await tx.users.get(UserId(user_id))
    if user is None:
        raise UserNotFound
    return user.email, user


async def _logins(tx: Transaction, user: User | None) -> tuple[list[LogEntry], list[LogEntry]]:
    """The entry of the last login, and those of the last failed ones. Those of an unknown e-mail name no user."""
    if user is None:
        return [], []
    opened = LogFilter(action=SessionOpened.action, actor_id=user.id)
    failed = LogFilter(action=LogInFailed.action, target_id=str(user.id))
    return await tx.logs.page(opened, None, 1), await tx.logs.page(failed, None, MAX_FAILED_LOGINS)


def _failed_login(entry: LogEntry) -> FailedLoginResult:
    shown = log_entry_result(entry)
    return FailedLoginResult(timestamp=shown.timestamp, reason=shown.data["reason"], ip=shown.ip)


def _next(logins: Decision | None, now: datetime) -> datetime | None:
    return None if logins is None or logins.allowed else now + logins.retry_after
