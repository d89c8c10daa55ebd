"""Who reads and writes fields of the host, and where they go: exports, entries, tokens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest

from tests.support.papers import program
from tests.support.people import PASSWORD, Member, World, token_in
from ubr import (
    SYSTEM,
    Actor,
    Application,
    CreateUserCommand,
    DeleteUserCommand,
    Extensions,
    FieldRules,
    GetUserCommand,
    IdempotencyKey,
    ListLogsCommand,
    ListUsersCommand,
    RefreshSessionCommand,
    RegisterUserCommand,
    ResetPasswordCommand,
    TokenSubject,
    UpdateUserCommand,
    UserChanges,
    UserResult,
    VerifyEmailCommand,
    errors,
    fields_from,
    sync,
)
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.export_user import ExportUserCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.kernel.field_declarations import declared_by, declared_in, typed
from ubr.application.machines.create_machine import CreateMachineCommand
from ubr.bootstrap.user_fields import user_fields_of
from ubr.domain.accounts.user_field import Access, FieldKind
from ubr.settings import Settings, WrongSetting
from ubr.testing import TINY_HASHING, Double, delivered, in_memory
from ubr.verifier.tokens import TokenReader


class Plan(StrEnum):
    FREE = "free"
    PAID = "paid"


class Company(msgspec.Struct, kw_only=True):
    plan: Annotated[Plan, FieldRules(in_token=True, searchable=True)] = Plan.FREE
    nickname: Annotated[str | None, msgspec.Meta(max_length=40), FieldRules(write="user", in_token=True)] = None
    hired_on: Annotated[date | None, FieldRules(read="admins")] = None
    number: Annotated[int | None, FieldRules(read="host", write="host")] = None


@pytest.fixture
async def company() -> AsyncIterator[World]:
    async with in_memory(user_fields=Company) as (ubr, clock):
        yield World(ubr, clock)


def changes(user_id: UUID, **fields: Any) -> UpdateUserCommand:
    return UpdateUserCommand(user_id=user_id, changes=UserChanges(fields=fields))


async def changed(world: World, user_id: UUID, actor: Actor | Any = SYSTEM, **fields: Any) -> UserResult:
    return await world.ubr.update_user(changes(user_id, **fields), actor=actor)


def names(user: UserResult) -> set[str]:
    assert user.fields is not msgspec.UNSET
    return set(user.fields)


async def claims(ubr: Application, token: str) -> dict[str, Any]:
    reader = TokenReader("http://127.0.0.1:8000", "ubr")
    reader.install([json.loads(key) for key in await ubr.get_public_keys()])
    return reader.read(token).token.claims


# --- who may ----------------------------------------------------------------------------------------------------------


async def test_each_reader_sees_their_fields(company: World) -> None:
    member, reader = await company.user(), await company.user("users:read")
    own, theirs = {"plan", "nickname"}, {"plan", "nickname", "hired_on"}
    command = GetUserCommand(user_id=member.id)
    assert names(await company.ubr.get_user(command, actor=member.actor)) == own
    assert names(await company.ubr.get_me(actor=member.actor)) == own
    assert names(member.tokens.user) == own
    assert names(await company.ubr.get_user(command, actor=reader.actor)) == theirs
    assert names(await company.ubr.get_me(actor=reader.actor)) == theirs
    assert names((await company.log_in(reader.email)).user) == theirs
    for user in (await company.ubr.list_users(ListUsersCommand(), actor=reader.actor)).items:
        assert names(user) == theirs
    assert names(await company.ubr.get_user(command, actor=SYSTEM)) == theirs | {"number"}


async def test_each_writer_writes_their_fields(company: World) -> None:
    member, writer = await company.user(), await company.user("users:write")
    await changed(company, member.id, member.actor, nickname="Z")
    with pytest.raises(errors.Forbidden):
        await changed(company, member.id, member.actor, plan="paid")
    with pytest.raises(errors.Forbidden):
        await changed(company, writer.id, member.actor, nickname="Z")
    await changed(company, member.id, writer.actor, plan="paid", nickname="Y", hired_on=date(2026, 1, 31))
    with pytest.raises(errors.Invalid, match="is not a known field"):
        await changed(company, member.id, writer.actor, number=7)
    user = await changed(company, member.id, number=7)
    assert user.fields_as(Company) == Company(plan=Plan.PAID, nickname="Y", hired_on=date(2026, 1, 31), number=7)


async def test_a_field_of_administrators_is_not_changed_on_a_user_with_more_permissions(company: World) -> None:
    admin, writer = await company.admin(), await company.user("users:write")
    await changed(company, admin.id, writer.actor, nickname="Z")
    with pytest.raises(errors.GrantExceedsOwn):
        await changed(company, admin.id, writer.actor, plan="paid")


async def test_machines_have_no_fields(company: World) -> None:
    machine = await company.ubr.create_machine(CreateMachineCommand(name="robot"), actor=SYSTEM)
    user = await company.ubr.get_user(GetUserCommand(user_id=machine.id), actor=SYSTEM)
    assert user.fields is msgspec.UNSET
    with pytest.raises(errors.MachineAccount):
        await changed(company, machine.id, plan="paid")
    assert (await company.ubr.list_users(ListUsersCommand(fields={"plan": "free"}), actor=SYSTEM)).items == []


# --- ways to an account -----------------------------------------------------------------------------------------------


async def test_every_new_person_is_found_by_the_default(company: World) -> None:
    await company.ubr.create_admin(CreateAdminCommand(email="admin@example.org", password=PASSWORD), actor=SYSTEM)
    await company.register()
    await company.ubr.create_user(CreateUserCommand(email="new@example.org"), actor=SYSTEM)
    assert len((await company.ubr.list_users(ListUsersCommand(fields={"plan": "free"}), actor=SYSTEM)).items) == 3


async def test_a_registration_by_mail_takes_no_fields() -> None:
    async with in_memory(user_fields=Company, registration="verified") as (ubr, _):
        command = RegisterUserCommand(email="new@example.org", fields={"nickname": "Z"})
        with pytest.raises(errors.Invalid, match="is not accepted here"):
            await ubr.register_user(command)
        await ubr.register_user(RegisterUserCommand(email="new@example.org"))
        [mail] = await delivered(ubr)
        await ubr.verify_email(VerifyEmailCommand(token=token_in(mail), password=PASSWORD))
        [user] = (await ubr.list_users(ListUsersCommand(fields={"plan": "free"}), actor=SYSTEM)).items
        assert user.fields_as(Company) == Company()


async def test_the_owner_of_a_mailbox_does_not_get_what_another_registrant_wrote(company: World) -> None:
    command = RegisterUserCommand(email="theirs@example.org", password=PASSWORD, fields={"nickname": "Thief"})
    user = await company.ubr.register_user(command, actor=SYSTEM)
    await changed(company, user.id, plan="paid")
    await delivered(company.ubr)
    await company.ubr.request_password_reset(RequestPasswordResetCommand(email=user.email))
    [mail] = await delivered(company.ubr)
    await company.ubr.reset_password(ResetPasswordCommand(token=token_in(mail), new_password=PASSWORD + " 2"))
    after = await company.ubr.get_user(GetUserCommand(user_id=user.id), actor=SYSTEM)
    assert after.fields_as(Company) == Company(plan=Plan.PAID)


async def test_a_retry_gets_the_same_fields(company: World) -> None:
    fields = fields_from(Company(plan=Plan.PAID, hired_on=date(2026, 1, 31)))
    command, key = CreateUserCommand(email="new@example.org", fields=fields), IdempotencyKey("once")
    first = await company.ubr.create_user(command, actor=SYSTEM, idempotency_key=key)
    command = msgspec.structs.replace(command, fields=dict(reversed(fields.items())))
    again = await company.ubr.create_user(command, actor=SYSTEM, idempotency_key=key)
    assert (again, again.revision) == (first, first.revision)


# --- ways out ---------------------------------------------------------------------------------------------------------


async def test_the_log_names_fields_without_values(company: World) -> None:
    user = await company.register()
    await company.acts()
    await changed(company, user.id, plan="paid", nickname="Secret")
    await changed(company, user.id, plan="paid")
    [entry] = [
        each
        for each in (await company.ubr.list_logs(ListLogsCommand(target_id=str(user.id)), actor=SYSTEM)).items
        if each.action == "user.updated"
    ]
    assert entry.data == {"changed": ["fields.nickname", "fields.plan"]}


async def test_a_value_of_a_later_kind_is_a_change(company: World) -> None:
    class Later(msgspec.Struct):
        number: bool | None = None

    user = await changed(company, (await company.register()).id, number=1)
    fields = declared_by(Later)
    update_user = msgspec.structs.replace(company.ubr.update_user, user_fields=fields)
    before = await update_user(changes(user.id), actor=SYSTEM)
    after = await update_user(changes(user.id, number=True), actor=SYSTEM)
    assert (before.fields, after.fields) == ({"number": None}, {"number": True})
    assert after.revision != before.revision


async def test_an_export_has_every_field_and_a_deletion_leaves_none(company: World) -> None:
    member = await company.user()
    await changed(company, member.id, number=7, hired_on=date(2026, 1, 31))
    parts = await company.ubr.export_user(ExportUserCommand(user_id=member.id), actor=member.actor)
    document = json.loads(b"".join([part async for part in parts]))
    assert document["user"]["fields"] == {"plan": "free", "nickname": None, "hired_on": "2026-01-31", "number": 7}
    await company.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)
    assert (await company.ubr.list_users(ListUsersCommand(fields={"plan": "free"}), actor=SYSTEM)).items == []


async def test_tokens_have_the_fields_of_their_moment(company: World) -> None:
    member = await company.user()
    assert await claims(company.ubr, member.tokens.access_token) == {"plan": "free"}
    await changed(company, member.id, plan="paid", nickname="Z")
    tokens = await company.ubr.refresh_session(RefreshSessionCommand(refresh_token=member.tokens.refresh_token))
    assert await claims(company.ubr, tokens.access_token) == {"plan": "paid", "nickname": "Z"}


async def test_a_claim_of_the_program_replaces_a_field() -> None:
    async def token_claims(subject: TokenSubject) -> Mapping[str, object]:
        assert subject.user.fields is not msgspec.UNSET
        return {"plan": "trial", "seen": sorted(subject.user.fields)}

    async with in_memory(user_fields=Company, extensions=Extensions(token_claims=token_claims)) as (ubr, clock):
        member: Member = await World(ubr, clock).user()
        found = await claims(ubr, member.tokens.access_token)
        assert found == {"plan": "trial", "seen": ["nickname", "plan"]}


async def test_no_value_of_a_user_stops_a_login() -> None:
    class Noted(msgspec.Struct):
        note: Annotated[str | None, msgspec.Meta(max_length=1000), FieldRules(write="user", in_token=True)] = None

    size = 1024 - len('{"team":""}')

    async def token_claims(_: TokenSubject) -> Mapping[str, object]:
        return {"team": "x" * size}

    async with in_memory(user_fields=Noted, extensions=Extensions(token_claims=token_claims)) as (ubr, clock):
        world = World(ubr, clock)
        member = await world.user()
        await changed(world, member.id, member.actor, note="y" * 1000)
        found = await claims(ubr, (await world.log_in(member.email)).access_token)
        assert found == {"note": "y" * 1000, "team": "x" * size}
        await changed(world, member.id, member.actor, note=None)
        size += 1
        with pytest.raises(ValueError, match="1025 bytes, and 1024 at most"):
            await world.log_in(member.email)


async def test_without_fields_a_token_has_no_claims() -> None:
    class Plain(msgspec.Struct):
        note: str | None = None

    async with in_memory(user_fields=Plain) as (ubr, clock):
        member = await World(ubr, clock).user()
        assert await claims(ubr, member.tokens.access_token) == {}


# --- the declaration --------------------------------------------------------------------------------------------------


def test_a_structure_and_a_file_make_the_same_declaration() -> None:
    class Both(msgspec.Struct, kw_only=True):
        a: Annotated[str, msgspec.Meta(min_length=2, max_length=9, description="An a."), FieldRules(searchable=True)]
        b: Annotated[int, msgspec.Meta(ge=1, lt=10)] = 3
        c: bool | None = None
        d: Annotated[date | None, FieldRules(read="admins", write="host")] = None
        e: Literal["x", "y"] | msgspec.UnsetType = msgspec.UNSET
        f: Annotated[list[str], msgspec.Meta(max_length=5)] = msgspec.field(default_factory=lambda: ["z"])
        g: Annotated[Plan, FieldRules(in_token=True, write="user", description="A g.")] = Plan.FREE

    text = json.dumps(
        {
            "fields": [
                {
                    "name": "a",
                    "type": "string",
                    "min": 2,
                    "max": 9,
                    "description": "An a.",
                    "required": True,
                    "searchable": True,
                },
                {"name": "b", "type": "integer", "min": 1, "max": 9, "default": 3},
                {"name": "c", "type": "boolean"},
                {"name": "d", "type": "date", "read": "admins", "write": "host"},
                {"name": "e", "type": "enum", "choices": ["x", "y"]},
                {"name": "f", "type": "strings", "max": 5, "default": ["z"]},
                {
                    "name": "g",
                    "type": "enum",
                    "choices": ["free", "paid"],
                    "default": "free",
                    "in_token": True,
                    "write": "user",
                    "description": "A g.",
                },
            ]
        }
    )
    by_structure, in_file = declared_by(Both), declared_in(text.encode())
    assert by_structure.declared == in_file.declared
    assert by_structure.fingerprint == in_file.fingerprint
    assert declared_by(Company).declared["number"].write is Access.HOST
    assert declared_by(Company).declared["plan"].kind is FieldKind.ENUM


def test_a_structure_with_another_type_is_refused() -> None:
    class Wrong(msgspec.Struct):
        it: float

    class Union(msgspec.Struct):
        it: int | str

    for wrong in (Wrong, Union):
        with pytest.raises(TypeError, match="The field it has the type"):
            declared_by(wrong)
    with pytest.raises(TypeError, match=r"not a subclass of msgspec\.Struct"):
        declared_by(dict)


def test_a_rule_that_no_field_checks_is_refused() -> None:
    class Pattern(msgspec.Struct):
        it: Annotated[str, msgspec.Meta(pattern="^[0-9]+$")]

    class Multiple(msgspec.Struct):
        it: Annotated[int | None, msgspec.Meta(multiple_of=5)] = None

    class Length(msgspec.Struct):
        it: Annotated[int, msgspec.Meta(max_length=5)] = 1

    for wrong, rule in ((Pattern, "pattern"), (Multiple, "multiple_of"), (Length, "max_length")):
        with pytest.raises(TypeError, match=f"The field it has the rule {rule}"):
            declared_by(wrong)


def test_an_unknown_level_is_refused() -> None:
    level: Any = "admin"
    for rules in ({"read": level}, {"write": level}):
        with pytest.raises(ValueError, match="one of user, admins, host"):
            FieldRules(**rules)


def test_the_bounds_of_every_annotation_have_effect() -> None:
    class Nested(msgspec.Struct):
        it: Annotated[Annotated[int, msgspec.Meta(ge=1)] | None, msgspec.Meta(le=9)] = None

    assert declared_by(Nested).declared["it"].bounds == (1, 9)


def test_the_form_of_a_structure_in_json_does_not_matter() -> None:
    class Formed(msgspec.Struct, rename="camel", omit_defaults=True, tag=True, kw_only=True):
        its_plan: Plan = Plan.FREE
        its_day: date | None = None
        its_note: str | msgspec.UnsetType = msgspec.UNSET

    assert fields_from(Formed()) == {"its_plan": "free"}
    assert typed(Formed, fields_from(Formed(its_day=date(2026, 1, 31)))) == Formed(its_day=date(2026, 1, 31))


def test_a_required_value_that_is_missing_is_named() -> None:
    class Required(msgspec.Struct):
        it: str

    with pytest.raises(ValueError, match="no it, which Required requires"):
        typed(Required, {"it": None})


def test_one_declaration_is_used() -> None:
    with pytest.raises(WrongSetting, match="use one of them"):
        user_fields_of(Settings.memory(user_fields_file="/srv/fields.json"), Company)


async def test_the_structure_of_the_page() -> None:
    page = program("docs/extending.md", "class CompanyFields")
    async with in_memory(user_fields=page["CompanyFields"]) as (ubr, _):
        hired = await page["hire"](ubr, "grace@example.org")
        assert (hired.department, hired.level, hired.hired_on) == ("sales", 2, date(2026, 1, 31))
        assert await page["sellers"](ubr) == ["grace@example.org"]


def test_the_double_and_blocking_callers_have_fields() -> None:
    with Double(user_fields=Company) as double:
        user = double.a_user(fields={"plan": "paid"})
        shown = double.run(lambda: double.ubr.get_user(GetUserCommand(user_id=user.id), actor=SYSTEM))
        assert shown.fields_as(Company).plan is Plan.PAID
    with sync.connect(Settings.memory(**TINY_HASHING), user_fields=Company) as users:
        made = users.create_user(CreateUserCommand(email="new@example.org", fields={"number": 7}), actor=SYSTEM)
        assert made.fields_as(Company).number == 7
