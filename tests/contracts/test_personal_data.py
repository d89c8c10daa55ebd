"""What a store promises about the rows of one person."""

from __future__ import annotations

import secrets
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.contracts.kit import HOUR, NOON, email, new_session, new_user, put
from tests.contracts.test_links import new_link
from ubr.adapters.sql.tables import metadata
from ubr.application.ports.idempotency import IdempotencyRecord
from ubr.application.ports.personal_data import FormerEmail, PersonalRecords
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.one_time_link import LinkKind
from ubr.domain.accounts.user import User
from ubr.domain.actor import SYSTEM
from ubr.domain.mail.kinds import MailKind
from ubr.domain.mail.queued_mail import QueuedMail
from ubr.domain.sessions.termination import SecurityEvent

pytestmark = pytest.mark.anyio

TICK = timedelta(microseconds=1)


def new_mail(user: User | None, to: User, *, made: int = 0) -> QueuedMail:
    return QueuedMail(
        id=uuid4(),
        kind=MailKind.PASSWORD_RESET,
        email=to.email,
        user_id=None if user is None else user.id,
        created_at=NOON + made * TICK,
        next_try_at=NOON,
    )


def new_result(actor: User | None, about: User | None, *, hours: int = 1) -> IdempotencyRecord:
    return IdempotencyRecord(
        digest=secrets.token_bytes(32),
        fingerprint=b"",
        actor_id=None if actor is None else actor.id,
        user_id=None if about is None else about.id,
        result=b"{}",
        expires_at=NOON + hours * HOUR,
    )


async def test_the_rows_about_a_user_are_found_and_no_others(uow: UnitOfWork) -> None:
    user, other = new_user("ada"), new_user("bob")
    await put(uow, user, other)
    own_links = [new_link(user, made=1), new_link(to="ada", kind=LinkKind.REGISTRATION, made=2)]
    own_mails = [new_mail(user, other, made=1), new_mail(None, user, made=2)]
    async with uow.begin(SYSTEM) as tx:
        for link in (*own_links, new_link(other), new_link(to="cyd", kind=LinkKind.REGISTRATION)):
            await tx.links.add(link)
        for mail in (*own_mails, new_mail(other, user), new_mail(None, other)):
            await tx.outbox.add(mail)
        for former, owner, hours in (("old", user, 2), ("older", user, 1), ("bobs", other, 1)):
            await tx.users.reserve(email(former), owner.id, NOON + hours * HOUR)
        for owner, client, hours in ((user, b"a", 0), (user, b"b", -1), (other, b"a", 0)):
            await tx.known_clients.see(owner.id, client, NOON + hours * HOUR)
        for result in (new_result(user, None, hours=2), new_result(other, user), new_result(None, other, hours=3)):
            await tx.idempotency.claim(result.digest, NOON)
            await tx.idempotency.keep(result)
        await tx.commit()
    async with uow.read() as tx:
        found = await tx.personal_data.of(user)
    assert found == PersonalRecords(
        former_emails=[
            FormerEmail(key="older@example.com", until=NOON + HOUR),
            FormerEmail(key="old@example.com", until=NOON + 2 * HOUR),
        ],
        known_clients=[NOON - HOUR, NOON],
        links=own_links,
        mails=own_mails,
        results=2,
        results_until=NOON + 2 * HOUR,
    )


async def test_a_user_without_rows_has_none(uow: UnitOfWork) -> None:
    user = new_user()
    await put(uow, user)
    async with uow.peek() as tx:
        found = await tx.personal_data.of(user)
        assert await tx.personal_data.sessions(user.id, None, 10) == []
    assert found == PersonalRecords(
        former_emails=[], known_clients=[], links=[], mails=[], results=0, results_until=None
    )


async def test_sessions_are_read_in_pages_ended_ones_included(uow: UnitOfWork) -> None:
    user, other = new_user(), new_user()
    sessions = [new_session(user) for _ in range(5)]
    await put(uow, user, other, *sessions, new_session(other))
    async with uow.begin(SYSTEM) as tx:
        await tx.sessions.end_of(user.id, SecurityEvent.ALL_REVOKED, NOON, spared=sessions[0].id)
        await tx.commit()
    walked = []
    async with uow.peek() as tx:
        page = await tx.personal_data.sessions(user.id, None, 2)
        while page:
            walked += page
            page = await tx.personal_data.sessions(user.id, page[-1].id, 2)
    assert [session.id for session in walked] == sorted(session.id for session in sessions)
    assert {session.id for session in walked if session.ended_at is None} == {sessions[0].id}


WITHOUT_A_PERSON = {
    "alembic_version", "counters", "feed", "feed_head", "former_role_names", "log_checkpoints", "log_head", "log_keys",
    "log_leaves", "log_nodes", "log_pruned", "log_queue", "machine_keys", "machines", "password_tries", "roles",
    "leases", "signing_keys", "user_field_indexes", "workers",
}  # fmt: skip
"""Tables without a person, or with one only by an HMAC or an id deleted within hours. Machines are no persons."""
EXPORTED = {
    "users", "user_roles", "sessions", "refresh_tokens", "links", "outbox", "reserved_emails", "logs", "replays",
    "known_clients", "log_client_ips", "user_field_values",
}  # fmt: skip
"""Tables about persons: their export contains each row, except for refresh tokens, which are secrets."""


def test_every_table_is_known_to_be_about_persons_or_not() -> None:
    assert set(metadata.tables) == (WITHOUT_A_PERSON | EXPORTED) - {"alembic_version"}
