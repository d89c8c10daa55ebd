"""Machines and their keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from uuid import UUID

import msgspec

from ubr.application.kernel.paging import MAX_LIMIT
from ubr.application.machines.create_machine import CreateMachineCommand
from ubr.application.machines.create_machine_key import CreateMachineKeyCommand, KeyToCreate
from ubr.application.machines.delete_machine import DeleteMachineCommand
from ubr.application.machines.get_machine import GetMachineCommand
from ubr.application.machines.list_machine_keys import ListMachineKeysCommand
from ubr.application.machines.list_machines import ListMachinesCommand
from ubr.application.machines.representations import MachineResult, NewMachineKeyResult
from ubr.application.machines.revoke_machine_key import RevokeMachineKeyCommand
from ubr.application.machines.rotate_machine_key import DEFAULT_OVERLAP, KeyRotation, RotateMachineKeyCommand
from ubr.application.machines.update_machine import MachineChanges, UpdateMachineCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.errors import Invalid, UbrError
from ubr.domain.roles.permissions import BUILT_IN_PERMISSIONS, MACHINES_WRITE, ROLES_ASSIGN
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages.console.acts import Question, act_of, ask, check_typed, ending, moment_of, sessions_of
from ubr.entrypoints.http.pages.console.desk import LIMIT, Desk, at_the_desk
from ubr.entrypoints.http.pages.console.users import roles_to_choose
from ubr.entrypoints.http.pages.kept import Kept
from ubr.entrypoints.http.pages.page import PageController, form_operation, is_seen, page_operation, see_other
from ubr.entrypoints.http.query import id_of
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import get, post

ENDING: Final = ""
"""In the place of a key: the sentence about the sessions that end."""
FINAL: Final = "act.final"


class NewKey(msgspec.Struct, frozen=True, array_like=True):
    """A new key on its way to the page that shows it. Its `repr` hides the secret."""

    name: str
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.name!r})"


_NEW_KEY: Final = Kept("ubr-new-key", NewKey, seconds=60)


class MachineAct(msgspec.Struct, frozen=True, kw_only=True):
    """An act upon a machine, or upon the key that `key_id` of its form names. `run` may return a new key to show.

    `tells` are the keys of its consequences: below `machine_act` and its name, or those of all acts.
    """

    notice: str
    tells: tuple[str, ...]
    run: Callable[[Desk, UUID, Form], Awaitable[object]]
    danger: bool = True
    typed: bool = False
    asks: tuple[str, ...] = ()
    leaves: bool = False


async def _set_status(desk: Desk, machine_id: UUID, status: UserStatus) -> None:
    command = UpdateMachineCommand(machine_id=machine_id, changes=MachineChanges(status=status))
    await desk.call.ubr.update_machine(command, actor=desk.actor)


async def _rotate(desk: Desk, machine_id: UUID, form: Form) -> NewMachineKeyResult:
    text = form.get("overlap") or str(DEFAULT_OVERLAP)
    if not text.isascii() or not text.isdigit() or len(text) > len(str(10**9)):
        raise Invalid.at("/overlap", "must be a whole number of seconds")
    rotation = KeyRotation(overlap=int(text), expires_at=moment_of(form, "expires_at"))
    command = RotateMachineKeyCommand(machine_id=machine_id, key_id=id_of(form.get("key_id")), rotation=rotation)
    return await desk.call.ubr.rotate_machine_key(command, actor=desk.actor)


ACTS: Final[Mapping[str, MachineAct]] = {
    "disable": MachineAct(
        notice="machine-disabled",
        tells=(ENDING, "keys"),
        run=lambda desk, machine_id, _: _set_status(desk, machine_id, UserStatus.DISABLED),
    ),
    "enable": MachineAct(
        notice="machine-enabled",
        tells=("keys",),
        run=lambda desk, machine_id, _: _set_status(desk, machine_id, UserStatus.ACTIVE),
        danger=False,
    ),
    "delete": MachineAct(
        notice="machine-deleted",
        tells=(ENDING, "keys", FINAL),
        run=lambda desk, machine_id, _: desk.call.ubr.delete_machine(
            DeleteMachineCommand(machine_id=machine_id), actor=desk.actor
        ),
        typed=True,
        leaves=True,
    ),
    "rotate-key": MachineAct(
        notice="",
        tells=("new", "old"),
        run=_rotate,
        danger=False,
        asks=("overlap", "expires_at"),
    ),
    "revoke-key": MachineAct(
        notice="key-revoked",
        tells=("ends", FINAL),
        run=lambda desk, machine_id, form: desk.call.ubr.revoke_machine_key(
            RevokeMachineKeyCommand(machine_id=machine_id, key_id=id_of(form.get("key_id"))), actor=desk.actor
        ),
    ),
}


class MachinesDesk(PageController):
    @get("/console/machines", page_operation("get_console_machines"))
    @at_the_desk
    async def machines(self, desk: Desk) -> Response:
        command = desk.filters("cursor").command(ListMachinesCommand, limit=LIMIT)
        machines = await desk.call.ubr.list_machines(command, actor=desk.actor)
        return await desk.show("machines.html", "machines", machines=machines)

    @get("/console/machines/new", page_operation("get_console_new_machine"))
    @at_the_desk
    async def new(self, desk: Desk) -> Response:
        return await _new(desk)

    @post("/console/machines/new", form_operation("post_console_new_machine"))
    @at_the_desk
    async def create(self, desk: Desk) -> Response:
        form = desk.call.form()
        try:
            command = form.command(CreateMachineCommand, roles=form.all("roles"))
            machine = await desk.call.ubr.create_machine(command, actor=desk.actor)
        except UbrError as error:
            return await _new(desk, form=form, error=error)
        return desk.done(f"/console/machines/{machine.id}", "machine-created")

    @get("/console/machines/{machine_id}", page_operation("get_console_machine"))
    @at_the_desk
    async def machine(self, desk: Desk) -> Response:
        return await _one(desk)

    @post("/console/machines/{machine_id}", form_operation("post_console_machine"))
    @at_the_desk
    async def describe(self, desk: Desk) -> Response:
        form, machine_id = desk.call.form(), desk.call.id("machine_id")
        changes = MachineChanges(description=form.get("description") or None)
        try:
            await desk.call.ubr.update_machine(
                UpdateMachineCommand(machine_id=machine_id, changes=changes), actor=desk.actor
            )
        except UbrError as error:
            return await _one(desk, form=form, error=error)
        return desk.done(f"/console/machines/{machine_id}", "machine-changed")

    @post("/console/machines/{machine_id}/keys", form_operation("post_console_machine_key"))
    @at_the_desk
    async def create_key(self, desk: Desk) -> Response:
        form = desk.call.form()
        try:
            key = KeyToCreate(
                name=form.get("name"), scope=form.all("scope") or None, expires_at=moment_of(form, "expires_at")
            )
            command = CreateMachineKeyCommand(machine_id=desk.call.id("machine_id"), key=key)
            made = await desk.call.ubr.create_machine_key(command, actor=desk.actor)
        except UbrError as error:
            return await _one(desk, form=form, error=error)
        return _to_the_key(desk, made)

    @get("/console/machines/{machine_id}/keys/new", page_operation("get_console_new_machine_key"))
    @at_the_desk
    async def new_key(self, desk: Desk) -> Response:
        """The text of a new key, once: the answer that a person sees takes it away from the browser."""
        machine, made = await _machine(desk), _NEW_KEY.of(desk.call)
        if made is None or made.client_id != str(machine.id):
            return await desk.show("machine_key.html", "machines", made=None, machine=machine)
        page = await desk.show("machine_key.html", "machines", made=made, machine=machine)
        return _NEW_KEY.drop(desk.call, page) if is_seen(desk.call) else page

    @get("/console/machines/{machine_id}/acts/{act}", page_operation("get_console_machine_act"))
    @at_the_desk
    async def question(self, desk: Desk) -> Response:
        return await _ask(desk, Form(list(desk.query.items())))

    @post("/console/machines/{machine_id}/acts/{act}", form_operation("post_console_machine_act"))
    @at_the_desk
    async def act(self, desk: Desk) -> Response:
        form, act, machine_id = desk.call.form(), act_of(desk, ACTS), desk.call.id("machine_id")
        try:
            if act.typed:
                check_typed(form, (await _machine(desk)).name)
            made = await act.run(desk, machine_id, form)
        except UbrError as error:
            return await _ask(desk, form, error=error)
        if isinstance(made, NewMachineKeyResult):
            return _to_the_key(desk, made)
        return desk.done("/console/machines" if act.leaves else f"/console/machines/{machine_id}", act.notice)


async def _machine(desk: Desk) -> MachineResult:
    command = GetMachineCommand(machine_id=desk.call.id("machine_id"))
    return await desk.call.ubr.get_machine(command, actor=desk.actor)


async def _new(desk: Desk, *, form: Form | None = None, error: UbrError | None = None) -> Response:
    roles = await roles_to_choose(desk) if desk.may(ROLES_ASSIGN) else None
    chosen = [] if form is None else form.all("roles")
    return await desk.show("new_machine.html", "machines", form=form, error=error, roles=roles or [], chosen=chosen)


async def _one(desk: Desk, *, form: Form | None = None, error: UbrError | None = None) -> Response:
    machine = await _machine(desk)
    command = ListMachineKeysCommand(machine_id=machine.id, limit=MAX_LIMIT)
    keys = await desk.call.ubr.list_machine_keys(command, actor=desk.actor)
    return await desk.show(
        "machine.html",
        "machines",
        form=form,
        error=error,
        machine=machine,
        keys=keys.items,
        writable=desk.may(MACHINES_WRITE),
        scope=[] if form is None else form.all("scope"),
        permissions=[*map(str, BUILT_IN_PERMISSIONS | desk.call.ubr.create_role.policy.own_permissions)],
        place=f"/console/machines/{machine.id}",
    )


def _to_the_key(desk: Desk, made: NewMachineKeyResult) -> Response:
    response = see_other(desk.call, f"/console/machines/{desk.call.id('machine_id')}/keys/new")
    return _NEW_KEY.give(desk.call, response, NewKey(made.key.name, str(made.client_id), made.client_secret))


async def _ask(desk: Desk, form: Form, *, error: UbrError | None = None) -> Response:
    act, machine = act_of(desk, ACTS), await _machine(desk)
    key_id = form.get("key_id")
    sessions = await sessions_of(desk, machine.id) if ENDING in act.tells else None
    name = f"machine_act.{desk.call.path_params['act']}"
    question = Question(
        title=desk.says(f"{name}.title"),
        button=desk.says(f"{name}.button"),
        consequences=[
            ending(desk.words, sessions) if key == ENDING else desk.says(key if key == FINAL else f"{name}.{key}")
            for key in act.tells
        ],
        path=desk.here,
        back=f"/console/machines/{machine.id}",
        section="machines",
        subject=machine.name,
        danger=act.danger,
        typed=machine.name if act.typed else None,
        asks=act.asks,
        hidden={"key_id": [key_id]} if key_id else {},
    )
    return await ask(desk, question, error=error, form=form, roles=None)
