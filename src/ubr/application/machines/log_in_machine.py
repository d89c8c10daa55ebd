from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from ubr.application.access.authorization import permissions_of
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import EXAMPLE_ID, example
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.origin import current_origin
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.keys.key_ring import KeyRing
from ubr.application.machines.representations import EXAMPLE_KEY
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.machines import MachineKeyMint
from ubr.application.ports.revocation import FeedPosition
from ubr.application.ports.sessions import Principal
from ubr.application.ports.system import NewId
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.application.protection.rate_limits import RateLimiter
from ubr.application.sessions.token_issuer import TokenIssuer
from ubr.domain.accounts.user import User
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Invalid, InvalidClient, InvalidScope, UbrError
from ubr.domain.ids import SessionId
from ubr.domain.machines.events import MachineTokenRefused
from ubr.domain.machines.key import MAX_KEY_SESSIONS, USE_NOTED_EVERY, MachineKey
from ubr.domain.machines.key_text import key_id_of
from ubr.domain.roles.permissions import Permission, Permissions, read_scope
from ubr.domain.roles.role import MAX_PERMISSIONS
from ubr.domain.sessions.session import Session


class LogInMachineCommand(Command, frozen=True, kw_only=True):
    """`client_secret` is the key. `client_id`, if given, is the id of the machine. `scope` is separated by spaces."""

    client_secret: Annotated[str, example(EXAMPLE_KEY)]
    client_id: Annotated[str | None, example(EXAMPLE_ID)] = None
    scope: Annotated[str | None, example("users:read")] = None


class MachineTokenResult(Result, frozen=True, kw_only=True):
    """The answer of RFC 6749 (4.4.3). `scope` lists the permissions of the token; it is absent if there are none."""

    access_token: Annotated[str, example("eyJhbGciOi….eyJpc3MiOi….c2lnbmF0dXJl…")]
    token_type: Annotated[str, example("Bearer")] = "Bearer"
    expires_in: Annotated[int, example(600)]
    scope: Annotated[str | UnsetType, example("users:read")] = UNSET

    def __repr__(self) -> str:
        """Shows no field: one is a secret."""
        return "MachineTokenResult(…)"


class LogInMachine(msgspec.Struct, frozen=True):
    """Log in as a machine: exchange a key for an access token (RFC 6749, 4.4).

    - An unknown, wrong, revoked or expired key, and a key of a disabled machine, get the same answer.
    - `scope` may name permissions that the machine has and the key allows: the token has only these. Without it, the
      token has all that the key allows.
    - Each key has one session for each scope, at most 50, which its logins share. Its end is the end of its tokens.
      There is no refresh token: the machine logs in again.
    - The audit log gets an entry for the first login of a session and of each UTC day, and for each refused login.
    - The number of logins per key, and of refused logins per client IP, is limited: 429 `rate-limited` beyond.
    """

    unit_of_work: UnitOfWork
    rate_limiter: RateLimiter
    keys: KeyRing
    mint: MachineKeyMint
    issuer: TokenIssuer
    new_id: NewId
    policy: OperatorPolicy
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(
        self, command: LogInMachineCommand, /, *, actor: Actor | System | None = None
    ) -> MachineTokenResult:
        try:
            return await self._log_in(command, actor)
        except _Refused as refused:
            await self.rate_limiter.bad_key()
            async with self.unit_of_work.begin(actor) as tx:
                tx.record(refused.event)
                await tx.commit()
            raise refused.error from None

    async def _log_in(self, command: LogInMachineCommand, actor: Actor | System | None) -> MachineTokenResult:
        await self.keys.ensure_current()
        async with self.unit_of_work.read() as tx:
            # A later change of the session, the user or a role is missing from the token, and makes every worker and
            # verifier refuse it. So nothing has to be locked.
            position = await tx.feed_position()
            key, user = await self._checked(tx, command)
            scope = await _scope(tx, command, key, user)
            principal = await self._in_session(tx, key, scope)
        await self.rate_limiter.machine_login(key.id)
        if principal is not None:
            return await self._result(principal, tx, position)
        async with self.unit_of_work.begin(actor) as tx:
            position = await tx.feed_position()
            await tx.users.get(key.user_id)  # locked before the key
            key, user = await self._checked(tx, command)
            scope = await _scope(tx, command, key, user)
            principal = await self._use(tx, key, scope)
            result = await self._result(principal, tx, position)
            await tx.commit()
        return result

    async def _checked(self, tx: Transaction, command: LogInMachineCommand) -> tuple[MachineKey, User]:
        """The key that the caller has, and its user. Errors: `_Refused`."""
        key_id = key_id_of(command.client_secret)
        if key_id is None:
            raise _Refused("malformed")
        key = await tx.machine_keys.get(key_id)
        right = self.mint.matches(command.client_secret, key)
        # The user is read last: a wrong text for a key that exists takes no more reads than one for none.
        if key is None:
            raise _Refused("unknown_key")
        if not right:
            raise _Refused("wrong_secret", key)
        user = await tx.users.get(key.user_id)
        if user is None:
            raise _Refused("unknown_key")
        if command.client_id is not None and command.client_id.lower() != str(key.user_id):
            raise _Refused("other_machine", key)
        if key.revoked_at is not None:
            raise _Refused("revoked", key)
        if not key.accepted_at(tx.now):
            raise _Refused("expired", key)
        if not user.active:
            raise _Refused("disabled", key)
        return key, user

    async def _in_session(self, tx: Transaction, key: MachineKey, scope: str | None) -> Principal | None:
        """The principal of the session of a key, if the login writes nothing: all of it was written an hour ago."""
        if not key.use_is_noted_at(tx.now):
            return None
        session_id = await tx.sessions.of_key(key, scope, tx.now)
        principal = None if session_id is None else await tx.principals.get(session_id)
        if principal is None or not principal.live_at(tx.now):
            return None
        session = principal.session
        used = tx.now - session.last_seen_at < USE_NOTED_EVERY
        lasts = session.idle_expires_at - tx.now >= self.policy.access_token_lifetime
        return principal if used and (lasts or session.idle_expires_at == session.expires_at) else None

    async def _use(self, tx: Transaction, key: MachineKey, scope: str | None) -> Principal:
        """The principal of the session of a key, which is opened or kept alive. The user is locked."""
        session_id = await tx.sessions.of_key(key, scope, tx.now)
        session = None if session_id is None else await tx.sessions.get(session_id)
        if session is None:
            session = await self._open(tx, key, scope)
        else:
            session.refresh(limits=self.policy.sessions, now=tx.now, log_all=self.policy.log_all_refreshes)
            await tx.sessions.save(session)
        key.use(now=tx.now)
        await tx.machine_keys.save(key)
        principal = await tx.principals.get(session.id)
        if principal is None:
            raise InvalidClient
        return principal

    async def _open(self, tx: Transaction, key: MachineKey, scope: str | None) -> Session:
        await tx.sessions.evict_of_key(key, tx.now, keep=MAX_KEY_SESSIONS - 1, limit=MAX_KEY_SESSIONS)
        origin = current_origin()
        session = Session.open(
            id=SessionId(self.new_id()),
            user_id=key.user_id,
            limits=self.policy.sessions,
            ip=origin.ip,
            user_agent=origin.user_agent,
            now=tx.now,
            key_id=key.id,
            scope=scope,
            until=key.expires_at,
        )
        await tx.sessions.add(session)
        return session

    async def _result(self, principal: Principal, tx: Transaction, position: FeedPosition) -> MachineTokenResult:
        issued = await self.issuer.access_token(principal, tx.now, position)
        scope = " ".join(principal.permissions_at(tx.now).names_to_show())
        return MachineTokenResult(access_token=issued.access_token, expires_in=issued.expires_in, scope=scope or UNSET)


class _Refused(Exception):
    """A login that is refused, with its log entry."""

    def __init__(self, reason: str, key: MachineKey | None = None, error: UbrError | None = None) -> None:
        self.error = error or InvalidClient()
        self.event = MachineTokenRefused(
            user_id=None if key is None else key.user_id, key_id=None if key is None else key.id, reason=reason
        )


async def _scope(tx: Transaction, command: LogInMachineCommand, key: MachineKey, user: User) -> str | None:
    """The scope of the session: the requested one, or else that of the key; None for neither.

    Errors: `_Refused` for a malformed scope, and for one with a permission that the key does not have now.
    """
    if command.scope is None:
        return key.scope
    try:
        names = {Permission.parse(name, "/scope") for name in command.scope.split(" ")}
    except Invalid:
        names = set()
    if not 0 < len(names) <= MAX_PERMISSIONS:
        raise _Refused("scope", key, InvalidScope("The scope is not a list of permissions, separated by spaces"))
    wanted = Permissions.of(names)
    held = await permissions_of(tx, user)
    if not (held if key.scope is None else held.within(read_scope(key.scope))).cover(wanted):
        raise _Refused("scope", key, InvalidScope("The scope is wider than the permissions of the key"))
    return " ".join(wanted)
