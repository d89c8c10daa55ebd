"""One call, made over each face of ubr: the library on any store, HTTP, and what they answer in one notation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol
from uuid import UUID

import httpx
import msgspec

from tests.integration.http.kit import COUNTED, Names, following
from tests.support.people import token_in
from ubr.adapters.mail.templates import TemplateMailRenderer
from ubr.adapters.memory.mail import MemoryMailer
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.erase_user import EraseUserCommand
from ubr.application.accounts.explain_login import ExplainLoginCommand
from ubr.application.accounts.export_user import ExportUserCommand
from ubr.application.accounts.get_user import GetUserCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.accounts.resend_verification import ResendVerificationCommand
from ubr.application.accounts.reset_password import ResetPasswordCommand
from ubr.application.accounts.undo_email_change import UndoEmailChangeCommand
from ubr.application.accounts.unlock_user import UnlockUserCommand
from ubr.application.accounts.update_user import UpdateUserCommand
from ubr.application.accounts.verify_email import VerifyEmailCommand
from ubr.application.app import Application
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.kernel.command import Command
from ubr.application.kernel.idempotency import IdempotencyKey
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.kernel.representations import BrowserLoginResult, Revised, SessionCookieResult
from ubr.application.machines.create_machine import CreateMachineCommand
from ubr.application.machines.create_machine_key import CreateMachineKeyCommand
from ubr.application.machines.delete_machine import DeleteMachineCommand
from ubr.application.machines.get_machine import GetMachineCommand
from ubr.application.machines.list_machine_keys import ListMachineKeysCommand
from ubr.application.machines.list_machines import ListMachinesCommand
from ubr.application.machines.log_in_machine import LogInMachineCommand
from ubr.application.machines.revoke_machine_key import RevokeMachineKeyCommand
from ubr.application.machines.rotate_machine_key import RotateMachineKeyCommand
from ubr.application.machines.update_machine import UpdateMachineCommand
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.get_role import GetRoleCommand
from ubr.application.roles.list_roles import ListRolesCommand
from ubr.application.roles.list_user_roles import ListUserRolesCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.roles.update_role import UpdateRoleCommand
from ubr.application.sessions.issue_access_token import IssueAccessTokenCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.application.sessions.log_in_browser import LogInBrowserCommand
from ubr.application.sessions.refresh_session import RefreshSessionCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.actor import SYSTEM, Actor
from ubr.domain.errors import UbrError, Unauthenticated
from ubr.entrypoints.http.browser import COOKIE
from ubr.entrypoints.http.problems.rendering import problem_response
from ubr.sync import BlockingApplication
from ubr.testing import MovableClock

AGENT: Final = "faces"
CLIENT_IP: Final = "192.0.2.7"


@dataclass(frozen=True, slots=True)
class Ref:
    """Something that each face knows by another value: an id, a token, a link, a revision or a cursor."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A use case as each face calls it.

    `ids` are the fields of the command that a path has over HTTP, in its order. `inner` is a field of the command whose
    members are the body. With `cookie`, the cookie of the caller is a field of the command. `form` are further members
    of a body that is a form. An `ending` call ends sessions, so it does not count as a use of the caller's.
    """

    method: str
    path: str
    command: type[Command] | None
    ids: tuple[str, ...] = ()
    inner: str | None = None
    public: bool = False
    cookie: bool = False
    ending: bool = False
    form: Mapping[str, str] | None = None


ROUTES: Final[dict[str, Route]] = {
    "register_user": Route(method="POST", path="/api/auth/register", command=RegisterUserCommand, public=True),
    "log_in": Route(method="POST", path="/api/auth/login", command=LogInCommand, public=True),
    "refresh_session": Route(method="POST", path="/api/auth/refresh", command=RefreshSessionCommand, public=True),
    "log_out": Route(method="POST", path="/api/auth/logout", command=None, ending=True),
    "change_password": Route(method="POST", path="/api/auth/password", command=ChangePasswordCommand),
    "request_password_reset": Route(
        method="POST", path="/api/auth/password/forgot", command=RequestPasswordResetCommand, public=True
    ),
    "reset_password": Route(method="POST", path="/api/auth/password/reset", command=ResetPasswordCommand, public=True),
    "request_email_change": Route(method="POST", path="/api/auth/email", command=RequestEmailChangeCommand),
    "verify_email": Route(method="POST", path="/api/auth/email/verify", command=VerifyEmailCommand, public=True),
    "resend_verification": Route(
        method="POST", path="/api/auth/email/verify/resend", command=ResendVerificationCommand, public=True
    ),
    "undo_email_change": Route(method="POST", path="/api/auth/email/undo", command=UndoEmailChangeCommand, public=True),
    "get_me": Route(method="GET", path="/api/users/me", command=None),
    "get_user": Route(method="GET", path="/api/users/{}", command=GetUserCommand, ids=("user_id",)),
    "list_users": Route(method="GET", path="/api/users", command=ListUsersCommand),
    "create_user": Route(method="POST", path="/api/users", command=CreateUserCommand),
    "update_user": Route(
        method="PATCH", path="/api/users/{}", command=UpdateUserCommand, ids=("user_id",), inner="changes"
    ),
    "delete_user": Route(method="DELETE", path="/api/users/{}", command=DeleteUserCommand, ids=("user_id",)),
    "erase_user": Route(method="POST", path="/api/users/{}/erase", command=EraseUserCommand, ids=("user_id",)),
    "export_user": Route(method="GET", path="/api/users/{}/export", command=ExportUserCommand, ids=("user_id",)),
    "unlock_user": Route(method="POST", path="/api/users/{}/unlock", command=UnlockUserCommand, ids=("user_id",)),
    "explain_login": Route(
        method="GET", path="/api/users/{}/login-explanation", command=ExplainLoginCommand, ids=("user_id",)
    ),
    "list_sessions": Route(method="GET", path="/api/users/{}/sessions", command=ListSessionsCommand, ids=("user_id",)),
    "revoke_user_sessions": Route(
        method="DELETE", path="/api/users/{}/sessions", command=RevokeUserSessionsCommand, ids=("user_id",), ending=True
    ),
    "revoke_session": Route(
        method="DELETE", path="/api/auth/sessions/{}", command=RevokeSessionCommand, ids=("session_id",), ending=True
    ),
    "revoke_other_sessions": Route(method="DELETE", path="/api/auth/sessions", command=None, ending=True),
    "list_roles": Route(method="GET", path="/api/roles", command=ListRolesCommand),
    "get_role": Route(method="GET", path="/api/roles/{}", command=GetRoleCommand, ids=("role_id",)),
    "create_role": Route(method="POST", path="/api/roles", command=CreateRoleCommand),
    "update_role": Route(
        method="PUT", path="/api/roles/{}", command=UpdateRoleCommand, ids=("role_id",), inner="changes"
    ),
    "delete_role": Route(method="DELETE", path="/api/roles/{}", command=DeleteRoleCommand, ids=("role_id",)),
    "list_user_roles": Route(method="GET", path="/api/users/{}/roles", command=ListUserRolesCommand, ids=("user_id",)),
    "assign_role": Route(
        method="PUT", path="/api/users/{}/roles/{}", command=AssignRoleCommand, ids=("user_id", "role")
    ),
    "unassign_role": Route(
        method="DELETE", path="/api/users/{}/roles/{}", command=UnassignRoleCommand, ids=("user_id", "role")
    ),
    "log_in_browser": Route(
        method="POST", path="/api/auth/login/browser", command=LogInBrowserCommand, public=True, cookie=True
    ),
    "issue_access_token": Route(
        method="POST", path="/api/auth/token/browser", command=IssueAccessTokenCommand, public=True, cookie=True
    ),
    "log_in_machine": Route(
        method="POST",
        path="/api/auth/token",
        command=LogInMachineCommand,
        public=True,
        form={"grant_type": "client_credentials"},
    ),
    "list_machines": Route(method="GET", path="/api/machines", command=ListMachinesCommand),
    "get_machine": Route(method="GET", path="/api/machines/{}", command=GetMachineCommand, ids=("machine_id",)),
    "create_machine": Route(method="POST", path="/api/machines", command=CreateMachineCommand),
    "update_machine": Route(
        method="PATCH", path="/api/machines/{}", command=UpdateMachineCommand, ids=("machine_id",), inner="changes"
    ),
    "delete_machine": Route(
        method="DELETE", path="/api/machines/{}", command=DeleteMachineCommand, ids=("machine_id",)
    ),
    "list_machine_keys": Route(
        method="GET", path="/api/machines/{}/keys", command=ListMachineKeysCommand, ids=("machine_id",)
    ),
    "create_machine_key": Route(
        method="POST", path="/api/machines/{}/keys", command=CreateMachineKeyCommand, ids=("machine_id",), inner="key"
    ),
    "rotate_machine_key": Route(
        method="POST",
        path="/api/machines/{}/keys/{}/rotate",
        command=RotateMachineKeyCommand,
        ids=("machine_id", "key_id"),
        inner="rotation",
    ),
    "revoke_machine_key": Route(
        method="DELETE",
        path="/api/machines/{}/keys/{}",
        command=RevokeMachineKeyCommand,
        ids=("machine_id", "key_id"),
    ),
    "list_logs": Route(method="GET", path="/api/logs", command=ListLogsCommand),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A call by the holder of an access token or of a cookie, or by nobody. A `Ref` may stand for any value."""

    use_case: str
    token: Ref | str | None = None
    cookie: Ref | str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    if_match: Ref | str | None = None
    key: str | None = None
    binds: Mapping[str, str] = field(default_factory=dict)
    """The names to give to members of a successful answer, by member. A dot leads to a member of a member."""

    def resolved(self, known: Mapping[str, Any]) -> Step:
        """The same call with the values of one face."""

        def value(each: Any) -> Any:
            return known[each.name] if isinstance(each, Ref) else each

        return Step(
            use_case=self.use_case,
            token=value(self.token),
            cookie=value(self.cookie),
            fields={name: value(each) for name, each in self.fields.items()},
            if_match=value(self.if_match),
            key=self.key,
            binds=self.binds,
        )

    @property
    def route(self) -> Route:
        return ROUTES[self.use_case]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`body` is the result or the problem, in JSON's types; `cookie` is a new one."""

    failure: str | None
    body: Any
    revision: str | None = None
    cookie: str | None = None

    def member(self, name: str) -> Any:
        if name in {"revision", "cookie"}:
            return getattr(self, name)
        found = self.body
        for part in name.split("."):
            found = found[part]
        return found


class Caller(Protocol):
    """One way to call a use case."""

    async def __call__(self, step: Step, request_id: str) -> Answer: ...


@dataclass
class Face:
    """A way to call ubr, with the values that it knows the subjects of a conversation by."""

    name: str
    ubr: Application
    clock: MovableClock
    call: Caller
    run: Callable[[Callable[[], Coroutine[Any, Any, Any]]], Awaitable[Any]] = field(default=lambda work: work())
    """Runs a coroutine in the event loop that `ubr` belongs to."""
    known: dict[str, Any] = field(default_factory=dict)
    mailer: MemoryMailer = field(default_factory=MemoryMailer)
    _names: Names = field(default_factory=Names)

    async def take(self, step: Step, request_id: str) -> tuple[Answer, Any]:
        """Make a call. Returns the answer, and the same in a notation that is equal on all faces."""
        answer = await self.call(step.resolved(self.known), request_id)
        if answer.failure is None:
            for member, name in step.binds.items():
                self.known[name] = answer.member(member)
        told = [answer.failure, _alike(answer.body), answer.revision, answer.cookie is not None]
        return answer, self._names(told)

    async def add_admin(self, email: str, password: str) -> None:
        command = CreateAdminCommand(email=email, password=password)
        await self.run(lambda: self.ubr.create_admin(command, actor=SYSTEM))

    async def mails(self) -> list[tuple[str, str, Any]]:
        """Deliver the queued mails. Their recipients, subjects, and text; each link is known as `link-{number}`."""
        renderer = TemplateMailRenderer("https://id.example.org")
        deliver = replace(self.ubr.deliver_mail, mailer=self.mailer, renderer=renderer)
        await self.run(lambda: deliver(actor=SYSTEM))
        sent, self.mailer.sent = self.mailer.sent, []
        told = []
        for mail in sorted(sent, key=lambda each: (each.to, each.subject, each.text.partition("#token=")[0])):
            text = mail.text
            if "#token=" in text:
                token = token_in(mail)
                name = f"link-{sum(each.startswith('link-') for each in self.known)}"
                self.known[name] = token
                text = text.replace(token, name)
            told.append((mail.to, mail.subject, text))
        return told


def _alike(body: Any) -> Any:
    """An answer without what depends on when background work was done."""
    if not isinstance(body, dict):
        return body
    if "ubr_user_export" in body:
        return {**body, "acts": [], "acts_upon": []}
    if "items" not in body:
        return body
    items = [
        {**item, "data": {**item["data"], "entries": 0}} if item.get("action") in {"log.read", "user.erased"} else item
        for item in body["items"]
        if item.get("action") not in COUNTED
    ]
    return {**body, "items": items}


@dataclass(frozen=True, slots=True)
class InLibrary:
    """Calls of the use cases."""

    ubr: Application

    async def __call__(self, step: Step, request_id: str) -> Answer:
        with calling_from(_origin(request_id)):
            try:
                actor = None if step.route.public else await self._actor(step)
                result = await getattr(self.ubr, step.use_case)(*_command(step), **_more(step, actor))
            except UbrError as error:
                return _refused(error, step)
        if isinstance(result, AsyncIterator):
            result = json.loads(await _joined(result))
        return _done(result)

    async def _actor(self, step: Step) -> Actor:
        if step.cookie is not None:
            by_cookie = self.ubr.authenticate_cookie
            return await (by_cookie.even_if_ended if step.route.ending else by_cookie)(str(step.cookie))
        return await self.ubr.authenticate(_token(step))


@dataclass(frozen=True, slots=True)
class Blocking:
    """Calls of the blocking methods, in a thread."""

    ubr: BlockingApplication

    async def __call__(self, step: Step, request_id: str) -> Answer:
        return await asyncio.to_thread(self._call, step, request_id)

    def _call(self, step: Step, request_id: str) -> Answer:
        with calling_from(_origin(request_id)):
            try:
                actor = None if step.route.public else self._actor(step)
                result = getattr(self.ubr, step.use_case)(*_command(step), **_more(step, actor))
            except UbrError as error:
                return _refused(error, step)
        if isinstance(result, AsyncIterator):
            result = json.loads(self.ubr.run(lambda: _joined(result)))
        return _done(result)

    def _actor(self, step: Step) -> Actor:
        if step.cookie is not None:
            by_cookie = self.ubr.application.authenticate_cookie
            return self.ubr.run(lambda: (by_cookie.even_if_ended if step.route.ending else by_cookie)(str(step.cookie)))
        return self.ubr.authenticate(_token(step))


async def _joined(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def _origin(request_id: str) -> Origin:
    return Origin(ip=CLIENT_IP, user_agent=AGENT, request_id=request_id, request_id_given=True)


def _token(step: Step) -> str:
    if not step.token:
        raise Unauthenticated
    return str(step.token)


def _command(step: Step) -> list[Command]:
    return [] if step.route.command is None else [command_of(step)]


def _more(step: Step, actor: Actor | None) -> dict[str, Any]:
    more: dict[str, Any] = {} if step.route.public else {"actor": actor}
    return more if step.key is None else {**more, "idempotency_key": IdempotencyKey(step.key)}


def _done(result: Any) -> Answer:
    cookie = None
    if isinstance(result, BrowserLoginResult):
        result, cookie = result.session, result.cookie.value
    elif isinstance(result, SessionCookieResult):
        result, cookie = None, result.value
    return Answer(
        failure=None,
        body=json.loads(msgspec.json.encode(result)),
        revision=result.revision if isinstance(result, Revised) else None,
        cookie=cookie,
    )


def _refused(error: UbrError, step: Step) -> Answer:
    return _failed(problem_response(error, path_of(step), oauth=step.route.form is not None).body)


def command_of(step: Step) -> Command:
    """The command of a call."""
    route, fields = step.route, dict(step.fields)
    assert route.command is not None
    if route.inner is not None:
        ids = {name: fields.pop(name) for name in route.ids}
        fields = {**ids, route.inner: fields}
    if step.if_match is not None:
        fields["if_match"] = [step.if_match]
    if route.cookie and step.cookie is not None:
        fields["cookie"] = step.cookie
    return msgspec.convert(fields, route.command)


def path_of(step: Step) -> str:
    return step.route.path.format(*(step.fields[name] for name in step.route.ids))


@dataclass(frozen=True, slots=True)
class OverHttp:
    """Requests of a client."""

    client: httpx.AsyncClient

    async def __call__(self, step: Step, request_id: str) -> Answer:
        route = step.route
        headers = {"user-agent": AGENT, "x-request-id": request_id}
        if step.token is not None:
            headers["authorization"] = f"Bearer {step.token}"
        if step.cookie is not None:
            headers["cookie"] = f"{COOKIE}={step.cookie}"
        if step.cookie is not None or route.cookie:
            headers["sec-fetch-site"] = "same-origin"
        if step.if_match is not None:
            headers["if-match"] = f'"{step.if_match}"'
        if step.key is not None:
            headers["idempotency-key"] = step.key
        rest = {name: value for name, value in step.fields.items() if name not in route.ids}
        sent: dict[str, Any] = {}
        if route.method == "GET":
            sent["params"] = {name: value for name, value in rest.items() if value is not None}
        elif route.form is not None:
            sent["data"] = {**route.form, **{name: value for name, value in rest.items() if value is not None}}
        elif rest or route.method in {"PATCH", "PUT"}:
            sent["json"] = rest
        answer = await self.client.request(route.method, path_of(step), headers=headers, **sent)
        self.client.cookies.clear()  # a cookie is sent by a step that names it
        if answer.status_code >= 400:
            return _failed(answer.content)
        body = answer.json() if answer.content else None
        if isinstance(body, dict) and "next_cursor" in body:
            assert bool(following(answer)) is (body["next_cursor"] is not None)
        tag = answer.headers.get("etag")
        given = [field.partition("=")[2].partition(";")[0] for field in answer.headers.get_list("set-cookie")]
        return Answer(
            failure=None,
            body=body,
            revision=None if tag is None else tag.strip('"'),
            cookie=next(filter(None, given), None),  # an empty one is taken away
        )


def _failed(body: bytes) -> Answer:
    told = json.loads(body)
    return Answer(failure=told["type"].rpartition("/")[2], body=told)


NOWHERE: Final = str(UUID("01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"))
"""An id that nothing has."""
