from __future__ import annotations

from datetime import datetime
from itertools import chain
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from ubr.application.access.authorization import Authorize
from ubr.application.access.field_access import administrating
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import NO_CONTROLS, PageCursor, PageLimit, RoleNameStr
from ubr.application.kernel.paging import DEFAULT_LIMIT, Pager, check_limit
from ubr.application.kernel.representations import Page, UserResult, of_summary
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.accounts import MAX_TERMS, UserFilter, UserSort
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.paging import After
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.email import MAX_EMAIL_LENGTH
from ubr.domain.accounts.search import Prefix
from ubr.domain.accounts.user import UserStatus, UserSummary
from ubr.domain.accounts.user_field import Term
from ubr.domain.accounts.user_fields import NO_FIELDS, FieldIndex, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Invalid, Unavailable
from ubr.domain.ids import UserId
from ubr.domain.roles.permissions import USERS_READ
from ubr.domain.roles.role import RoleName

RETRY_INDEXED: Final = 5
"""Seconds after which a search by a field that is not indexed is worth a retry."""

SearchStr: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"pattern": NO_CONTROLS, "minLength": 1, "maxLength": MAX_EMAIL_LENGTH})
]


class ListUsersCommand(Command, frozen=True, kw_only=True):
    """`q` is a case-insensitive prefix of the e-mail or the full name, 1 to 254 characters.

    `fields` has the values of searchable fields of the host: all of them must match.
    """

    q: SearchStr | None = None
    role: Annotated[RoleNameStr | None, Meta(description="Only users with this role.", examples=["editor"])] = None
    status: Annotated[UserStatus | None, Meta(description="Only users with this status.")] = None
    sort: Annotated[UserSort, Meta(description="Sort order of the list; a leading `-` reverses it.")] = "created_at"
    fields: dict[str, Any] = msgspec.field(default_factory=dict)
    limit: PageLimit = DEFAULT_LIMIT
    cursor: PageCursor = None


class ListUsers(msgspec.Struct, frozen=True):
    """List users, filtered by role and status, sorted by creation or e-mail.

    - Requires `users:read`.
    - `q` finds users whose e-mail or full name begins with it, case-insensitively. There are no wildcards.
    - The role filter considers only grants that are in force now.
    - A field of the host finds users with exactly this value, or with it in their list. A search fails with
      `unavailable` while users are being indexed by the field, after a change of its declaration.
    - With `q`, `role` or a field, a page may have fewer items than `limit` although `next_cursor` is not null, even
      none: each page reads a bounded number of users. The list ends where `next_cursor` is null.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    pager: Pager
    denials: DenialLog
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    @retry_on_conflict  # a stale plan: a migration has changed a table since its query was prepared
    async def __call__(self, command: ListUsersCommand, /, *, actor: Actor | System) -> Page[UserResult]:
        limit = check_limit(command.limit)
        role = None if command.role is None else RoleName.parse(command.role, "/role")
        prefix = None if command.q is None else Prefix.parse(command.q)
        if len(command.fields) > MAX_TERMS:
            raise Invalid(f"A search names at most {MAX_TERMS} fields")
        terms = self.user_fields.sought(command.fields, administrating(actor))
        prefix_keys = (None, None) if prefix is None else (prefix.email, prefix.name)
        bound_to = ("users", *prefix_keys, role, command.status, command.sort, *chain.from_iterable(terms))
        by_email = command.sort.endswith("email")
        after: After[datetime] | After[str] | None
        if by_email:
            after = self.pager.after(command.cursor, bound_to, str)
        else:
            after = self.pager.after(command.cursor, bound_to, datetime.fromisoformat)
        (await self.authorize(actor)).require(USERS_READ)
        which = UserFilter(prefix=prefix, role=role, status=command.status, sort=command.sort, terms=terms)
        searched = prefix is not None or role is not None or bool(terms)
        # A search takes several queries, which have to see the same users. One query needs no unit (ADR 55).
        unit = self.unit_of_work.read() if searched else self.unit_of_work.peek()
        async with unit as tx:
            if terms:
                self._check_indexed(terms, await tx.users.indexes())
            found = await tx.users.search(which, after, limit + 1)

        def key(user: UserSummary) -> tuple[datetime | str, UserId]:
            return (user.email.key if by_email else user.created_at), user.id

        view = self.user_fields.seen_by(administrating(actor))
        users, cursor = self.pager.cut(found.items, limit, bound_to, key, reached=found.reached)
        return Page(items=[of_summary(UserResult, user, view) for user in users], next_cursor=cursor)

    def _check_indexed(self, terms: tuple[Term, ...], indexes: list[FieldIndex]) -> None:
        """Errors: `Unavailable` if the search would not find every user."""
        lacking = self.user_fields.index.lacking(indexes)
        if missing := sorted({term.field for term in terms}.intersection(lacking)):
            raise Unavailable(
                f"The declaration has changed, and not every user is indexed by {', '.join(missing)} yet",
                retry_after=RETRY_INDEXED,
            )
