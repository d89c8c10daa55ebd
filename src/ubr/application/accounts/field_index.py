"""The index of users by their searchable fields, as the background job and the command make it."""

from __future__ import annotations

from collections.abc import Sequence

from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.accounts.user_field import FieldValues
from ubr.domain.accounts.user_fields import UserFields
from ubr.domain.ids import UserId


async def declare(unit_of_work: UnitOfWork, user_fields: UserFields) -> None:
    """Store the declaration, so that other processes know what users are found by whom this one writes.

    Without a searchable field there is nothing to store. Errors: `StoreUnavailable`.
    """
    if user_fields.index.name:
        async with unit_of_work.autocommit() as repositories:
            await repositories.users.declare_index(user_fields.index)


async def index(tx: Transaction, user_fields: UserFields, found: Sequence[tuple[UserId, FieldValues]]) -> None:
    """Let these users be found by the values that are stored."""
    await tx.users.index({user_id: user_fields.terms(values) for user_id, values in found})
