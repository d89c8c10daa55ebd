"""Random acts of actors with random rights, and the rules that hold after each of them.

The rules are read off the rows and the log, not off the code that decides: an act that was allowed has to be one that
its actor was entitled to.
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final, TypeVar, cast
from uuid import NAMESPACE_OID, UUID, uuid5

from tests.contracts.kit import page_of_users
from tests.support.people import NO_LIMITS, OTHER_PASSWORD, PASSWORD, token_in
from tests.support.values import replace
from ubr.adapters.memory.mail import MemoryMailer
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.erase_user import EraseUserCommand
from ubr.application.accounts.explain_login import ExplainLoginCommand
from ubr.application.accounts.export_user import ExportUserCommand
from ubr.application.accounts.get_user import GetUserCommand
from ubr.application.accounts.get_user_by_email import GetUserByEmailCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.accounts.reset_password import ResetPasswordCommand
from ubr.application.accounts.undo_email_change import UndoEmailChangeCommand
from ubr.application.accounts.unlock_user import UnlockUserCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.accounts.verify_email import VerifyEmailCommand
from ubr.application.app import Application
from ubr.application.audit.compare_checkpoint import CompareCheckpointCommand
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.audit.prove_log_entry import ProveLogEntryCommand
from ubr.application.audit.prune_log import PruneLogCommand
from ubr.application.audit.read_events import ReadEventsCommand
from ubr.application.audit.verify_log import VerifyLogCommand
from ubr.application.keys.revoke_signing_key import RevokeSigningKeyCommand
from ubr.application.machines.create_machine import CreateMachineCommand
from ubr.application.machines.create_machine_key import CreateMachineKeyCommand, KeyToCreate
from ubr.application.machines.delete_machine import DeleteMachineCommand
from ubr.application.machines.get_machine import GetMachineCommand
from ubr.application.machines.list_machine_keys import ListMachineKeysCommand
from ubr.application.machines.list_machines import ListMachinesCommand
from ubr.application.machines.log_in_machine import LogInMachineCommand
from ubr.application.machines.representations import NewMachineKeyResult
from ubr.application.machines.revoke_machine_key import RevokeMachineKeyCommand
from ubr.application.machines.rotate_machine_key import KeyRotation, RotateMachineKeyCommand
from ubr.application.machines.update_machine import MachineChanges, UpdateMachineCommand
from ubr.application.mail.list_mail import ListMailCommand
from ubr.application.mail.retry_mail import RetryMailCommand
from ubr.application.operations.acknowledge_restore import AcknowledgeRestoreCommand
from ubr.application.ports.accounts import UserFilter
from ubr.application.ports.audit import LogFilter
from ubr.application.ports.mail import Mail
from ubr.application.revocation.follow_revocations import FollowRevocationsCommand
from ubr.application.revocation.stop_following_revocations import StopFollowingRevocationsCommand
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.get_role import GetRoleCommand
from ubr.application.roles.list_roles import ListRolesCommand
from ubr.application.roles.list_user_roles import ListUserRolesCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.bootstrap import open_environment
from ubr.domain.accounts.one_time_link import LinkKind
from ubr.domain.accounts.user import User, UserStatus
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.audit.entry import LogEntry
from ubr.domain.errors import Conflict, Contradictory, Forbidden, MachineAccount, NotFound, UbrError
from ubr.domain.ids import MachineKeyId, RoleId, SessionId, TokenDigest, UserId
from ubr.domain.keys.signing_key import SigningKey
from ubr.domain.machines.key import MachineKey
from ubr.domain.machines.machine import Machine
from ubr.domain.mail.kinds import LINK_MAILS, MailKind
from ubr.domain.mail.queued_mail import QueuedMail
from ubr.domain.roles.permissions import BUILT_IN_PERMISSIONS, EVERYTHING, read_scope
from ubr.domain.roles.role import ADMIN_ROLE_ID, USER_ROLE_ID, Role
from ubr.domain.sessions.session import Session
from ubr.settings import MEMORY, Settings
from ubr.testing import TINY_HASHING, MovableClock

T = TypeVar("T")

FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)
EMAILS: Final = [f"person{number}@example.org" for number in range(9)]
NAMES: Final = ["auditor", "billing-admin", "clerk", "editor", "helper", "owner", "publisher", "reviewer"]
MACHINES: Final = ["exporter", "importer", "nightly-report", "pruner", "scraper"]
PERMISSIONS: Final = sorted(BUILT_IN_PERMISSIONS.names - {EVERYTHING})
MOST_USERS: Final = 7
FEWEST: Final = 4
"""With fewer users, most acts are registrations, and with fewer actors, logins."""
VERIFIERS: Final = [uuid5(NAMESPACE_OID, "verifier"), uuid5(NAMESPACE_OID, "another verifier")]
READ_ALL: Final = ("users:read", "sessions:read", "logs:read")
"""What the export of another user requires."""

NEEDS: Final = {
    "registers": (), "logs_in": (), "follows_link": (), "takes_over": (), "delivers": (), "waits": (), "uses_key": (),
    "asks_reset": (), "asks_change": (), "changes_password": (), "demotes": (), "staffs": (), "equips": (),
    "creates_user": ("users:write",), "updates_user": ("users:write",), "unlocks": ("users:write",),
    "deletes_user": ("users:delete",), "erases": ("users:erase",), "exports": READ_ALL,
    "assigns": ("roles:assign",), "unassigns": ("roles:assign",),
    "creates_role": ("roles:write",), "updates_role": ("roles:write",), "deletes_role": ("roles:write",),
    "revokes": ("sessions:revoke",), "revokes_all": ("sessions:revoke",),
    "creates_machine": ("machines:write",), "updates_machine": ("machines:write",),
    "deletes_machine": ("machines:write",), "creates_key": ("machines:write",), "rotates_key": ("machines:write",),
    "revokes_key": ("machines:write",), "follows": ("revocations:read",), "operates": (EVERYTHING,), "poses": (),
    "reads": (),
}  # fmt: skip
"""The permissions that an act requires, if it is not about the actor. A link, a password or a key allows the others."""

OFTEN: Final = {
    "registers": 2, "logs_in": 4, "assigns": 4, "creates_role": 2, "updates_role": 3, "updates_user": 4, "demotes": 3,
    "staffs": 4, "equips": 2, "waits": 2, "asks_change": 2, "follows_link": 3, "delivers": 2, "creates_machine": 2,
    "updates_machine": 2, "deletes_machine": 2, "creates_key": 4, "rotates_key": 2, "uses_key": 4, "reads": 3,
}  # fmt: skip
"""The weights of acts; 1 for the others."""

OWN: Final = frozenset({"reads", "exports", "revokes", "revokes_all", "updates_user", "deletes_user"})
"""Acts that users may do to themselves without a permission; each has a rule of its own for what is left."""

ENDS_LINKS: Final = frozenset(
    {
        "user.password_changed",
        "user.password_reset",
        "user.claimed",
        "user.email_changed",
        "user.email_change_undone",
        "user.disabled",
        "user.deleted",
        "user.taken_over",
    }
)
"""Actions after which no earlier link of their user is good, apart from those that undo a change of e-mail."""

ALLOWED_WITHOUT_CHANGE: Final = frozenset(
    {
        "user.no_session_revoked",
        "session.refreshed",
        "session.login_failed",
        "user.email_change_asked",
        "user.unlocked",
        "user.exported",
        "user.erased",
        "log.read",
        "log.entry_read",
        "mail.retried",
        "verifier.registered",
    }
)
"""Acts that are entries although they change no user, role, session or link."""

Rights = dict[str, datetime]
"""Each permission that a user holds, and its end."""


FOCUS: Final = 30
"""The weight of an act that the world does more often than all others."""

WITH_ACTORS: Final = frozenset(
    {
        "assign", "unassign", "create_user", "role", "update", "delete", "revoke", "password", "ask_change", "unlock",
        "export", "erase", "machine", "key", "follow", "operate", "pose", "read",
    }
)  # fmt: skip
"""The names of acts that somebody does who has logged in."""

BY_SERVICE: Final = frozenset({"take_over", "demote", "staff", "equip", "make_room"})


@dataclass(frozen=True)
class Seen:
    """All rows that the rules are about, at a moment."""

    now: datetime
    users: dict[UserId, User]
    roles: dict[RoleId, Role]
    sessions: dict[SessionId, Session]
    queued: dict[UUID, QueuedMail]
    links: frozenset[TokenDigest]
    """Those among the links that were mailed that are still good."""
    feed: int
    keys: dict[MachineKeyId, MachineKey] = field(default_factory=dict)
    machines: dict[UserId, Machine] = field(default_factory=dict)
    signing_keys: dict[str, SigningKey] = field(default_factory=dict)

    def rights_of(self, actor: Actor | System | None) -> Rights:
        """What an actor may do, within the scope of the session."""
        if not isinstance(actor, Actor):
            return {}
        found = self.rights(actor.user_id)
        scope = self.sessions[actor.session_id].scope if actor.session_id in self.sessions else None
        return (
            found if scope is None else {right: end for right, end in found.items() if right in read_scope(scope).names}
        )

    def rights(self, user_id: UserId | None, *, at: datetime | None = None, everyone: bool = True) -> Rights:
        """What a user may do; without `everyone`, by roles of their own alone."""
        found: Rights = {}
        user = None if user_id is None else self.users.get(user_id)
        for grant in () if user is None else user.grants.values():
            end = grant.expires_at or FOR_EVER
            role = self.roles.get(grant.role_id)
            if role is None or end <= (at or self.now) or (role.id == USER_ROLE_ID and not everyone):
                continue
            for permission in PERMISSIONS if EVERYTHING in role.permissions.names else role.permissions.names:
                found[permission] = max(end, found.get(permission, end))
            if EVERYTHING in role.permissions.names:
                found[EVERYTHING] = max(end, found.get(EVERYTHING, end))
        return found

    def names(self, user_id: UserId) -> Rights:
        """The names of roles that a user's tokens have."""
        user = self.users[user_id]
        ends = {
            self.roles[g.role_id].name: g.expires_at or FOR_EVER
            for g in user.grants.values()
            if g.role_id in self.roles
        }
        return {str(name): end for name, end in ends.items() if end > self.now}

    @cached_property
    def facts(self) -> dict[object, object]:
        """What an act can change, by the thing that it would change."""
        start = FOR_EVER
        users: dict[object, object] = {
            ("user", id): replace(user, version=0, security_version=0, updated_at=start)
            for id, user in self.users.items()
        }
        roles: dict[object, object] = {
            ("role", id): replace(role, version=0, updated_at=start) for id, role in self.roles.items()
        }
        keys: dict[object, object] = {
            ("machine key", id): replace(key, last_used_at=None) for id, key in self.keys.items()
        }
        machines: dict[object, object] = {
            ("machine", id): (machine.name, machine.description) for id, machine in self.machines.items()
        }
        signing: dict[object, object] = {("signing key", kid): key for kid, key in self.signing_keys.items()}
        sessions: dict[object, object] = {("session", id): True for id in self.sessions}
        return {**users, **roles, **keys, **machines, **signing, **sessions}


def gained(before: Rights, after: Rights) -> Rights:
    return {right: end for right, end in after.items() if end > before.get(right, datetime.min.replace(tzinfo=UTC))}


def cover(own: Rights, others: Rights) -> bool:
    return EVERYTHING in own or others.keys() <= own.keys()


@dataclass
class Rightful:
    """One application, the random acts on it, and the rules."""

    ubr: Application
    clock: MovableClock
    random: random.Random
    mailer: MemoryMailer = field(default_factory=MemoryMailer)
    passwords: dict[UserId, str] = field(default_factory=dict)
    actors: list[Actor] = field(default_factory=list)
    links: dict[TokenDigest, tuple[MailKind | None, str, UserId | None]] = field(default_factory=dict)
    """The links that were mailed: the kind, the token, and the user."""
    kinds: dict[UUID, QueuedMail] = field(default_factory=dict)
    changed_from: dict[UUID, Rights] = field(default_factory=dict)
    """The rights of a user at a change of e-mail, by the mail that undoes it, and then by its link."""
    undoes: dict[TokenDigest, Rights] = field(default_factory=dict)
    former: dict[str, tuple[RoleId, datetime]] = field(default_factory=dict)
    texts: dict[MachineKeyId, str] = field(default_factory=dict)
    """The keys of machines."""
    told: set[tuple[object, ...]] = field(default_factory=set)
    last: UUID | None = None
    seen: Seen | None = None
    """What was there after the last act; None if time went on since."""
    about: UserId | None = None
    """The user that the act is about."""
    history: list[str] = field(default_factory=list)
    deleted: list[UserId] = field(default_factory=list)
    focus: str | None = None
    """An act that is done more often than all others, so that what it takes is soon there."""
    done: int = 0
    refused: int = 0

    # --- what is there ----------------------------------------------------------------------------------------------

    async def look(self) -> Seen:
        async with self.ubr.create_role.unit_of_work.read() as tx:
            users = {user.id: user for user in await page_of_users(tx, UserFilter(), None, 200)}
            roles = {role.id: role for role in await tx.roles.page(None, 200)}
            sessions = {s.id: s for user_id in users for s in await tx.sessions.page(user_id, tx.now, None, 200)}
            queued = {mail.id: mail for mail in await tx.outbox.page(None, 500)}
            good = [digest for digest in self.links if (link := await tx.links.get(digest)) and link.live_at(tx.now)]
            return Seen(
                self.clock(),
                users,
                roles,
                sessions,
                queued,
                frozenset(good),
                (await tx.feed_position()).number,
                {key.id: key for key in await tx.machine_keys.every(None, 500)},
                {machine.id: machine for machine in await tx.machines.page(None, 200)},
                {key.kid: key for key in await tx.signing_keys.all()},
            )

    async def entries(self) -> list[LogEntry]:
        """The entries since the last call, oldest first."""
        async with self.ubr.create_role.unit_of_work.read() as tx:
            newest = await tx.logs.page(LogFilter(), None, 100)
        new = []
        for entry in newest:
            if entry.id == self.last:
                break
            new.append(entry)
        if newest:
            self.last = newest[0].id
        return new[::-1]

    # --- acts ---------------------------------------------------------------------------------------------------------

    # Ids differ from run to run. Choices do not depend on them, so that a seed repeats most of its acts.

    def pick(self, options: Iterable[T]) -> T | None:
        listed = list(options)
        return self.random.choice(listed) if listed else None

    def some_user(self, seen: Seen, actor: Any = None) -> User:
        """A user, often one above the actor; the act is about this one."""
        users = sorted(seen.users.values(), key=lambda user: user.email.key)
        user = self.aimed(seen, actor, users, lambda user: seen.rights(user.id))
        self.about = user.id
        return user

    def some_account(self, seen: Seen, actor: Any) -> User:
        """Like `some_user`, for acts that differ for one's own account and for that of a machine."""
        drawn = self.random.random()
        if isinstance(actor, Actor) and drawn < 0.2:
            user = seen.users[actor.user_id]
        elif seen.machines and drawn < 0.4:
            user = self.random.choice(sorted(seen.machines.values(), key=lambda machine: machine.name)).user
        else:
            return self.some_user(seen, actor)
        self.about = user.id
        return user

    def some_machine(self, seen: Seen, actor: Any) -> Machine | None:
        machines = sorted(seen.machines.values(), key=lambda machine: machine.name)
        return self.aimed(seen, actor, machines, lambda machine: seen.rights(machine.id)) if machines else None

    def some_key(self, seen: Seen, actor: Any) -> MachineKey | None:
        """A key, mostly one that is still accepted."""
        live = [key for key in seen.keys.values() if key.accepted_at(seen.now)]
        keys = live if live and self.random.random() < 0.8 else list(seen.keys.values())
        return self.aimed(seen, actor, keys, lambda key: seen.rights(key.user_id)) if keys else None

    def some_role(self, seen: Seen, actor: Any = None) -> Role:
        roles = sorted(seen.roles.values(), key=lambda role: role.name)
        return self.aimed(seen, actor, roles, lambda role: dict.fromkeys(map(str, role.permissions.names), FOR_EVER))

    def aimed(self, seen: Seen, actor: Any, options: list[T], held: Callable[[T], Rights]) -> T:
        """One of them, often one with a right that the actor lacks, or one with rights that the actor has.

        A missing check shows only with the former, a missing comparison of the ends only with a right that the actor
        loses earlier.
        """
        own, drawn = seen.rights_of(actor), self.random.random()
        if not own or drawn < 0.3:
            return self.random.choice(options)
        if drawn < 0.6:
            above = [each for each in options if not cover(own, held(each))]
            return self.random.choice(above or options)
        within = [each for each in options if cover(own, held(each)) and held(each)]
        longer = [each for each in within if EVERYTHING not in own and gained(own, held(each))]
        return self.random.choice((longer if drawn < 0.8 else within) or within or options)

    def some_permissions(self) -> list[str]:
        return [str(p) for p in self.random.sample(PERMISSIONS, self.random.choice([0, 1, 2, 4, 6, 9]))]

    def own_permissions(self, seen: Seen, actor: Any) -> list[str]:
        return sorted(map(str, seen.rights_of(actor).keys() - {EVERYTHING}))

    def some_name(self, seen: Seen) -> str:
        """A name for a role: mostly one that no role has, and often one that a role had within a day."""
        taken = {str(role.name) for role in seen.roles.values()}
        former = sorted(name for name, (_, until) in self.former.items() if until > seen.now and name not in taken)
        free = [name for name in NAMES if name not in taken and name not in former]
        drawn = self.random.random()
        return self.random.choice((former if drawn < 0.4 else free if drawn < 0.9 else NAMES) or free or NAMES)

    def some_end(self) -> datetime | None:
        minutes = self.random.choice([None, None, 10, 60, 600, 600])
        return None if minutes is None else self.clock() + timedelta(minutes=minutes)

    async def start(self) -> None:
        await self.ubr.create_admin(CreateAdminCommand(email=EMAILS[0], password=PASSWORD), actor=SYSTEM)
        seen = await self.look()
        self.passwords = dict.fromkeys(seen.users, PASSWORD)
        await self.entries()

    async def step(self) -> None:
        """One act, and the rules after it."""
        before = self.seen or await self.look()
        self.actors = [actor for actor in self.actors if actor.session_id in before.sessions]
        what = self.random.choices(ACTS, [FOCUS if act == self.focus else OFTEN.get(act, 1) for act in ACTS])[0]
        if self.random.random() < 0.5:
            what = "registers" if len(before.users) < FEWEST else "logs_in" if len(self.actors) < FEWEST else what
        actor: Actor | System | None = self.some_actor(before, NEEDS[what])
        self.about = None
        chosen = getattr(self, what)(before, actor)
        if chosen is None:
            return
        name, work = chosen
        if name not in WITH_ACTORS:
            actor = SYSTEM if name in BY_SERVICE else None
        whom = actor.user_id if isinstance(actor, Actor) else "somebody" if actor is None else "the service"
        self.history.append(f"{self.done}: {what} {name} by {whom}")
        failure: UbrError | None = None
        try:
            await work
        except UbrError as error:
            failure = error
        self.history[-1] += f": {type(failure).__name__ if failure else 'done'}"
        self.done += 1
        self.seen = None
        if name == "wait":
            return
        after, entries = await self.look(), await self.entries()
        self.seen = after
        if failure is None and isinstance(actor, Actor) and not (what in OWN and self.about == actor.user_id):
            missing = {need for need in NEEDS[what] if not cover(before.rights_of(actor), {need: FOR_EVER})}
            assert not missing, f"{what} without {missing}"
        self.check(name, actor, before, after, failure, entries)
        self.remember(actor, before, after, entries, failed=failure is not None)

    def some_actor(self, seen: Seen, needs: tuple[str, ...]) -> Actor | System:
        """Mostly somebody who has the permissions for the act: others are refused before any other rule."""
        live = self.actors
        if not live or self.random.random() < 0.2:
            return SYSTEM
        able = [each for each in live if needs and all(need in seen.rights_of(each) for need in needs)]
        some = [each for each in live if seen.rights_of(each)]
        drawn = self.random.random()
        if able and drawn < 0.6:
            # Administrators are above everybody.
            return self.random.choice([each for each in able if EVERYTHING not in seen.rights_of(each)] or able)
        return self.random.choice(some if some and drawn < 0.9 else live)

    def registers(self, seen: Seen, _: Actor | System) -> tuple[str, Awaitable[object]] | None:
        if len(seen.users) >= MOST_USERS:
            return None
        return "register", self._registered(self.random.choice(EMAILS))

    async def _registered(self, email: str) -> None:
        made = await self.ubr.register_user(RegisterUserCommand(email=email, password=PASSWORD), actor=SYSTEM)
        self.passwords[UserId(made.id)] = PASSWORD

    def logs_in(self, seen: Seen, _: Actor | System) -> tuple[str, Awaitable[object]] | None:
        user = self.some_user(seen)
        return ("log_in", self._logged_in(user, self.passwords[user.id])) if user.id in self.passwords else None

    async def _logged_in(self, user: User, password: str) -> None:
        tokens = await self.ubr.log_in(LogInCommand(email=user.email.address, password=password))
        self.actors.append(await self.ubr.authenticate(tokens.access_token))

    def creates_user(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        if len(seen.users) >= MOST_USERS:
            user_id = self.some_user(seen).id
            return "make_room", self.ubr.delete_user(DeleteUserCommand(user_id=user_id), actor=SYSTEM)
        roles = self.random.choice([[], [str(self.some_role(seen, actor).name)]])
        password = self.random.choice([None, PASSWORD])
        command = CreateUserCommand(email=self.random.choice(EMAILS), password=password, roles=roles)
        return "create_user", self._created(command, actor)

    async def _created(self, command: CreateUserCommand, actor: Actor | System) -> None:
        made = await self.ubr.create_user(command, actor=actor)
        if command.password is not None:
            self.passwords[UserId(made.id)] = command.password

    def creates_machine(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        if len(seen.machines) == len(MACHINES) and self.random.random() < 0.9:
            machine = self.random.choice(sorted(seen.machines.values(), key=lambda machine: machine.name))
            return "make_room", self.ubr.delete_machine(DeleteMachineCommand(machine_id=machine.id), actor=SYSTEM)
        roles = self.random.choice([[], [str(self.some_role(seen, actor).name)]])
        taken = {machine.name for machine in seen.machines.values()}
        free = [name for name in MACHINES if name not in taken] if self.random.random() < 0.9 else []
        command = CreateMachineCommand(name=self.random.choice(free or MACHINES), roles=roles)
        return "machine", self.ubr.create_machine(command, actor=actor)

    def updates_machine(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]] | None:
        machine = self.some_machine(seen, actor)
        if machine is None:
            return None
        other = UserStatus.DISABLED if machine.user.active else UserStatus.ACTIVE
        changes = self.random.choice(
            [
                MachineChanges(status=other),
                MachineChanges(status=other),
                MachineChanges(description=self.random.choice(["One", None])),
                MachineChanges(),
            ]
        )
        command = UpdateMachineCommand(machine_id=machine.id, changes=changes)
        return "machine", self.ubr.update_machine(command, actor=actor)

    def deletes_machine(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]] | None:
        machine = self.some_machine(seen, actor)
        if machine is None:
            return None
        return "machine", self.ubr.delete_machine(DeleteMachineCommand(machine_id=machine.id), actor=actor)

    def creates_key(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]] | None:
        machine = self.some_machine(seen, actor)
        if machine is None:
            return None
        scope = self.random.choice([None, None, ["machines:write", *self.random.sample(PERMISSIONS, 2)]])
        key = KeyToCreate(name="a key", scope=scope, expires_at=self.some_end())
        return "key", self._made(
            self.ubr.create_machine_key(CreateMachineKeyCommand(machine_id=machine.id, key=key), actor=actor)
        )

    def rotates_key(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]] | None:
        key = self.some_key(seen, actor)
        if key is None:
            return None
        rotation = KeyRotation(overlap=self.random.choice([0, 600]), expires_at=self.some_end())
        command = RotateMachineKeyCommand(machine_id=key.user_id, key_id=key.id, rotation=rotation)
        return "key", self._made(self.ubr.rotate_machine_key(command, actor=actor))

    async def _made(self, work: Awaitable[NewMachineKeyResult]) -> None:
        new = await work
        self.texts[MachineKeyId(new.key.id)] = new.client_secret

    def uses_key(self, seen: Seen, _: Any) -> tuple[str, Awaitable[object]] | None:
        key_id = self.pick(key_id for key_id in self.texts if key_id in seen.keys or self.random.random() < 0.1)
        return None if key_id is None else ("log_in", self._used(self.texts[key_id]))

    async def _used(self, text: str) -> None:
        token = await self.ubr.log_in_machine(LogInMachineCommand(client_secret=text))
        self.actors.append(await self.ubr.authenticate(token.access_token))

    def revokes_key(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]] | None:
        key = self.some_key(seen, actor)
        if key is None:
            return None
        command = RevokeMachineKeyCommand(machine_id=key.user_id, key_id=key.id)
        return "key", self.ubr.revoke_machine_key(command, actor=actor)

    def assigns(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]] | None:
        # Few become administrators, or every act would be allowed.
        role, user = self.some_role(seen, actor), self.some_user(seen, actor)
        if role.built_in and self.random.random() < 0.9:
            role = seen.roles[ADMIN_ROLE_ID]
            if role.id not in user.grants:
                return None
        command = AssignRoleCommand(user_id=user.id, role=str(role.name), expires_at=self.some_end())
        return "assign", self.ubr.assign_role(command, actor=actor)

    def unassigns(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        user_id = self.some_user(seen, actor).id
        name = self.random.choice([*sorted(seen.names(user_id)), "helper"])
        return "unassign", self.ubr.unassign_role(UnassignRoleCommand(user_id=user_id, role=name), actor=actor)

    def creates_role(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        taken = {str(role.name): role for role in seen.roles.values() if not role.built_in}
        if len(taken) == len(NAMES) and self.random.random() < 0.9:
            role = taken[self.random.choice(sorted(taken))]
            return "make_room", self.ubr.delete_role(DeleteRoleCommand(role_id=role.id), actor=SYSTEM)
        permissions = self.random.choice([[], self.own_permissions(seen, actor), self.some_permissions()])
        command = CreateRoleCommand(name=self.some_name(seen), permissions=permissions)
        return "role", self.ubr.create_role(command, actor=actor)

    def updates_role(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        role = self.some_role(seen, actor)
        if self.random.random() < 0.3:
            held = {id for user in seen.users.values() for id in user.grants} - {ADMIN_ROLE_ID, USER_ROLE_ID}
            role = self.pick(role for id, role in seen.roles.items() if id in held) or role
        own = self.own_permissions(seen, actor)
        # Most other changes would be refused.
        permissions = own if own and self.random.random() < 0.7 else self.some_permissions()
        permissions = (
            [str(permission) for permission in role.permissions] if self.random.random() < 0.2 else permissions
        )
        changes = self.random.choice(
            [
                RoleChanges(name=self.some_name(seen)),
                RoleChanges(name=self.some_name(seen)),
                RoleChanges(name=str(role.name)),
                RoleChanges(permissions=[] if role.id == USER_ROLE_ID and self.random.random() < 0.8 else permissions),
                RoleChanges(description=self.random.choice(["One", "Two", None])),
                RoleChanges(),
            ]
        )
        return "role", self.ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=changes), actor=actor)

    def deletes_role(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        return "role", self.ubr.delete_role(DeleteRoleCommand(role_id=self.some_role(seen, actor).id), actor=actor)

    def updates_user(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        user = self.some_account(seen, actor)
        email = self.random.choice([*EMAILS, user.email.address])
        changes = self.random.choice(
            [
                UserChanges(email=email),
                UserChanges(email=email, full_name="One"),
                UserChanges(full_name=self.random.choice(["One", None])),
                UserChanges(status=self.random.choice([UserStatus.ACTIVE, UserStatus.ACTIVE, UserStatus.DISABLED])),
                UserChanges(),
            ]
        )
        return "update", self.ubr.update_user(UpdateUserCommand(user_id=user.id, changes=changes), actor=actor)

    def deletes_user(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        return "delete", self.ubr.delete_user(DeleteUserCommand(user_id=self.some_account(seen, actor).id), actor=actor)

    def revokes(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]] | None:
        if not self.actors:
            return None
        ended = self.aimed(seen, actor, self.actors, lambda each: seen.rights(each.user_id))
        self.about = ended.user_id
        return "revoke", self.ubr.revoke_session(RevokeSessionCommand(session_id=ended.session_id), actor=actor)

    def revokes_all(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        command = RevokeUserSessionsCommand(user_id=self.some_user(seen, actor).id)
        return "revoke", self.ubr.revoke_user_sessions(command, actor=actor)

    def unlocks(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        return "unlock", self.ubr.unlock_user(UnlockUserCommand(user_id=self.some_user(seen, actor).id), actor=actor)

    def exports(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        user_id = self.some_user(seen, actor).id
        if isinstance(actor, Actor) and self.random.random() < 0.5:
            user_id = self.about = actor.user_id
        return "export", self._exported(user_id, actor)

    def erases(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]] | None:
        if self.random.random() < 0.5:
            return None
        gone = self.random.random() < 0.3 and self.deleted
        user_id = self.random.choice(self.deleted) if gone else self.some_account(seen, actor).id
        return "erase", self.ubr.erase_user(EraseUserCommand(user_id=user_id), actor=actor)

    async def _exported(self, user_id: UserId, actor: Actor | System) -> None:
        async for _ in await self.ubr.export_user(ExportUserCommand(user_id=user_id), actor=actor):
            pass

    def changes_password(self, _: Seen, actor: Any) -> tuple[str, Awaitable[object]] | None:
        if not isinstance(actor, Actor) or actor.user_id not in self.passwords:
            return None
        return "password", self._password_changed(actor)

    async def _password_changed(self, actor: Actor) -> None:
        current = self.passwords[actor.user_id]
        new = OTHER_PASSWORD if current == PASSWORD else PASSWORD
        await self.ubr.change_password(ChangePasswordCommand(current_password=current, new_password=new), actor=actor)
        self.passwords[actor.user_id] = new

    def asks_change(self, _: Seen, actor: Any) -> tuple[str, Awaitable[object]] | None:
        if not isinstance(actor, Actor) or actor.user_id not in self.passwords:
            return None
        command = RequestEmailChangeCommand(
            email=self.random.choice(EMAILS), current_password=self.passwords[actor.user_id]
        )
        return "ask_change", self.ubr.request_email_change(command, actor=actor)

    def asks_reset(self, _: Seen, __: Any) -> tuple[str, Awaitable[object]]:
        command = RequestPasswordResetCommand(email=self.random.choice(EMAILS))
        return "ask_reset", self.ubr.request_password_reset(command)

    def follows_link(self, seen: Seen, _: Any) -> tuple[str, Awaitable[object]] | None:
        digest = self.pick(link for link in self.links if link in seen.links or self.random.random() < 0.02)
        if digest is None:
            return None
        kind, token, user_id = self.links[digest]
        return ("undo" if kind is MailKind.EMAIL_CHANGED else "link"), self._followed(kind, token, user_id, digest)

    async def _followed(self, kind: MailKind | None, token: str, user_id: UserId | None, digest: TokenDigest) -> None:
        password = self.random.choice([PASSWORD, OTHER_PASSWORD])
        self.undoing = self.undoes.get(digest)
        match kind:
            case MailKind.EMAIL_CHANGED:
                await self.ubr.undo_email_change(UndoEmailChangeCommand(token=token))
                self.passwords.pop(user_id, None)  # type: ignore[arg-type]
            case MailKind.EMAIL_CHANGE:
                await self.ubr.verify_email(VerifyEmailCommand(token=token))
            case MailKind.VERIFICATION:
                await self.ubr.verify_email(VerifyEmailCommand(token=token, password=password))
                self.passwords[user_id] = password  # type: ignore[index]
            case _:
                await self.ubr.reset_password(ResetPasswordCommand(token=token, new_password=password))
                self.passwords[user_id] = password  # type: ignore[index]

    undoing: Rights | None = None

    def takes_over(self, seen: Seen, _: Any) -> tuple[str, Awaitable[object]] | None:
        if self.random.random() < 0.9:
            return None
        return "take_over", self._taken_over(self.some_user(seen))

    async def _taken_over(self, user: User) -> None:
        command = CreateAdminCommand(email=user.email.address, password=PASSWORD, take_over=True)
        await self.ubr.create_admin(command, actor=SYSTEM)
        self.passwords[user.id] = PASSWORD

    def demotes(self, seen: Seen, _: Any) -> tuple[str, Awaitable[object]] | None:
        """Few stay administrators, or every act would be allowed."""
        users = sorted(seen.users.values(), key=lambda user: user.email.key)
        admins = [user.id for user in users if ADMIN_ROLE_ID in user.grants]
        command = UnassignRoleCommand(user_id=self.random.choice(admins), role="admin")
        return "demote", self.ubr.unassign_role(command, actor=SYSTEM)

    def staffs(self, seen: Seen, _: Any) -> tuple[str, Awaitable[object]] | None:
        """The service gives somebody few permissions, so that there are actors who lack some."""
        undoing = {self.links[digest][2] for digest in seen.links & self.undoes.keys()}
        undoable = sorted((user for id, user in seen.users.items() if id in undoing), key=lambda user: user.email.key)
        if undoable and self.random.random() < 0.2:
            user = self.random.choice(undoable)
            return "staff", self.ubr.assign_role(AssignRoleCommand(user_id=user.id, role="admin"), actor=SYSTEM)
        role = self.pick(role for role in seen.roles.values() if not role.built_in)
        if role is None:
            return None
        user, end = self.some_user(seen), self.some_end()
        command = AssignRoleCommand(user_id=user.id, role=str(role.name), expires_at=end)
        return "staff", self.ubr.assign_role(command, actor=SYSTEM)

    def equips(self, seen: Seen, _: Any) -> tuple[str, Awaitable[object]]:
        """The service makes a role with few permissions."""
        role = self.pick(role for role in seen.roles.values() if not role.built_in)
        permissions = self.random.sample(PERMISSIONS, self.random.choice([1, 2, 3]))
        needs = NEEDS[self.focus] if self.focus is not None and self.random.random() < 0.5 else ()
        needs = needs or self.random.choice([needs for needs in NEEDS.values() if needs])
        needs = tuple(need for need in needs if need != EVERYTHING)
        more = self.random.choice([(), ("roles:assign",)])
        names = sorted({*permissions, *needs, *more})
        if role is None or len(seen.roles) < 5:
            command = CreateRoleCommand(name=self.some_name(seen), permissions=names)
            return "equip", self.ubr.create_role(command, actor=SYSTEM)
        changes = RoleChanges(permissions=names)
        return "equip", self.ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=changes), actor=SYSTEM)

    def reads(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        """Something that requires a permission, which the rule for it names."""
        ubr, user, role = self.ubr, self.some_user(seen, actor), self.some_role(seen)
        if isinstance(actor, Actor) and self.random.random() < 0.2:
            user = seen.users[actor.user_id]
        machine, email = self.some_machine(seen, actor), user.email.address
        calls: list[tuple[tuple[str, ...], UserId | None, Callable[[], Awaitable[object]]]] = [
            (("users:read",), None, lambda: ubr.list_users(ListUsersCommand(), actor=actor)),
            (("users:read",), user.id, lambda: ubr.get_user(GetUserCommand(user_id=user.id), actor=actor)),
            (("users:read",), None, lambda: ubr.get_user_by_email(GetUserByEmailCommand(email=email), actor=actor)),
            (("users:read",), user.id, lambda: ubr.list_user_roles(ListUserRolesCommand(user_id=user.id), actor=actor)),
            (("users:read", "logs:read"), None, lambda: ubr.explain_login(_explained(email), actor=actor)),
            (("roles:read",), None, lambda: ubr.list_roles(ListRolesCommand(), actor=actor)),
            (("roles:read",), None, lambda: ubr.get_role(GetRoleCommand(role_id=role.id), actor=actor)),
            (("sessions:read",), user.id, lambda: ubr.list_sessions(_sessions_of(user.id), actor=actor)),
            (("logs:read",), None, lambda: ubr.list_logs(ListLogsCommand(), actor=actor)),
            (("logs:read",), None, lambda: ubr.get_activity(actor=actor)),
            (("logs:read",), None, lambda: ubr.list_log_keys(actor=actor)),
            (("logs:read",), None, lambda: ubr.get_checkpoint(actor=actor)),
            (("logs:read",), None, lambda: ubr.prove_log_entry(_proof(self.last), actor=actor)),
            (("machines:read",), None, lambda: ubr.list_machines(ListMachinesCommand(), actor=actor)),
            ((EVERYTHING,), None, lambda: ubr.list_mail(ListMailCommand(), actor=actor)),
            ((EVERYTHING,), None, lambda: ubr.list_signing_keys(actor=actor)),
            ((EVERYTHING,), None, lambda: ubr.inspect_installation(actor=actor)),
        ]
        if machine is not None:
            keys = ListMachineKeysCommand(machine_id=machine.id)
            calls += [
                (("machines:read",), machine.id, lambda: ubr.get_machine(_machine(machine.id), actor=actor)),
                (("machines:read",), machine.id, lambda: ubr.list_machine_keys(keys, actor=actor)),
            ]
        needs, self.about, call = self.random.choice(calls)
        allowed = cover(seen.rights_of(actor), dict.fromkeys(needs, FOR_EVER))
        return "read", self._read(call, actor, needs, allowed=allowed)

    async def _read(
        self, call: Callable[[], Awaitable[object]], actor: Actor | System, needs: tuple[str, ...], *, allowed: bool
    ) -> None:
        await call()
        own = isinstance(actor, Actor) and self.about == actor.user_id
        assert allowed or own or isinstance(actor, System), f"a read without {needs}"

    def follows(self, _: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        return "follow", self._follow(self.random.choice(VERIFIERS), actor, first=self.random.random() < 0.5)

    async def _follow(self, verifier: UUID, actor: Actor | System, *, first: bool) -> None:
        """Revocations wait for a verifier, so it stops at once."""
        if first:
            await self.ubr.follow_revocations(FollowRevocationsCommand(verifier=verifier), actor=actor)
        command = StopFollowingRevocationsCommand(verifier=verifier)
        await self.ubr.stop_following_revocations(command, actor=actor)

    def operates(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        """An act upon signing keys or mails, which takes an administrator."""
        ubr, mail, kid = self.ubr, self.pick(seen.queued), self.random.choice(list(seen.signing_keys))
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: ubr.rotate_signing_key(actor=actor),
            lambda: ubr.revoke_signing_key(RevokeSigningKeyCommand(kid=kid), actor=actor),
        ]
        if mail is not None:
            calls.append(lambda: ubr.retry_mail(RetryMailCommand(mail_id=mail), actor=actor))
        return "operate", self.random.choice(calls)()

    def poses(self, seen: Seen, actor: Any) -> tuple[str, Awaitable[object]]:
        """A call that only the service may make, by a user; or one that only persons may make, by another."""
        ubr = self.ubr
        password = ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER_PASSWORD)
        change = RequestEmailChangeCommand(email=EMAILS[0], current_password=PASSWORD)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: ubr.change_password(password, actor=actor),
            lambda: ubr.request_email_change(change, actor=actor),
        ]
        if isinstance(actor, Actor) and not seen.users[actor.user_id].is_machine:
            # An administrator has every permission, and is not the service.
            own, by = seen.users[actor.user_id].email.address, cast("Any", actor)
            admin = CreateAdminCommand(email=own, password=PASSWORD, take_over=True)
            calls = [
                lambda: ubr.create_admin(admin, actor=by),
                lambda: ubr.index_user_fields(actor=actor),
                lambda: ubr.compare_checkpoint(CompareCheckpointCommand(checkpoint=""), actor=by),
                lambda: ubr.export_log(lambda _: None, actor=by),
                lambda: ubr.prune_log(PruneLogCommand(before=seen.now, force=True), actor=by),
                lambda: ubr.read_events(ReadEventsCommand(), actor=by),
                lambda: ubr.rotate_log_key(actor=by),
                lambda: ubr.verify_log(VerifyLogCommand(), actor=by),
                lambda: ubr.rewrap_signing_keys(actor=by),
                lambda: replace(ubr.deliver_mail, mailer=self.mailer)(actor=by),
                lambda: ubr.acknowledge_restore(AcknowledgeRestoreCommand(), actor=by),
            ]
        return "pose", self._posed(self.random.choice(calls))

    @staticmethod
    async def _posed(call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except Exception as error:
            if type(error) in {Forbidden, MachineAccount}:
                raise
            raise AssertionError(f"refused only by {error!r}") from error
        raise AssertionError("not refused")

    def delivers(self, seen: Seen, _: Any) -> tuple[str, Awaitable[object]]:
        return "deliver", self._delivered(seen)

    async def _delivered(self, seen: Seen) -> None:
        await replace(self.ubr.deliver_mail, mailer=self.mailer)(actor=SYSTEM)
        mails, self.mailer.sent = self.mailer.sent, []
        for mail in mails:
            await self._keep(mail, next(each for each in seen.queued.values() if mail.id in self._ids(each, mail)))

    @staticmethod
    def _ids(queued: QueuedMail, mail: Mail) -> set[UUID]:
        """The ids that the mail may have: a text with a link has its own."""
        links = re.findall(r"https?://\S+#token=\S+", mail.text)
        return {queued.id, *(uuid5(queued.id, link) for link in links)}

    async def _keep(self, mail: Mail, queued: QueuedMail) -> None:
        if "#token=" not in mail.text:
            return
        token = token_in(mail)
        digest = self.ubr.reset_password.tokens.digest(token)
        async with self.ubr.create_role.unit_of_work.read() as tx:
            link = await tx.links.get(digest)
        if link is not None:
            self.links[digest] = (queued.kind, token, link.user_id)
            if link.kind is LinkKind.EMAIL_UNDO:
                self.undoes[digest] = self.changed_from[queued.id]

    def waits(self, _: Seen, __: Any) -> tuple[str, Awaitable[object]]:
        return "wait", self._waited()

    async def _waited(self) -> None:
        self.clock.move(minutes=self.random.choice([1, 1, 1, 5, 31, 700]))

    # --- the rules ----------------------------------------------------------------------------------------------------

    def check(  # noqa: PLR0917 - all that there is to judge by
        self,
        name: str,
        actor: Actor | System | None,
        before: Seen,
        after: Seen,
        failure: UbrError | None,
        entries: list[LogEntry],
    ) -> None:
        who = actor.user_id if isinstance(actor, Actor) else None
        own = before.rights_of(actor)
        old, new = before.facts, after.facts
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        acts = [entry for entry in entries if entry.action not in {"act.refused", "link.issued"}]
        self.everything_is_an_entry(actor, failure, entries, acts, changed, before, after)
        if failure is not None:
            return
        if not isinstance(actor, System):
            self.nobody_is_raised(name, who, own, before, after)
            self.names_are_given_by_those_who_assign(who, own, before, after)
            self.machines_belong_to_those_above(name, own, before, after)
            self.keys_are_acts_of_those_above(actor, own, before, after)
        if isinstance(actor, Actor):
            who = actor.user_id
            self.nobody_acts_on_those_above(name, who, own, before, after)
            self.nobody_gets_an_account_that_lasts_longer(name, who, own, before, after)
            self.entries_without_a_change_need_rights_too(actor, before, entries)
            self.acts_on_oneself_have_limits(name, actor, before, after)
            self.signing_keys_are_of_administrators(actor, before, after)
        if name == "undo" and self.undoing is not None:
            self.an_undo_gives_what_there_was(after, entries)
        self.links_end(name, before, after, entries)
        assert any(user.lasting_admin for user in after.users.values())
        assert all(after.users[session.user_id].active for session in after.sessions.values())
        for session in after.sessions.values():
            if session.key_id is not None:
                assert after.keys[session.key_id].accepted_at(after.now), "a session without its key"

    def everything_is_an_entry(  # noqa: PLR0917 - all that there is to judge by
        self,
        actor: Actor | System | None,
        failure: UbrError | None,
        entries: list[LogEntry],
        acts: list[LogEntry],
        changed: set[Any],
        before: Seen,
        after: Seen,
    ) -> None:
        if failure is not None:
            assert not changed
            assert {entry.action for entry in acts} <= {"session.login_failed", "machine.token_refused"}
            if isinstance(actor, Actor) and isinstance(failure, Forbidden | NotFound | Conflict | Contradictory):
                kind = (
                    actor.user_id,
                    self.history[-1].split()[1],
                    failure.code,
                    self.clock().replace(second=0, microsecond=0),
                )
                refusals = [entry for entry in entries if entry.action == "act.refused"]
                assert refusals or kind in self.told, "a refusal without an entry"
                self.told.add(kind)
            return
        if changed:
            assert acts, "an act without an entry"
            assert isinstance(actor, System) or actor is None or any(entry.actor_id == actor.user_id for entry in acts)
        else:
            assert {entry.action for entry in acts} <= ALLOWED_WITHOUT_CHANGE, f"an entry without an act: {acts}"
            assert after.feed == before.feed, "a change record of what has not changed"

    def nobody_is_raised(self, name: str, who: UserId | None, own: Rights, before: Seen, after: Seen) -> None:
        for user_id in after.users:
            old = before.rights(user_id) if user_id in before.users else before.rights(None) | _of_everyone(before)
            more = gained(old, after.rights(user_id))
            if not more:
                continue
            assert who is not None, f"{name} raised somebody"
            for right, end in more.items():
                held = max(own.get(right, before.now), own.get(EVERYTHING, before.now))
                assert held >= end, f"{right} was given until {end} by somebody who has it until {held}"
            by = "roles:write" if name == "role" else "roles:assign"
            giving = own.get(by, before.now)
            assert giving > before.now
            assert name == "role" or giving >= max(more.values()), "the giver's authority ends before the grant"

    def machines_belong_to_those_above(self, name: str, own: Rights, before: Seen, after: Seen) -> None:
        for id in before.machines.keys() | after.machines.keys():
            old, new = before.machines.get(id), after.machines.get(id)
            same = old is not None and new is not None and old.user.status is new.user.status
            if not same or (old and old.description) != (new and new.description):
                assert own.get("machines:write", before.now) > before.now, "a machine was changed without the right"
                assert name == "machine", "a machine was changed as a person is"
            assert old is None or new is None or (old.name, old.user.email) == (new.name, new.user.email), "renamed"

    def nobody_gets_an_account_that_lasts_longer(
        self, name: str, who: UserId, own: Rights, before: Seen, after: Seen
    ) -> None:
        """Another e-mail or the status active: the account may be the actor's, and outlast the actor's own rights."""
        for id in (before.users.keys() & after.users.keys()) - {who}:
            old, new = before.users[id], after.users[id]
            if old.email != new.email or (new.active and not old.active):
                for right, end in before.rights(id).items():
                    mine = max(own.get(right, before.now), own.get(EVERYTHING, before.now))
                    assert mine >= end, f"{name} gave {right} until {end} to somebody who has it until {mine}"

    def keys_are_acts_of_those_above(
        self, actor: Actor | System | None, own: Rights, before: Seen, after: Seen
    ) -> None:
        session = before.sessions[actor.session_id] if isinstance(actor, Actor) else None
        mine = None if session is None or session.key_id is None else before.keys[session.key_id].expires_at
        unused = {id: replace(key, last_used_at=None) for id, key in before.keys.items()}
        for key_id, key in after.keys.items():
            if unused.get(key_id) == replace(key, last_used_at=None):
                continue
            assert own.get("machines:write", before.now) > before.now, "a key without the right"
            held = before.rights(key.user_id)
            assert cover(own, held), f"somebody with {set(own)} acted on a key of somebody with {set(held)}"
            for right, end in held.items() if key_id not in before.keys else ():
                until = max(own.get(right, before.now), own.get(EVERYTHING, before.now))
                assert min(end, key.expires_at or FOR_EVER) <= until, f"a key gives {right} for longer than {until}"
            if key_id not in before.keys and mine is not None:
                assert key.expires_at is not None, "a key without end was made with one that ends"
                assert key.expires_at <= mine, "a key outlasts the one that made it"

    def names_are_given_by_those_who_assign(
        self, who: UserId | None, rights: Rights, before: Seen, after: Seen
    ) -> None:
        own = max(rights.get("roles:assign", before.now), rights.get(EVERYTHING, before.now))
        everyone = {str(before.roles[USER_ROLE_ID].name): FOR_EVER}
        for user_id in after.users:
            more = gained(before.names(user_id) if user_id in before.users else everyone, after.names(user_id))
            assert not more or own >= max(more.values()), (
                f"the names {more} were given by somebody who assigns until {own}"
            )
        for user_id in after.users.keys() & before.users.keys():
            assert not (before.names(user_id).keys() - after.names(user_id).keys()) or own > before.now or who is None
        for role_id, role in after.roles.items():
            old = before.roles.get(role_id)
            by, until = self.former.get(str(role.name), (role_id, before.now))
            if (old is None or old.name != role.name) and by != role_id and until > before.now:
                assert own == FOR_EVER, "a former name was taken"

    def nobody_acts_on_those_above(self, name: str, who: UserId, own: Rights, before: Seen, after: Seen) -> None:
        for user_id, user in before.users.items():
            if user_id == who:
                continue
            new = after.users.get(user_id)
            ended = any(s.user_id == user_id and id not in after.sessions for id, s in before.sessions.items())
            same = new is not None and (new.email, new.status) == (user.email, user.status)
            # The target of a change of a role is the role, whoever holds it.
            same = same and (name == "role" or (new is not None and new.grants == user.grants))
            if not same or ended:
                held = before.rights(user_id)
                assert cover(own, held), f"somebody with {set(own)} acted on somebody with {set(held)}"
        for role_id, role in before.roles.items():
            if after.roles.get(role_id) != role:
                assert EVERYTHING in own or role.permissions.names <= own.keys(), "a role above its writer was changed"
        for role_id, role in after.roles.items():
            there = before.roles[role_id].permissions.names if role_id in before.roles else frozenset()
            for permission in role.permissions.names - there:
                until = max(own.get(permission, before.now), own.get(EVERYTHING, before.now))
                assert until == FOR_EVER, f"a role got {permission} by somebody who has it until {until}"

    def entries_without_a_change_need_rights_too(
        self, actor: Actor | System | None, before: Seen, entries: list[LogEntry]
    ) -> None:
        if not isinstance(actor, Actor):
            return
        own = before.rights_of(actor)
        for entry in entries:
            if entry.actor_id != actor.user_id or entry.target is None:
                continue
            if entry.action == "user.unlocked":
                target = UserId(UUID(entry.target.id))
                assert cover(own, {"users:write": FOR_EVER} | before.rights(target)), "an unlock without the right"
                assert target != actor.user_id, "users unlocked themselves"
            if entry.action == "user.erased":
                assert cover(own, {"users:erase": FOR_EVER}), "an erasure without the right"
                assert entry.target.id != str(actor.user_id), "users erased themselves"
            if entry.action == "user.exported" and not cover(own, dict.fromkeys(READ_ALL, FOR_EVER)):
                assert entry.target.id == str(actor.user_id), "an export of another user without the right"
                age = before.now - before.sessions[actor.session_id].created_at
                assert age <= timedelta(minutes=10), "an export of oneself long after the login"

    def acts_on_oneself_have_limits(self, name: str, actor: Actor, before: Seen, after: Seen) -> None:
        own, old, new = before.rights_of(actor), before.users[actor.user_id], after.users.get(actor.user_id)
        if name == "update" and new is not None:
            assert new.email.key == old.email.key, "one's own e-mail"
            assert new.status is old.status or cover(own, {"users:write": FOR_EVER}), "one's own status"
        if new is None and not old.is_machine and not cover(own, {"users:delete": FOR_EVER}):
            age = before.now - before.sessions[actor.session_id].created_at
            assert age <= timedelta(minutes=10), "users deleted themselves long after the login"

    def signing_keys_are_of_administrators(self, actor: Actor, before: Seen, after: Seen) -> None:
        if before.signing_keys != after.signing_keys:
            assert EVERYTHING in before.rights_of(actor), "signing keys were changed without the right"
            age = before.now - before.sessions[actor.session_id].created_at
            assert age <= timedelta(minutes=10), "signing keys were changed long after the login"

    def an_undo_gives_what_there_was(self, after: Seen, entries: list[LogEntry]) -> None:
        [undone] = [entry.target.id for entry in entries if entry.target and entry.action == "user.email_change_undone"]
        assert self.undoing is not None
        more = gained(self.undoing, after.rights(UserId(UUID(undone)), everyone=False))
        assert not more, f"an undo gave {more}"

    def links_end(self, name: str, before: Seen, after: Seen, entries: list[LogEntry]) -> None:
        ended = {entry.target.id for entry in entries if entry.target and entry.action in ENDS_LINKS}
        moved = {
            str(id)
            for id in before.users.keys() & after.users.keys()
            if before.users[id].email.key != after.users[id].email.key
        }
        for_good = (
            moved if name == "update" else {e.target.id for e in entries if e.target and e.action == "user.taken_over"}
        )
        for digest in after.links & before.links:
            kind, _, user_id = self.links[digest]
            assert kind is MailKind.EMAIL_CHANGED or str(user_id) not in ended | moved, f"{name} left a link: {kind}"
            assert str(user_id) not in for_good, f"{name} left a link that undoes it: {kind}"
        for id in after.queued.keys() & before.queued.keys():
            mail = after.queued[id]
            owners = {str(u.id) for u in before.users.values() if u.email.key == mail.email.key}
            if mail.user_id is not None:
                owners = {str(mail.user_id)}
            assert mail.kind not in LINK_MAILS or not owners & (ended | moved), f"{name} left {mail.kind}"
            assert mail.kind is not MailKind.EMAIL_CHANGED or not owners & for_good, f"{name} left {mail.kind}"

    # --- what the rules need of earlier acts --------------------------------------------------------------------------

    def remember(
        self, actor: Actor | System | None, before: Seen, after: Seen, entries: list[LogEntry], *, failed: bool
    ) -> None:
        self.refused += failed
        for id, mail in after.queued.items():
            if id not in before.queued and mail.kind is MailKind.EMAIL_CHANGED and mail.user_id is not None:
                self.changed_from[id] = before.rights(mail.user_id, everyone=False)
        for role_id, role in before.roles.items():
            new = after.roles.get(role_id)
            if new is None or new.name != role.name:
                self.former[str(role.name)] = (role_id, before.now + timedelta(days=1))
        self.links = {
            digest: link for digest, link in self.links.items() if digest in after.links or self.random.random() < 0.9
        }
        self.passwords = {id: password for id, password in self.passwords.items() if id in after.users}
        self.deleted += sorted(before.users.keys() - after.users.keys())


def _explained(email: str) -> ExplainLoginCommand:
    return ExplainLoginCommand(email=email)


def _sessions_of(user_id: UserId) -> ListSessionsCommand:
    return ListSessionsCommand(user_id=user_id)


def _machine(user_id: UserId) -> GetMachineCommand:
    return GetMachineCommand(machine_id=user_id)


def _proof(entry_id: UUID | None) -> ProveLogEntryCommand:
    assert entry_id is not None, "the start has entries"
    return ProveLogEntryCommand(entry_id=entry_id)


ACTS: Final = list(NEEDS)


def _of_everyone(seen: Seen) -> Rights:
    return dict.fromkeys((str(p) for p in seen.roles[USER_ROLE_ID].permissions.names), FOR_EVER)


@asynccontextmanager
async def rightful(url: str, seed: int, *, focus: str | None = None) -> AsyncIterator[Rightful]:
    clock = MovableClock()
    known = {} if url == MEMORY else {"database_url": url, "migrate": "auto"}
    settings = Settings.memory(**{**TINY_HASHING, "login_rate_limit": NO_LIMITS, "sessions_per_user": 4, **known})
    async with open_environment(settings, clock=clock, delivering=False) as environment:
        world = Rightful(environment.application, clock, random.Random(seed), focus=focus)  # noqa: S311 - not a secret
        await world.start()
        yield world
