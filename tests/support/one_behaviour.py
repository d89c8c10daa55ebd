"""Random calls that every face of ubr answers alike, compared field by field."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, TypeVar

from tests.support.faces import NOWHERE, Answer, Face, Ref, Step
from tests.support.people import OTHER_PASSWORD, PASSWORD

T = TypeVar("T")

EMAILS: Final = [f"person{number}@example.org" for number in range(8)]
ODD_EMAILS: Final = ["", "nobody", "a@b", "PERSON1@Example.ORG", "straße@example.org", "x" * 300 + "@example.org"]
ODD_PASSWORDS: Final = ["", "short", "password1234", "x" * 2000, "pässwörd mit ümlauten und leerzeichen"]
ROLES: Final = ["auditor", "clerk", "editor", "helper"]
ODD_ROLES: Final = ["admin", "user", "", "Not A Name", "nowhere"]
PERMISSIONS: Final = [
    "users:read", "users:write", "roles:read", "roles:assign", "sessions:read", "sessions:revoke", "machines:read",
    "machines:write",
]  # fmt: skip
ODD_PERMISSIONS: Final = ["", "users", "no:such", "*", "a:b:c"]
ACTIONS: Final = [
    "user.registered", "session.logged_in", "user.role_assigned", "session.login_failed", "role.updated",
    "machine.created", "machine.key_rotated",
]  # fmt: skip
MACHINES: Final = ["backup", "nightly-report", "search"]
ODD_NAMES: Final = ["", " spaces ", "x" * 300, "\u202e"]
MOVES: Final = [1] * 30 + [5, 5, 11, 61, 61, 300, 660, 3700, 90000]
"""Seconds that pass before a call."""


@dataclass
class OneBehaviour:
    """The faces, and all that was named so far."""

    faces: Sequence[Face]
    random: random.Random
    done: int = 0
    refused: int = 0
    users: list[Ref] = field(default_factory=list)
    roles: list[Ref] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    session_ids: list[Ref] = field(default_factory=list)
    admins: int = 0
    admin: Ref | None = None
    access: list[Ref] = field(default_factory=list)
    browsers: list[str] = field(default_factory=list)
    machines: list[Ref] = field(default_factory=list)
    keys: list[tuple[Ref, str]] = field(default_factory=list)
    links: list[tuple[str, Ref]] = field(default_factory=list)
    revisions: dict[Ref, Ref] = field(default_factory=dict)
    cursors: dict[str, list[Ref]] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    async def start(self) -> None:
        await self.has_admin()

    async def has_admin(self) -> None:
        """Log an administrator in: the last one, or another if that has lost the role, the password or the account."""
        for password in (PASSWORD, OTHER_PASSWORD) if self.admins else ():
            if await self.log_in(self.administrator, password) is not None:
                answer = await self.ask(Step(use_case="get_me", token=self.admin))
                if answer is not None and "admin" in answer.body["roles"]:
                    return
        self.admins += 1
        for face in self.faces:
            await face.add_admin(self.administrator, PASSWORD)
        name = f"admin-{self.admins}"
        await self.log_in(self.administrator)
        assert await self.ask(Step(use_case="get_me", token=self.admin, binds={"id": name}))
        self.users.append(Ref(name))

    @property
    def administrator(self) -> str:
        """The e-mail of the last administrator."""
        return f"admin{self.admins}@example.org"

    async def step(self) -> None:
        """Let time pass, and make one random call."""
        seconds = self.random.choice(MOVES)
        for face in self.faces:
            face.clock.move(seconds=seconds)
        acts: list[Callable[[], Any]] = [
            self.registers, self.registers, self.logs_in, self.logs_in, self.logs_in, self.refreshes, self.refreshes,
            self.logs_out, self.changes_password, self.asks_for_link, self.asks_for_link, self.asks_for_email,
            self.follows_link, self.follows_link, self.reads_mails, self.reads_mails,
            self.reads_me, self.reads_user, self.lists_users, self.lists_users, self.creates_user, self.changes_user,
            self.changes_user, self.deletes_user, self.looks_after_user, self.looks_after_user,
            self.lists_sessions, self.revokes, self.revokes_all, self.revokes_others,
            self.lists_roles, self.reads_role, self.creates_role, self.creates_role, self.changes_role,
            self.changes_role, self.deletes_role, self.lists_user_roles, self.assigns, self.assigns, self.assigns,
            self.unassigns, self.reads_logs, self.reads_logs,
            self.logs_in_browser, self.logs_in_browser, self.issues_token, self.issues_token,
            self.lists_machines, self.reads_machine, self.creates_machine, self.creates_machine, self.changes_machine,
            self.deletes_machine, self.creates_key, self.creates_key, self.lists_keys, self.rotates_key,
            self.revokes_key, self.logs_in_machine, self.logs_in_machine,
        ]  # fmt: skip
        if seconds > 600 or self.sometimes(0.05):  # longer than an access token lives, or its session has ended
            await self.has_admin()
            await self.logs_in_browser()
        await self.random.choice(acts)()

    async def ask(self, step: Step) -> Answer | None:
        """Make this call on every face, and compare the answers. Returns a successful answer of the first face."""
        self.done += 1
        words = f"{self.done}: {step}"
        self.history.append(words)
        answers = [await face.take(step, f"step-{self.done}") for face in self.faces]
        first, expected = answers[0]
        self.history[-1] = f"{words}: {first.failure or 'done'}"
        for face, (_, told) in zip(self.faces[1:], answers[1:], strict=True):
            if told != expected:
                differing = "; ".join(differences(expected, told))
                raise AssertionError(f"{self.faces[0].name} and {face.name} differ: {differing}")
        self.counts[step.use_case] = self.counts.get(step.use_case, 0) + 1
        if first.failure is not None:
            self.refused += 1
            return None
        return first

    # --- choices ------------------------------------------------------------------------------------------------------

    def pick(self, options: Iterable[T]) -> T:
        return self.random.choice(list(options))

    def sometimes(self, share: float) -> bool:
        return self.random.random() < share

    def token(self) -> Ref | str | None:
        """The access token of some session, often the administrator's; sometimes none, or one that is none."""
        if self.sometimes(0.02):
            return self.pick([None, "", "eyJhbGciOiJub25lIn0.e30.", "nonsense"])
        return self.admin if self.sometimes(0.5) and self.admin is not None else self.pick(self.access[-6:])

    def caller(self) -> dict[str, Any]:
        """The credential of some session: an access token, or a cookie."""
        if self.sometimes(0.8) or not self.browsers:
            return {"token": self.token()}
        return {"cookie": self.cookie()}

    def cookie(self) -> Ref | str:
        """The cookie of some session; sometimes one that is none."""
        if self.sometimes(0.03) or not self.browsers:
            return self.pick(["nonsense", "ubr_session_" + "A" * 43])
        return Ref(f"{self.pick(self.browsers[-4:])}.cookie")

    def machine(self) -> Ref | str:
        return NOWHERE if self.sometimes(0.03) or not self.machines else self.pick(self.machines[-4:])

    def key_of(self) -> tuple[Ref | str, Ref | str, Ref | str]:
        """A machine, the id of a key, most often of this machine, and the text of the key."""
        if self.sometimes(0.05) or not self.keys:
            return self.machine(), NOWHERE, "ubr_sk_nonsense"
        machine, key = self.pick(self.keys[-6:])
        owner: Ref | str = self.machine() if self.sometimes(0.05) else machine
        return owner, Ref(f"{key}.id"), Ref(f"{key}.text")

    def user(self) -> Ref | str:
        return NOWHERE if self.sometimes(0.02) else self.pick(self.users[-9:])

    def role(self) -> Ref | str:
        return NOWHERE if self.sometimes(0.05) or not self.roles else self.pick(self.roles[-5:])

    def role_name(self) -> str:
        return self.pick(ODD_ROLES if self.sometimes(0.15) else ROLES)

    def email(self) -> str:
        return self.pick(ODD_EMAILS if self.sometimes(0.08) else EMAILS)

    def password(self) -> str:
        return self.pick(ODD_PASSWORDS) if self.sometimes(0.08) else self.pick([PASSWORD, PASSWORD, OTHER_PASSWORD])

    def permissions(self) -> list[str]:
        few = self.random.sample(PERMISSIONS, self.random.randint(0, 4))
        return [*few, self.pick(ODD_PERMISSIONS)] if self.sometimes(0.08) else few

    def end(self) -> str | None:
        if self.sometimes(0.6):
            return None
        seconds = self.pick([-60, 600, 4000, 100000])
        return (self.faces[0].clock() + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")

    def revision_of(self, subject: Ref | str) -> Ref | str | None:
        if self.sometimes(0.7) or not isinstance(subject, Ref):
            return None
        return self.revisions.get(subject, "0-stale") if self.sometimes(0.9) else "0-stale"

    def key(self) -> str | None:
        return f"key-{self.random.randint(self.done // 20, self.done // 20 + 3)}" if self.sometimes(0.3) else None

    def page(self, use_case: str) -> dict[str, Any]:
        fields: dict[str, Any] = {} if self.sometimes(0.3) else {"limit": self.pick([1, 2, 3, 50, 200, 0, 201, -1])}
        if self.sometimes(0.4) and self.cursors.get(use_case):
            fields["cursor"] = self.pick(self.cursors[use_case][-4:])
        elif self.sometimes(0.05):
            fields["cursor"] = self.pick(
                ["nonsense", "A" * 100, *(each for known in self.cursors.values() for each in known[-1:])]
            )
        return fields

    def named(self, kind: str) -> str:
        return f"{kind}-{self.done}"

    async def lists(self, use_case: str, **fields: Any) -> None:
        fields.update(self.page(use_case))
        name = self.named("cursor")
        answer = await self.ask(Step(use_case=use_case, **self.caller(), fields=fields, binds={"next_cursor": name}))
        if answer is not None and answer.body["next_cursor"] is not None:
            self.cursors.setdefault(use_case, []).append(Ref(name))

    # --- accounts and sessions ----------------------------------------------------------------------------------------

    async def registers(self) -> None:
        name = self.named("user")
        fields = {"email": self.email(), "password": self.password()}
        if self.sometimes(0.3):
            fields["full_name"] = self.pick(["Ada", "  two  spaces ", "", "x" * 400, "\u202e", "Zoë"])
        if await self.ask(Step(use_case="register_user", fields=fields, key=self.key(), binds={"id": name})):
            self.users.append(Ref(name))

    async def log_in(self, email: str, password: str = PASSWORD) -> Ref | None:
        name = self.named("session")
        binds = {
            "access_token": f"{name}.access",
            "refresh_token": f"{name}.refresh",
            "session_id": f"{name}.id",
        }
        fields = {"email": email, "password": password}
        if await self.ask(Step(use_case="log_in", fields=fields, binds=binds)) is None:
            return None
        self.sessions.append(name)
        self.session_ids.append(Ref(f"{name}.id"))
        self.access.append(Ref(f"{name}.access"))
        if email == self.administrator:
            self.admin = self.access[-1]
        return self.access[-1]

    async def logs_in(self) -> None:
        await self.log_in(self.administrator if self.sometimes(0.15) else self.email(), self.password())

    async def refreshes(self) -> None:
        name, new = self.pick(self.sessions[-12:]), self.named("session")
        token = self.pick(["ubr_rt_" + "A" * 43, "nonsense", ""]) if self.sometimes(0.03) else Ref(f"{name}.refresh")
        binds = {"access_token": f"{new}.access", "refresh_token": f"{new}.refresh", "session_id": f"{new}.id"}
        if await self.ask(Step(use_case="refresh_session", fields={"refresh_token": token}, binds=binds)):
            self.sessions.append(new)
            self.access.append(Ref(f"{new}.access"))

    async def logs_out(self) -> None:
        await self.ask(Step(use_case="log_out", **self.caller()))

    async def changes_password(self) -> None:
        fields = {"current_password": self.password(), "new_password": self.password()}
        caller, name = self.caller(), self.named("browser")
        # A browser moves to a new session.
        binds = {"cookie": f"{name}.cookie"} if "cookie" in caller else {}
        if await self.ask(Step(use_case="change_password", **caller, fields=fields, binds=binds)) and binds:
            self.browsers.append(name)

    async def logs_in_browser(self) -> None:
        """Sometimes over the cookie of an earlier login, whose session ends."""
        name = self.named("browser")
        binds = {"session_id": f"{name}.id", "cookie": f"{name}.cookie"}
        before = self.cookie() if self.sometimes(0.3) else None
        fields = {"email": self.administrator if self.sometimes(0.4) else self.email(), "password": self.password()}
        if await self.ask(Step(use_case="log_in_browser", cookie=before, fields=fields, binds=binds)):
            self.browsers.append(name)
            self.session_ids.append(Ref(f"{name}.id"))

    async def issues_token(self) -> None:
        name = self.named("token")
        if await self.ask(Step(use_case="issue_access_token", cookie=self.cookie(), binds={"access_token": name})):
            self.access.append(Ref(name))

    async def asks_for_link(self) -> None:
        use_case = self.pick(["request_password_reset", "resend_verification"])
        await self.ask(Step(use_case=use_case, fields={"email": self.email()}))

    async def asks_for_email(self) -> None:
        fields = {"email": self.email(), "current_password": self.password()}
        await self.ask(Step(use_case="request_email_change", **self.caller(), fields=fields))

    async def reads_mails(self) -> None:
        """Deliver all mails: the same mails reach the same people."""
        self.done += 1
        self.history.append(f"{self.done}: mails")
        told = [await face.mails() for face in self.faces]
        for face, mails in zip(self.faces[1:], told[1:], strict=True):
            assert mails == told[0], f"the mails of {face.name} differ"
        for _, _, text in told[0]:
            for page, use_case in (
                ("verify-email", "verify_email"),
                ("reset-password", "reset_password"),
                ("undo-email", "undo_email_change"),
            ):
                if f"{page}#token=" in text:
                    name = text.partition("#token=")[2].split()[0]
                    self.links.append((use_case, Ref(name)))

    async def follows_link(self) -> None:
        if not self.links:
            return
        use_case, link = self.pick(self.links[-6:])
        fields: dict[str, Any] = {"token": "ubr_link_" + "A" * 43 if self.sometimes(0.03) else link}
        if use_case == "reset_password":
            fields["new_password"] = self.password()
        elif use_case == "verify_email" and self.sometimes(0.6):
            fields["password"] = self.password()
        await self.ask(Step(use_case=use_case, fields=fields))

    # --- users --------------------------------------------------------------------------------------------------------

    async def reads_me(self) -> None:
        await self.ask(Step(use_case="get_me", **self.caller()))

    async def reads_user(self) -> None:
        user, name = self.user(), self.named("revision")
        step = Step(use_case="get_user", **self.caller(), fields={"user_id": user}, binds={"revision": name})
        if await self.ask(step) and isinstance(user, Ref):
            self.revisions[user] = Ref(name)

    async def lists_users(self) -> None:
        fields: dict[str, Any] = {}
        if self.sometimes(0.3):
            fields["q"] = self.pick(["p", "PERSON", "ada", "", "x" * 300, "nobody"])
        if self.sometimes(0.2):
            fields["role"] = self.role_name()
        if self.sometimes(0.2):
            fields["status"] = self.pick(["active", "disabled"])
        if self.sometimes(0.3):
            fields["sort"] = self.pick(["email", "-email", "created_at", "-created_at"])
        await self.lists("list_users", **fields)

    async def creates_user(self) -> None:
        name = self.named("user")
        fields: dict[str, Any] = {"email": self.email()}
        if self.sometimes(0.5):
            fields["password"] = self.password()
        if self.sometimes(0.4):
            fields["roles"] = [self.role_name() for _ in range(self.random.randint(0, 2))]
        step = Step(use_case="create_user", **self.caller(), fields=fields, key=self.key(), binds={"id": name})
        if await self.ask(step):
            self.users.append(Ref(name))

    async def changes_user(self) -> None:
        user = self.user()
        fields: dict[str, Any] = {"user_id": user}
        if self.sometimes(0.3):
            fields["email"] = self.email()
        if self.sometimes(0.5):
            fields["full_name"] = self.pick([None, "Ada", "Grace", "", "x" * 400])
        if self.sometimes(0.3):
            fields["status"] = self.pick(["active", "active", "disabled"])
        step = Step(use_case="update_user", **self.caller(), fields=fields, if_match=self.revision_of(user))
        await self.ask(step)

    async def deletes_user(self) -> None:
        use_case = self.pick(["delete_user", "delete_user", "erase_user"])
        user = self.user()
        match = self.revision_of(user) if use_case == "delete_user" else None
        await self.ask(Step(use_case=use_case, **self.caller(), fields={"user_id": user}, if_match=match))

    async def looks_after_user(self) -> None:
        use_case = self.pick(["unlock_user", "explain_login", "export_user"])
        await self.ask(Step(use_case=use_case, **self.caller(), fields={"user_id": self.user()}))

    async def lists_sessions(self) -> None:
        await self.lists("list_sessions", user_id=self.user())

    async def revokes(self) -> None:
        session: Ref | str = NOWHERE if self.sometimes(0.05) else self.pick(self.session_ids[-10:])
        await self.ask(Step(use_case="revoke_session", **self.caller(), fields={"session_id": session}))

    async def revokes_all(self) -> None:
        if self.sometimes(0.5):
            await self.ask(Step(use_case="revoke_user_sessions", **self.caller(), fields={"user_id": self.user()}))

    async def revokes_others(self) -> None:
        await self.ask(Step(use_case="revoke_other_sessions", **self.caller()))

    # --- roles --------------------------------------------------------------------------------------------------------

    async def lists_roles(self) -> None:
        await self.lists("list_roles")

    async def reads_role(self) -> None:
        role, name = self.role(), self.named("revision")
        step = Step(use_case="get_role", **self.caller(), fields={"role_id": role}, binds={"revision": name})
        if await self.ask(step) and isinstance(role, Ref):
            self.revisions[role] = Ref(name)

    async def creates_role(self) -> None:
        name = self.named("role")
        fields: dict[str, Any] = {"name": self.role_name(), "permissions": self.permissions()}
        if self.sometimes(0.3):
            fields["description"] = self.pick([None, "", "May edit", "x" * 2000])
        step = Step(use_case="create_role", **self.caller(), fields=fields, key=self.key(), binds={"id": name})
        if await self.ask(step):
            self.roles.append(Ref(name))

    async def changes_role(self) -> None:
        role = self.role()
        fields: dict[str, Any] = {"role_id": role}
        if self.sometimes(0.4):
            fields["name"] = self.role_name()
        if self.sometimes(0.6):
            fields["permissions"] = self.permissions()
        if self.sometimes(0.2):
            fields["description"] = self.pick([None, "Another"])
        step = Step(use_case="update_role", **self.caller(), fields=fields, if_match=self.revision_of(role))
        await self.ask(step)

    async def deletes_role(self) -> None:
        role = self.role()
        step = Step(use_case="delete_role", **self.caller(), fields={"role_id": role}, if_match=self.revision_of(role))
        await self.ask(step)

    async def lists_user_roles(self) -> None:
        await self.lists("list_user_roles", user_id=self.user())

    async def assigns(self) -> None:
        name = "admin" if self.sometimes(0.05) else self.pick(ROLES) if self.sometimes(0.95) else "nowhere"
        fields: dict[str, Any] = {"user_id": self.user(), "role": name}
        if self.sometimes(0.5):
            fields["expires_at"] = self.end()
        await self.ask(Step(use_case="assign_role", **self.caller(), fields=fields))

    async def unassigns(self) -> None:
        fields = {"user_id": self.user(), "role": self.pick([*ROLES, "admin", "user", "nowhere"])}
        await self.ask(Step(use_case="unassign_role", **self.caller(), fields=fields))

    # --- machines -----------------------------------------------------------------------------------------------------

    async def lists_machines(self) -> None:
        await self.lists("list_machines")

    async def reads_machine(self) -> None:
        machine, name = self.machine(), self.named("revision")
        step = Step(use_case="get_machine", **self.caller(), fields={"machine_id": machine}, binds={"revision": name})
        if await self.ask(step) and isinstance(machine, Ref):
            self.revisions[machine] = Ref(name)

    async def creates_machine(self) -> None:
        name = self.named("machine")
        fields: dict[str, Any] = {"name": self.pick(ODD_NAMES if self.sometimes(0.1) else MACHINES)}
        if self.sometimes(0.5):
            fields["roles"] = [self.role_name() for _ in range(self.random.randint(0, 2))]
        if self.sometimes(0.3):
            fields["description"] = self.pick([None, "", "Sends a report", "x" * 2000])
        if await self.ask(Step(use_case="create_machine", **self.caller(), fields=fields, binds={"id": name})):
            self.machines.append(Ref(name))
            if self.sometimes(0.3):  # an account as any other
                self.users.append(Ref(name))

    async def changes_machine(self) -> None:
        machine = self.machine()
        fields: dict[str, Any] = {"machine_id": machine}
        if self.sometimes(0.4):
            fields["description"] = self.pick([None, "Another"])
        if self.sometimes(0.5):
            fields["status"] = self.pick(["active", "active", "disabled"])
        match = self.revision_of(machine)
        await self.ask(Step(use_case="update_machine", **self.caller(), fields=fields, if_match=match))

    async def deletes_machine(self) -> None:
        machine = self.machine()
        step = Step(
            use_case="delete_machine",
            **self.caller(),
            fields={"machine_id": machine},
            if_match=self.revision_of(machine),
        )
        if self.sometimes(0.5):
            await self.ask(step)

    async def creates_key(self) -> None:
        machine = self.machine()
        fields: dict[str, Any] = {"machine_id": machine, "name": self.pick(["production", "staging", ""])}
        if self.sometimes(0.3):
            fields["scope"] = self.permissions()
        if self.sometimes(0.4):
            fields["expires_at"] = self.end()
        await self.gets_key(Step(use_case="create_machine_key", **self.caller(), fields=fields), machine)

    async def gets_key(self, step: Step, machine: Ref | str) -> None:
        name = self.named("machine-key")
        binds = {"key.id": f"{name}.id", "client_secret": f"{name}.text"}
        if await self.ask(replace(step, binds=binds)) and isinstance(machine, Ref):
            self.keys.append((machine, name))

    async def lists_keys(self) -> None:
        await self.lists("list_machine_keys", machine_id=self.machine())

    async def rotates_key(self) -> None:
        machine, key, _ = self.key_of()
        fields: dict[str, Any] = {"machine_id": machine, "key_id": key}
        if self.sometimes(0.6):
            fields["overlap"] = self.pick([0, 60, 4000, -1, 10**9])
        await self.gets_key(Step(use_case="rotate_machine_key", **self.caller(), fields=fields), machine)

    async def revokes_key(self) -> None:
        machine, key, _ = self.key_of()
        fields = {"machine_id": machine, "key_id": key}
        await self.ask(Step(use_case="revoke_machine_key", **self.caller(), fields=fields))

    async def logs_in_machine(self) -> None:
        machine, _, text = self.key_of()
        fields: dict[str, Any] = {"client_secret": text}
        if self.sometimes(0.4):
            fields["client_id"] = machine
        if self.sometimes(0.3):
            # Not an empty one: a form has it as an absent one (RFC 6749, 3.2).
            fields["scope"] = self.pick(["users:read", "users:read roles:read", "no:such", "nonsense"])
        name = self.named("token")
        if await self.ask(Step(use_case="log_in_machine", fields=fields, binds={"access_token": name})):
            self.access.append(Ref(name))

    # --- the log ------------------------------------------------------------------------------------------------------

    async def reads_logs(self) -> None:
        fields: dict[str, Any] = {"action": self.pick(ACTIONS)}
        if self.sometimes(0.3):
            fields["actor_id"] = self.user()
        if self.sometimes(0.2):
            fields["level"] = self.pick(["info", "warning"])
        await self.lists("list_logs", **fields)


def differences(one: Any, other: Any, at: str = "") -> Iterable[str]:
    """Where two answers differ, and how."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(name for name in other if name not in one)]:
            yield from differences(one.get(name, "absent"), other.get(name, "absent"), f"{at}/{name}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (each, same) in enumerate(zip(one, other, strict=True)):
            yield from differences(each, same, f"{at}/{number}")
    elif one != other:
        yield f"{at}: {one!r} and {other!r}"
