"""The representations that several use cases return, and their construction from the domain."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar
from uuid import UUID

from msgspec import UNSET, UnsetType

from ubr.application.kernel.command import Result
from ubr.application.kernel.field_declarations import typed
from ubr.application.kernel.fields import EXAMPLE_EMAIL, EXAMPLE_ID, Id, RefreshTokenStr, Timestamp, example
from ubr.domain.accounts.user import User, UserKind, UserStatus, UserSummary
from ubr.domain.accounts.user_field import Access
from ubr.domain.accounts.user_fields import NO_FIELDS, FieldView
from ubr.domain.audit.checkpoint import Checkpoint, Note
from ubr.domain.audit.entry import SESSION, LogEntry
from ubr.domain.concealed import Concealed
from ubr.domain.errors import PreconditionFailed
from ubr.domain.events import Level
from ubr.domain.roles.grant import Grant
from ubr.domain.roles.permissions import USERS_READ, Permissions, union
from ubr.domain.roles.role import Role, RoleName
from ubr.domain.sessions.session import Session, SessionKind

if TYPE_CHECKING:
    from ubr.application.ports.unit_of_work import Transaction
    from ubr.domain.keys.signing_key import SigningKey
    from ubr.domain.machines.key import MachineKey

T = TypeVar("T")
F = TypeVar("F")

NO_VIEW = NO_FIELDS.seen_by(None)
"""Shows no fields, as for those that none are declared."""


class Revised(Result, frozen=True, kw_only=True, dict=True):
    """A representation with a revision. It is not a field, but the `ETag` over HTTP.

    The function that makes the result puts it into `__dict__`, beside the fields. A user of a list has none.
    """

    @property
    def revision(self) -> str:
        """A text that changes whenever the resource does. Errors: `KeyError` for a user of a list."""
        return str(self.__dict__["revision"])


class UserResult(Revised, frozen=True, kw_only=True):
    """A user without any hash or secret. The account of a machine is a user too: its e-mail exists nowhere."""

    # For Python: `fields` has the host's fields that the caller may read. See docs/fields.md. Without a declaration,
    # and for a machine, there are none.

    id: Id
    email: Annotated[str, example(EXAMPLE_EMAIL)]
    full_name: Annotated[str | None, example("Ada Lovelace")]
    status: Annotated[UserStatus, example("active")]
    email_verified: Annotated[bool, example(False)]
    roles: Annotated[list[str], example(["user"])]
    created_at: Timestamp
    updated_at: Timestamp
    kind: Annotated[UserKind, example("person")] = UserKind.PERSON
    fields: dict[str, Any] | UnsetType = UNSET

    def fields_as(self, kind: type[F]) -> F:
        """The fields of the host as the structure that declares them.

        Errors: `ValueError` if a value is missing that the structure requires.
        """
        return typed(kind, {} if self.fields is UNSET else self.fields)


U = TypeVar("U", bound=UserResult)


class RoleResult(Revised, frozen=True, kw_only=True):
    id: Id
    name: Annotated[str, example("editor")]
    description: Annotated[str | None, example("May edit notes")]
    permissions: Annotated[list[str], example(["users:read"])]
    built_in: Annotated[bool, example(False)]
    created_at: Timestamp
    updated_at: Timestamp


class GrantResult(Result, frozen=True, kw_only=True):
    """`granted_by` is null if the service itself assigned the role, `expires_at` if the grant has no end."""

    role: Annotated[str, example("editor")]
    granted_by: Annotated[UUID | None, example(EXAMPLE_ID)]
    granted_at: Timestamp
    expires_at: Annotated[Timestamp | None, example(None)]


class SessionResult(Result, frozen=True, kw_only=True):
    """`current` marks the session of the caller. `last_seen_at` is the login or the last refresh.

    A session of the kind `tokens` is used with tokens, one of the kind `browser` with a cookie.
    """

    id: Id
    user_id: Id
    kind: Annotated[SessionKind, example("tokens")]
    created_at: Timestamp
    last_seen_at: Timestamp
    expires_at: Annotated[Timestamp, example("2026-02-14T12:00:00Z")]
    ip: Annotated[str | None, example("192.0.2.1")]
    user_agent: Annotated[str | None, example("curl/8.5.0")]
    current: Annotated[bool, example(True)]


class TargetResult(Result, frozen=True, kw_only=True):
    type: str
    id: str


class LogEntryResult(Result, frozen=True, kw_only=True):
    """`request_id_given` marks a request id that the client chose: other requests can have it too.

    `session_id` is the session in which the actor did it; null for the service itself, and for a login.
    """

    id: Id
    level: Annotated[Level, example("info")]
    action: Annotated[str, example("user.registered")]
    message: Annotated[str, example("A user registered")]
    timestamp: Timestamp
    actor_id: Annotated[UUID | None, example(EXAMPLE_ID)]
    target: Annotated[TargetResult | None, example({"type": "user", "id": EXAMPLE_ID})]
    ip: Annotated[str | None, example("192.0.2.1")]
    request_id: Annotated[str | None, example("0b8d5f0f3c1e4a52")]
    request_id_given: Annotated[bool, example(False)]
    session_id: Annotated[UUID | None, example(EXAMPLE_ID)]
    data: Annotated[dict[str, Any], example({})]


class CheckpointResult(Result, frozen=True, kw_only=True):
    """`note` is the signed text (C2SP tlog-checkpoint); the other fields are its content, `root` in base64."""

    note: str
    origin: str
    size: int
    root: str


class TokensResult(Concealed, Result, frozen=True, kw_only=True):
    """The tokens of a login or a refresh. Lifetimes are in seconds."""

    access_token: Annotated[str, example("eyJhbGciOi….eyJpc3MiOi….c2lnbmF0dXJl…")]
    token_type: Annotated[str, example("Bearer")] = "Bearer"
    expires_in: Annotated[int, example(600)]
    refresh_token: RefreshTokenStr
    refresh_expires_in: Annotated[int, example(1209600)]
    session_id: Id
    user: UserResult


class AccessTokenResult(Concealed, Result, frozen=True, kw_only=True):
    """An access token of the session of a browser. Its lifetime is in seconds."""

    access_token: Annotated[str, example("eyJhbGciOi….eyJpc3MiOi….c2lnbmF0dXJl…")]
    token_type: Annotated[str, example("Bearer")] = "Bearer"
    expires_in: Annotated[int, example(600)]
    session_id: Id


class SessionCookieResult(Concealed, Result, frozen=True, kw_only=True):
    """A new cookie for the browser of a session. `max_age` is in seconds."""

    value: str
    max_age: int


class BrowserSessionResult(Result, frozen=True, kw_only=True):
    """The session of a browser after a login. `expires_in` is in seconds, from its last use."""

    session_id: Id
    expires_in: Annotated[int, example(1209600)]
    user: UserResult


class BrowserLoginResult(Result, frozen=True, kw_only=True):
    """A login of a browser: the session, and its cookie, which no script must see."""

    session: BrowserSessionResult
    cookie: SessionCookieResult


class SigningKeyResult(Result, frozen=True, kw_only=True):
    """`state` is `published` (will sign), `signing`, `retiring` (its last tokens are valid), `retired` or `revoked`.

    `retired_at` is set once another key follows it.
    """

    kid: str
    algorithm: str
    state: str
    created_at: datetime
    signs_from: datetime
    retired_at: datetime | None
    revoked_at: datetime | None


class MachineKeyResult(Result, frozen=True, kw_only=True):
    """A key without its text. `last_used_at` is precise to an hour."""

    id: Id
    name: Annotated[str, example("production")]
    scope: Annotated[list[str] | None, example(["users:read"])]
    created_at: Timestamp
    expires_at: Annotated[Timestamp | None, example("2027-01-31T12:00:00Z")]
    revoked_at: Annotated[Timestamp | None, example(None)]
    last_used_at: Annotated[Timestamp | None, example("2026-02-01T12:00:00Z")]


K = TypeVar("K", bound=MachineKeyResult)


class Page(Result, Generic[T], frozen=True, kw_only=True):
    """Part of a list. `next_cursor` is null on the last page. A page of a search may be short or empty before that."""

    items: list[T]
    next_cursor: str | None


def user_result(kind: type[U], user: User, roles: Iterable[Role], now: datetime, view: FieldView, **more: Any) -> U:
    """A user as a kind of `UserResult`, which may have more fields.

    `roles` holds at least every role of the user; roles with an ended grant are omitted.
    """
    in_force = user.roles_at(now)
    held = sorted((role for role in roles if role.id in in_force), key=lambda role: role.name)
    own = Access.USER if view.level is not None else _level_of(held)
    result = of_summary(kind, user.summary([str(role.name) for role in held]), view, own, **more)
    result.__dict__["revision"] = user_revision(user, held, view)
    return result


def of_summary(kind: type[U], user: UserSummary, view: FieldView, own: Access = Access.USER, **more: Any) -> U:
    """A user without a revision: for lists. `own` is the user's own level of access to fields."""
    shown = None if user.kind is UserKind.MACHINE else view.of(user.fields, own)
    return kind(
        id=user.id,
        email=user.email.address,
        full_name=user.full_name,
        status=user.status,
        email_verified=user.email_verified,
        roles=user.roles,
        created_at=user.created_at,
        updated_at=user.updated_at,
        kind=user.kind,
        fields=UNSET if shown is None else shown,
        **more,
    )


def _level_of(held: Iterable[Role]) -> Access:
    """The level of access to fields that a user with these roles has."""
    permissions = union(role.permissions for role in held)
    return Access.ADMINS if permissions.allow(USERS_READ) else Access.USER


def user_revision(user: User, held: Sequence[Role], view: FieldView) -> str:
    """The version alone is not enough: a grant can end, or a role can change, without a change of the user. So can the
    declaration of fields, whose defaults are part of the answer.
    """
    fingerprint = view.fields.fingerprint
    roles = _digest(tuple((role.name, role.permissions) for role in held))
    return f"{user.version}-{roles}-{fingerprint}" if fingerprint else f"{user.version}-{roles}"


@lru_cache(1024)
def _digest(held: tuple[tuple[RoleName, Permissions], ...]) -> str:
    """Many users have the same few roles, and each read of one needs this."""
    roles = ";".join(f"{name}:{','.join(sorted(permissions.names))}" for name, permissions in held)
    return hashlib.sha256(roles.encode()).hexdigest()[:16]


def role_result(role: Role) -> RoleResult:
    result = RoleResult(
        id=role.id,
        name=str(role.name),
        description=role.description,
        permissions=[str(permission) for permission in role.permissions],
        built_in=role.built_in,
        created_at=role.created_at,
        updated_at=role.updated_at,
    )
    result.__dict__["revision"] = role_revision(role)
    return result


def grant_result(role: str, grant: Grant) -> GrantResult:
    return GrantResult(role=role, granted_by=grant.granted_by, granted_at=grant.granted_at, expires_at=grant.expires_at)


def role_revision(role: Role) -> str:
    return str(role.version)


def check_revision(accepted: Sequence[str] | None, revision: str) -> None:
    """Errors: `PreconditionFailed` if the caller named revisions and this is not one of them."""
    if accepted is not None and revision not in accepted:
        raise PreconditionFailed


def session_result(session: Session, current: UUID | None) -> SessionResult:
    return SessionResult(
        id=session.id,
        user_id=session.user_id,
        kind=session.kind,
        created_at=session.created_at,
        last_seen_at=session.last_seen_at,
        expires_at=session.usable_until,
        ip=session.ip,
        user_agent=session.user_agent,
        current=session.id == current,
    )


def signing_key_result(key: SigningKey, now: datetime) -> SigningKeyResult:
    return SigningKeyResult(
        kid=key.kid,
        algorithm=key.algorithm,
        state=key.state_at(now),
        created_at=key.created_at,
        signs_from=key.signs_from,
        retired_at=key.retired_at,
        revoked_at=key.revoked_at,
    )


def machine_key_result(kind: type[K], key: MachineKey) -> K:
    """A key as one of the kinds of `MachineKeyResult`, which differ in their names alone."""
    return kind(
        id=key.id,
        name=key.name,
        scope=None if key.scope is None else key.scope.split(),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
    )


def log_entry_result(entry: LogEntry) -> LogEntryResult:
    session_id = entry.session_id
    data = json.loads(entry.data)
    if session_id is not None:
        del data[SESSION]
    return LogEntryResult(
        id=entry.id,
        level=entry.level,
        action=entry.action,
        message=entry.message,
        timestamp=entry.timestamp,
        actor_id=entry.actor_id,
        target=None if entry.target is None else TargetResult(type=entry.target.type, id=entry.target.id),
        ip=entry.known_ip,
        request_id=entry.request_id,
        request_id_given=entry.request_id_given,
        session_id=session_id,
        data=data,
    )


async def present_user(tx: Transaction, user: User, view: FieldView) -> UserResult:
    """A user with the names of their roles."""
    return user_result(UserResult, user, await tx.roles.many(user.grants), tx.now, view)


def checkpoint_result(note: Note) -> CheckpointResult:
    checkpoint = Checkpoint.of(note)
    root = base64.b64encode(checkpoint.root).decode()
    return CheckpointResult(note=str(note), origin=checkpoint.origin, size=checkpoint.size, root=root)
