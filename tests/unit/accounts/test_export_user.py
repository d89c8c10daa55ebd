"""A person's data, as one document."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from tests.support.machines import Machines
from tests.support.people import PASSWORD, World, new_world
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.export_user import PAGE, ExportUserCommand, UserExportResult
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.revocation.follow_revocations import FollowRevocationsCommand
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import (
    InvalidCredentials,
    RateLimited,
    ReauthenticationRequired,
    UserNotFound,
)
from ubr.domain.events import UserUpdated
from ubr.domain.machines.key_text import keys_in
from ubr.settings import Limit, LoginRateLimit, RateLimit

OWNER = "owner@example.org"
HOME, STRANGER, OFFICE = "192.0.2.1", "198.51.100.7", "203.0.113.9"
READER = ("users:read", "sessions:read", "logs:read")


async def parts(world: World, user_id: UUID, actor: Actor | System = SYSTEM) -> list[bytes]:
    return [part async for part in await world.ubr.export_user(ExportUserCommand(user_id=user_id), actor=actor)]


async def exported(world: World, user_id: UUID, actor: Actor | System = SYSTEM) -> dict[str, Any]:
    document = b"".join(await parts(world, user_id, actor))
    msgspec.json.decode(document, type=UserExportResult)  # the documented shape
    found: dict[str, Any] = json.loads(document)
    return found


async def test_all_that_is_stored_is_in_the_document(world: World) -> None:
    with calling_from(Origin(ip=HOME, user_agent="a browser")):
        member = await world.user("revocations:read", email=OWNER)
        change = RequestEmailChangeCommand(email="new@example.org", current_password=PASSWORD)
        await world.ubr.request_email_change(change, actor=member.actor)
        await world.ubr.follow_revocations(FollowRevocationsCommand(verifier=UUID(int=7)), actor=member.actor)
    with calling_from(Origin(ip=STRANGER)):
        await world.ubr.request_password_reset(RequestPasswordResetCommand(email=OWNER))
        with pytest.raises(InvalidCredentials):
            await world.log_in(OWNER, "not the right one of them")
    document = await exported(world, member.id)
    assert (document["ubr_user_export"], document["user"]["email"], document["has_password"]) == (1, OWNER, True)
    assert {grant["role"] for grant in document["roles"]} >= {"user"}
    [session] = document["sessions"]
    assert (session["ip"], session["user_agent"], session["ended_at"]) == (HOME, "a browser", None)
    assert [(mail["kind"], mail["email"], mail["ip"]) for mail in document["mails"]] == [
        ("verification", OWNER, HOME),
        ("email_change", "new@example.org", HOME),
        ("password_reset", OWNER, STRANGER),
    ]
    assert len(document["verifiers"]) == 1
    assert [entry["action"] for entry in document["acts"]][:2] == ["verifier.registered", "user.email_change_asked"]
    assert [entry["action"] for entry in document["acts_upon"]][:2] == ["user.exported", "session.login_failed"]
    assert document["acts_upon"][1]["ip"] == STRANGER


async def test_the_document_of_a_machine_names_its_keys_and_contains_none(world: World) -> None:
    machines = Machines(world)
    machine, first = await machines.working("users:read")
    second = await machines.key(machine.id, scope=["users:read"])
    await machines.log_in(second.client_secret)
    await machines.revoke(machine.id, first.key.id)
    text = b"".join(await parts(world, machine.id)).decode()
    keys = json.loads(text)["keys"]
    assert [UUID(key["id"]) for key in keys] == [second.key.id, first.key.id]
    assert [bool(key["revoked_at"]) for key in keys] == [False, True]
    assert (keys[0]["scope"], bool(keys[0]["last_used_at"])) == (["users:read"], True)
    assert set(keys[0]) == {"id", "name", "scope", "created_at", "expires_at", "revoked_at", "last_used_at"}
    assert keys_in(text) == []
    assert (await exported(world, (await world.user()).id))["keys"] == []


async def test_the_export_is_an_entry(world: World) -> None:
    member, reader = await world.user(), await world.user(*READER)
    await world.acts()
    await parts(world, member.id, reader.actor)
    [entry] = await world.acts()
    assert (entry.action, entry.level, entry.actor_id) == ("user.exported", "warning", reader.id)
    assert entry.target is not None
    assert entry.target.id == str(member.id)


async def test_no_secret_and_no_hash_is_in_the_document(world: World) -> None:
    member = await world.user(email=OWNER)
    await world.ubr.request_password_reset(RequestPasswordResetCommand(email=OWNER))
    await world.mails()
    document = b"".join(await parts(world, member.id)).decode()
    assert json.loads(document)["links"], "the link is there, and its token is not"
    async with world.ubr.create_role.unit_of_work.read() as tx:
        user = await tx.users.get(member.actor.user_id)
        assert user is not None
        links = (await tx.personal_data.of(user)).links
        assert user.password_hash is not None
        hashed = user.password_hash.encoded
    for secret in (
        hashed,
        member.tokens.refresh_token,
        member.tokens.access_token,
        *(link.digest.hex() for link in links),
    ):
        assert secret not in document


async def test_the_origin_of_another_users_act_is_left_out(world: World) -> None:
    member, operator = await world.user(email=OWNER), await world.user("sessions:revoke")
    with calling_from(Origin(ip=OFFICE, request_id="of-the-office")):
        await world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=member.id), actor=operator.actor)
        await world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=member.id), actor=operator.actor)
    document = await exported(world, member.id)
    [upon] = [entry for entry in document["acts_upon"] if entry["action"] == "user.no_session_revoked"]
    assert (upon["actor_id"], upon["ip"], upon["request_id"]) == (str(operator.id), None, None)
    assert OFFICE not in json.dumps(document)
    assert str(operator.actor.session_id) not in json.dumps(document)
    own = await exported(world, operator.id)
    assert OFFICE in {entry["ip"] for entry in own["acts"]}


async def test_the_client_ip_of_an_operator_is_not_part_of_a_mail_for_a_user(world: World) -> None:
    with calling_from(Origin(ip=HOME)):
        member = await world.user(email=OWNER)
    admin = await world.admin()
    assert [mail["ip"] for mail in (await exported(world, member.id))["mails"]] == [HOME]
    world.clock.move(minutes=1)
    with calling_from(Origin(ip=OFFICE)):
        changes = UserChanges(email="new@example.org")
        await world.ubr.update_user(UpdateUserCommand(user_id=member.id, changes=changes), actor=admin.actor)
        invited = await world.ubr.create_user(CreateUserCommand(email="invited@example.org"), actor=admin.actor)
    document = await exported(world, member.id)
    mails = {(mail["kind"], mail["email"]): mail["ip"] for mail in document["mails"]}
    assert mails == {("email_replaced", OWNER): None, ("verification", "new@example.org"): None}
    assert [mail["ip"] for mail in (await exported(world, invited.id))["mails"]] == [None]


async def test_ended_sessions_and_ended_grants_are_part_of_it(world: World) -> None:
    member = await world.user("users:read", email=OWNER)
    admin = await world.admin()
    role = next(name for name in (await world.seen(member.id)).roles if name != "user")
    until = world.clock() + timedelta(minutes=2)
    command = AssignRoleCommand(user_id=member.id, role=role, expires_at=until)
    await world.ubr.assign_role(command, actor=admin.actor)
    await world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=member.id), actor=SYSTEM)
    world.clock.move(minutes=3)
    document = await exported(world, member.id)
    assert [session["ended_at"] is not None for session in document["sessions"]] == [True]
    [grant] = [grant for grant in document["roles"] if grant["role"] == role]
    assert grant["granted_by"] == str(admin.id)


async def test_oneself_within_ten_minutes_of_login(world: World) -> None:
    member = await world.user()
    world.clock.move(minutes=10)
    assert (await exported(world, member.id, member.actor))["acts"][0]["action"] == "user.exported"
    world.clock.move(microseconds=1)
    with pytest.raises(ReauthenticationRequired):
        await parts(world, member.id, member.actor)
    reader = await world.user(*READER)
    world.clock.move(days=1)
    await parts(world, reader.id, reader.actor)


async def test_ones_own_exports_have_a_limit() -> None:
    hour = timedelta(hours=1)
    limits = LoginRateLimit(Limit(10, hour), None)
    async with new_world(login_rate_limit=limits, own_change_rate_limit=RateLimit(Limit(1, hour))) as world:
        member = await world.user()
        await parts(world, member.id, member.actor)
        with pytest.raises(RateLimited):
            await parts(world, member.id, member.actor)
        await parts(world, member.id)


async def test_a_missing_user_is_not_exported(world: World) -> None:
    with pytest.raises(UserNotFound):
        await parts(world, UUID(int=7))


async def test_a_long_log_comes_in_parts_of_about_a_page_each_entry_once(world: World) -> None:
    member = await world.user()
    count = 2 * PAGE + 7
    async with world.ubr.create_role.unit_of_work.begin(member.actor) as tx:
        for _ in range(count):
            tx.record(UserUpdated(user_id=member.actor.user_id, changed=("full_name",)))
        await tx.commit()
    found = await parts(world, member.id)
    assert max(map(len, found)) < 1000 * PAGE
    assert len(found) > 5
    acts = json.loads(b"".join(found))["acts"]
    updates = [entry["id"] for entry in acts if entry["action"] == "user.updated"]
    assert len(updates) == len(set(updates)) == count
