"""What mypy has to refuse. The comment behind a line names the code of the one error that belongs there."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import ubr
from ubr import (
    SYSTEM,
    Actor,
    Application,
    AssignRoleCommand,
    CreateUserCommand,
    Extensions,
    GetUserCommand,
    Hooks,
    ListUsersCommand,
    LogInCommand,
    RegisterUserCommand,
    Settings,
    UpdateUserCommand,
    UserChanges,
    UserResult,
    connect,
)
from ubr.application.app import RevocationUseCases
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork, UnitOfWork
from ubr.application.sessions.log_out import LogOut
from ubr.bootstrap.composition.sessions import session_use_cases
from ubr.bootstrap.ports import Ports
from ubr.sync import BlockingApplication
from ubr.testing import in_memory
from ubr.verifier import Credentials, Verifier

INVITE = CreateUserCommand(email="reader@example.org")
REGISTER = RegisterUserCommand(email="reader@example.org", password="a long enough password")


async def calls(app: Application, actor: Actor, user: UserResult) -> None:
    await app.log_in(REGISTER)  # E: arg-type
    await app.list_users(ListUsersCommand())  # E: call-arg
    await app.get_user(GetUserCommand(user_id=user.id), actor)  # E: call-arg
    await app.get_user(command=GetUserCommand(user_id=user.id), actor=actor)  # E: call-arg
    await app.get_user(GetUserCommand(user_id=user.id), actor=user)  # E: arg-type
    await app.get_user(GetUserCommand(user_id=user.id), actor=None)  # E: arg-type
    await app.log_out(actor=SYSTEM)  # E: arg-type
    await app.create_user(INVITE, actor=actor, idempotency_key="once")  # E: arg-type
    await app.register_user(REGISTER, actor="somebody")  # E: call-overload
    await app.invite_user(REGISTER)  # E: attr-defined
    app.get_user(GetUserCommand(user_id=user.id), actor=actor)  # E: unused-coroutine
    Actor(user.id, user.id)  # E: arg-type,arg-type


def commands(user: UserResult) -> None:
    GetUserCommand(user_id=str(user.id))  # E: arg-type
    GetUserCommand(user.id)  # E: call-arg
    GetUserCommand(user_id=user.email)  # E: arg-type
    LogInCommand(email="reader@example.org")  # E: call-arg
    CreateUserCommand(email="reader@example.org", is_admin=True)  # E: call-arg
    AssignRoleCommand(user_id=user.id, role=7)  # E: arg-type
    AssignRoleCommand(user_id=user.id, role="editor", expires_at=timedelta(days=1))  # E: arg-type
    ListUsersCommand(limit="10")  # E: arg-type
    UpdateUserCommand(user_id=user.id, changes={"full_name": "A Reader"})  # E: arg-type
    UserChanges(email=None)  # E: arg-type
    GetUserCommand(user_id=user.id).user_id = UUID(int=0)  # E: misc


async def results(app: Application, actor: Actor, user: UserResult) -> None:
    name: str = user.full_name  # E: assignment
    user.email = name  # E: misc
    user.password_hash  # E: attr-defined
    await user.roles  # E: misc
    page = await app.list_users(ListUsersCommand(), actor=actor)
    page[0]  # E: index
    page.items[0].e_mail  # E: attr-defined
    page.total  # E: attr-defined
    registered = await app.register_user(REGISTER)
    registered.id  # E: union-attr
    tokens = await app.log_in(LogInCommand(email="reader@example.org", password="a long enough password"))
    await app.get_user(GetUserCommand(user_id=user.id), actor=tokens)  # E: arg-type
    app.list_users(ListUsersCommand(), actor=actor).items  # E: attr-defined


async def openings() -> None:
    with connect(Settings.from_env()) as app:  # E: attr-defined,attr-defined
        app.log_in
    connect("sqlite+aiosqlite:///ubr.db")  # E: arg-type
    ubr.Setting.from_env()  # E: attr-defined
    Settings(nothing=True)  # E: call-arg
    async with in_memory() as app:
        await app.log_in(LogInCommand(email="reader@example.org", password=""))  # E: attr-defined
    Verifier("https://users.example.org", Credentials("service", "password"))  # E: call-arg


def blocking(users: BlockingApplication) -> None:
    users.create_user(CreateUserCommand(email="a@example.org"))  # E: call-arg
    users.create_user(GetUserCommand(user_id=UUID(int=1)), actor=SYSTEM)  # E: arg-type
    users.create_users()  # E: attr-defined


async def within(app: Application) -> None:
    await app.within(object()).log_in(LogInCommand(email="a@example.org", password=""))  # E: attr-defined


@Hooks().before(CreateUserCommand)  # E: arg-type
async def another_command(command: LogInCommand, actor: object) -> None:
    del command, actor


def parts_of_a_host() -> None:
    Extensions(mailer=object())  # E: arg-type
    Extensions(hasher=Extensions())  # E: arg-type


def composition(ending: EndingUnitOfWork, plain: UnitOfWork, denials: DenialLog, ports: Ports, log_out: LogOut) -> None:
    LogOut(unit_of_work=ending)  # E: call-arg
    LogOut(unit_of_work=plain, denials=denials)  # E: arg-type
    LogOut(unit_of_work=ending, denials=ending)  # E: arg-type
    LogOut(unit_of_work=ending, denials=denials, clock=ports.clock)  # E: call-arg
    RevocationUseCases(follow_revocations=log_out)  # E: call-arg,arg-type
    session_use_cases(ports, ports)  # E: arg-type
