"""Roles, on drafts of the tables."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from ubr.adapters.memory.paging import cut
from ubr.adapters.memory.store import Drafts, FormerName
from ubr.application.ports.paging import After
from ubr.application.ports.roles import ForgottenGrants
from ubr.domain.errors import RoleNameTaken
from ubr.domain.events import Event
from ubr.domain.ids import RoleId, UserId
from ubr.domain.roles.grant import Grant
from ubr.domain.roles.role import Role, RoleName


class MemoryRoles:
    def __init__(self, drafts: Drafts, events: list[Event]) -> None:
        self._drafts = drafts
        self._events = events

    async def get(self, role_id: RoleId) -> Role | None:
        role = self._drafts.roles.get(role_id)
        return None if role is None else replace(role, events=[])

    async def by_name(self, name: RoleName) -> Role | None:
        role_id = self._drafts.role_by_name.get(name)
        return None if role_id is None else await self.get(role_id)

    async def many(self, role_ids: Collection[RoleId]) -> list[Role]:
        found = (self._drafts.roles.get(role_id) for role_id in set(role_ids))
        return sorted((replace(role, events=[]) for role in found if role is not None), key=lambda role: role.name)

    async def page(self, after: After[datetime] | None, limit: int) -> list[Role]:
        rows = ((role.created_at, role.id, role) for role in self._drafts.roles)
        return [replace(role, events=[]) for role in cut(rows, after, limit, newest=False)]

    async def add(self, role: Role) -> None:
        self._claim(role)
        self._write(role)

    async def save(self, role: Role) -> None:
        before = self._drafts.roles.get(role.id)
        if before is None:
            return
        if before.name != role.name:
            self._claim(role)
            self._drafts.role_by_name.drop(before.name)
        self._write(role)

    async def remove(self, role: Role) -> None:
        self._note(role)
        if self._drafts.roles.get(role.id) is None:
            return
        self._drafts.roles.drop(role.id)
        self._drafts.role_by_name.drop(role.name)
        for user in list(self._drafts.users):
            if role.id in user.grants:
                grants = {held: grant for held, grant in user.grants.items() if held != role.id}
                self._drafts.users.put(user.id, replace(user, grants=grants))

    async def forget_removed(self, limit: int, *, reached: UserId | None = None) -> ForgottenGrants:  # noqa: ARG002
        """Removing a role leaves nothing to delete here."""
        return ForgottenGrants(0, more=False, reached=None)

    async def held(self, role_id: RoleId, now: datetime) -> bool:
        return any(role_id in user.roles_at(now) for user in self._drafts.users)

    async def grants(
        self, role_id: RoleId, now: datetime, after: UserId | None, limit: int
    ) -> list[tuple[UserId, Grant]]:
        grants = [(user.id, grant) for user in self._drafts.users if (grant := user.grants.get(role_id)) is not None]
        found = [each for each in grants if each[1].holds_at(now) and (after is None or each[0] > after)]
        return sorted(found, key=lambda each: each[0])[:limit]

    async def grant(self, role_id: RoleId, user_id: UserId) -> Grant | None:
        user = self._drafts.users.get(user_id)
        return None if user is None else user.grants.get(role_id)

    async def give_up_name(self, role: Role, until: datetime) -> None:
        self._drafts.former_role_names.put(role.name, FormerName(role.name, role.id, until))

    async def name_given_up(self, role: Role, now: datetime) -> bool:
        former = self._drafts.former_role_names.get(role.name)
        return former is not None and former.role_id != role.id and former.until > now

    async def forget_names(self, ended_before: datetime, limit: int) -> int:
        ended = [former.name for former in self._drafts.former_role_names if former.until < ended_before][:limit]
        for name in ended:
            self._drafts.former_role_names.drop(name)
        return len(ended)

    def _claim(self, role: Role) -> None:
        if self._drafts.role_by_name.get(role.name) is not None:
            raise RoleNameTaken
        self._drafts.role_by_name.put(role.name, role.id)

    def _write(self, role: Role) -> None:
        self._note(role)
        self._drafts.roles.put(role.id, replace(role, events=[]))

    def _note(self, role: Role) -> None:
        self._events += role.events
        role.events.clear()
