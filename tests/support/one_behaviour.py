"""Random calls that every face of ubr answers alike, compared field by field."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

from tests.support.faces import NOWHERE, Answer, Face, Ref, Step
from tests.support.people import OTHER_PASSWORD, PASSWORD

T = TypeVar("T")

ADMIN: Final = "admin@example.org"
EMAILS: Final = [f"person{number}@example.org" for number in range(8)]
ODD_EMAILS: Final = ["", "nobody", "a@b", "PERSON1@Example.ORG", "straße@example.org", "x" * 300 + "@example.org"]
ODD_PASSWORDS: Final = ["", "short", "password1234", "x" * 2000, "pässwörd mit ümlauten und leerzeichen"]
ROLES: Final = ["auditor", "clerk", "editor", "helper"]
ODD_ROLES: Final = ["admin", "user", "", "Not A Name", "nowhere"]
PERMISSIONS: Final = ["users:read", "users:write", "roles:read", "roles:assign", "sessions:read", "sessions:revoke"]
ODD_PERMISSIONS: Final = ["", "users", "no:such", "*", "a:b:c"]
ACTIONS: Final = ["user.registered", "session.logged_in", "user.role_assigned", "session.login_failed", "role.updated"]
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
    links: list[tuple[str, Ref]] = field(default_factory=list)
    revisions: dict[Ref, Ref] = field(default_factory=dict)
    cursors: dict[str, list[Ref]] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    async def start(self) -> None:
        for face in self.faces:
            await face.add_admin(ADMIN, PASSWORD)
        session = await self.log_in(ADMIN)
        assert session is not None
        assert await self.ask(Step(use_case="get_me", token=session, binds={"id": "admin"}))
        self.users.append(Ref("admin"))

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
        ]  # fmt: skip
        if seconds > 600:  # longer than an access token lives
            await self.log_in(ADMIN, PASSWORD)
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
        """The access token of some session; sometimes none, or one that is none."""
        if self.sometimes(0.02):
            return self.pick([None, "", "eyJhbGciOiJub25lIn0.e30.", "nonsense"])
        return Ref(f"{self.pick(self.sessions[-12:])}.access")

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
        answer = await self.ask(Step(use_case=use_case, token=self.token(), fields=fields, binds={"next_cursor": name}))
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
        return Ref(f"{name}.access")

    async def logs_in(self) -> None:
        await self.log_in(ADMIN if self.sometimes(0.15) else self.email(), self.password())

    async def refreshes(self) -> None:
        name, new = self.pick(self.sessions[-12:]), self.named("session")
        token = self.pick(["ubr_rt_" + "A" * 43, "nonsense", ""]) if self.sometimes(0.03) else Ref(f"{name}.refresh")
        binds = {"access_token": f"{new}.access", "refresh_token": f"{new}.refresh", "session_id": f"{new}.id"}
        if await self.ask(Step(use_case="refresh_session", fields={"refresh_token": token}, binds=binds)):
            self.sessions.append(new)

    async def logs_out(self) -> None:
        await self.ask(Step(use_case="log_out", token=self.token()))

    async def changes_password(self) -> None:
        fields = {"current_password": self.password(), "new_password": self.password()}
        await self.ask(Step(use_case="change_password", token=self.token(), fields=fields))

    async def asks_for_link(self) -> None:
        use_case = self.pick(["request_password_reset", "resend_verification"])
        await self.ask(Step(use_case=use_case, fields={"email": self.email()}))

    async def asks_for_email(self) -> None:
        fields = {"email": self.email(), "current_password": self.password()}
        await self.ask(Step(use_case="request_email_change", token=self.token(), fields=fields))

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
        await self.ask(Step(use_case="get_me", token=self.token()))

    async def reads_user(self) -> None:
        user, name = self.user(), self.named("revision")
        step = Step(use_case="get_user", token=self.token(), fields={"user_id": user}, binds={"revision": name})
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
        step = Step(use_case="create_user", token=self.token(), fields=fields, key=self.key(), binds={"id": name})
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
        step = Step(use_case="update_user", token=self.token(), fields=fields, if_match=self.revision_of(user))
        await self.ask(step)

    async def deletes_user(self) -> None:
        use_case = self.pick(["delete_user", "delete_user", "erase_user"])
        user = self.user()
        match = self.revision_of(user) if use_case == "delete_user" else None
        await self.ask(Step(use_case=use_case, token=self.token(), fields={"user_id": user}, if_match=match))

    async def looks_after_user(self) -> None:
        use_case = self.pick(["unlock_user", "explain_login", "export_user"])
        await self.ask(Step(use_case=use_case, token=self.token(), fields={"user_id": self.user()}))

    async def lists_sessions(self) -> None:
        await self.lists("list_sessions", user_id=self.user())

    async def revokes(self) -> None:
        session: Ref | str = NOWHERE if self.sometimes(0.05) else Ref(f"{self.pick(self.sessions[-8:])}.id")
        await self.ask(Step(use_case="revoke_session", token=self.token(), fields={"session_id": session}))

    async def revokes_all(self) -> None:
        if self.sometimes(0.5):
            await self.ask(Step(use_case="revoke_user_sessions", token=self.token(), fields={"user_id": self.user()}))

    async def revokes_others(self) -> None:
        await self.ask(Step(use_case="revoke_other_sessions", token=self.token()))

    # --- roles --------------------------------------------------------------------------------------------------------

    async def lists_roles(self) -> None:
        await self.lists("list_roles")

    async def reads_role(self) -> None:
        role, name = self.role(), self.named("revision")
        step = Step(use_case="get_role", token=self.token(), fields={"role_id": role}, binds={"revision": name})
        if await self.ask(step) and isinstance(role, Ref):
            self.revisions[role] = Ref(name)

    async def creates_role(self) -> None:
        name = self.named("role")
        fields: dict[str, Any] = {"name": self.role_name(), "permissions": self.permissions()}
        if self.sometimes(0.3):
            fields["description"] = self.pick([None, "", "May edit", "x" * 2000])
        step = Step(use_case="create_role", token=self.token(), fields=fields, key=self.key(), binds={"id": name})
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
        step = Step(use_case="update_role", token=self.token(), fields=fields, if_match=self.revision_of(role))
        await self.ask(step)

    async def deletes_role(self) -> None:
        role = self.role()
        step = Step(
            use_case="delete_role", token=self.token(), fields={"role_id": role}, if_match=self.revision_of(role)
        )
        await self.ask(step)

    async def lists_user_roles(self) -> None:
        await self.lists("list_user_roles", user_id=self.user())

    async def assigns(self) -> None:
        name = "admin" if self.sometimes(0.05) else self.pick(ROLES) if self.sometimes(0.95) else "nowhere"
        fields: dict[str, Any] = {"user_id": self.user(), "role": name}
        if self.sometimes(0.5):
            fields["expires_at"] = self.end()
        await self.ask(Step(use_case="assign_role", token=self.token(), fields=fields))

    async def unassigns(self) -> None:
        fields = {"user_id": self.user(), "role": self.pick([*ROLES, "admin", "user", "nowhere"])}
        await self.ask(Step(use_case="unassign_role", token=self.token(), fields=fields))

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
