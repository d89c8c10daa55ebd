"""Whatever is done in whatever order: the application agrees with a model small enough to be seen through."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from tests.support.modelled import Modelled
from tests.support.people import OTHER_PASSWORD, PASSWORD
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.kernel.representations import AccessTokenResult, TokensResult
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.sessions.issue_access_token import IssueAccessTokenCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.log_in_browser import LogInBrowserCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM, Actor
from ubr.domain.errors import EmailTaken, InvalidCredentials, InvalidToken, LastAdmin, WrongPassword
from ubr.domain.ids import SessionId, UserId

CAP = 2
IDLE = timedelta(hours=1)
LIFETIME = timedelta(hours=3)
NAMES = ["a", "b", "c", "d"]


@dataclass
class Person:
    name: str
    password: str = PASSWORD
    active: bool = True
    admin: bool = False
    admin_until: datetime | None = None

    @property
    def lasting(self) -> bool:
        return self.active and self.admin and self.admin_until is None


@dataclass
class Signed:
    user_id: UUID
    tokens: TokensResult | AccessTokenResult
    end: datetime
    idle_end: datetime
    seen: datetime
    spent: list[tuple[str, datetime]] = field(default_factory=list)
    ended: bool = False
    cookie: str | None = None
    """Of a browser, instead of a refresh token."""

    def live(self, now: datetime) -> bool:
        return not self.ended and now < self.end and now < self.idle_end

    @property
    def actor(self) -> Actor:
        return Actor(UserId(self.user_id), SessionId(self.tokens.session_id))


picks = st.integers(0, 1000)


class People(Modelled):
    def __init__(self) -> None:
        super().__init__(sessions_per_user=CAP, session_idle=IDLE, session_lifetime=LIFETIME, audit_refreshes="all")
        self.people: dict[UUID, Person] = {}
        self.sessions: list[Signed] = []

    def person(self, pick: int) -> UUID:
        return sorted(self.people)[pick % len(self.people)]

    def last(self, user_id: UUID) -> bool:
        lasting = [id for id, person in self.people.items() if person.lasting]
        return lasting == [user_id]

    def live(self, user_id: UUID) -> list[Signed]:
        return [s for s in self.sessions if s.user_id == user_id and s.live(self.now)]

    def end(self, user_id: UUID, *, but: Signed | None = None) -> None:
        """What has run out by itself is not ended once more: a copied token is still noticed there."""
        for session in self.sessions:
            if session.user_id == user_id and session is not but and session.live(self.now):
                session.ended = True

    @initialize()
    def first(self) -> None:
        user = self.run(self.world.register("first@example.org"))
        self.run(self.world.assign(user.id, "admin"))
        self.people[user.id] = Person("first", admin=True)
        self.acts(some=True)

    @rule(name=st.sampled_from(NAMES), upper=st.booleans())
    def registers(self, name: str, upper: bool) -> None:
        email = f"{name}@example.org"
        taken = name in {person.name for person in self.people.values()}
        user = self.does(self.world.register(email.upper() if upper else email), EmailTaken if taken else None)
        if user is not None:
            self.people[user.id] = Person(name)

    @rule(pick=picks, right=st.sampled_from([True, True, True, False]))
    def logs_in(self, pick: int, right: bool) -> None:
        user_id = self.person(pick)
        person = self.people[user_id]
        password = person.password if right else "never anybody's password"
        tokens = self.does(
            self.world.log_in(f"{person.name}@example.org", password),
            None if right and person.active else InvalidCredentials,
        )
        if tokens is not None:
            self.opened_for(user_id, tokens, None)

    def opened_for(self, user_id: UUID, tokens: TokensResult | AccessTokenResult, cookie: str | None) -> None:
        live = sorted(self.live(user_id), key=lambda session: session.seen)
        evicted = live[: max(0, len(live) + 1 - CAP)]
        if len({session.seen for session in live}) < len(live):  # of equals the model does not know which one goes
            listed = self.listed(user_id)
            evicted = [session for session in live if session.tokens.session_id not in listed]
            assert len(evicted) == max(0, len(live) + 1 - CAP)
        for session in evicted:
            session.ended = True
        self.sessions.append(
            Signed(
                user_id, tokens, self.now + LIFETIME, min(self.now + IDLE, self.now + LIFETIME), self.now, cookie=cookie
            )
        )

    @rule(pick=picks, leaves=st.booleans())
    def logs_in_with_a_browser(self, pick: int, leaves: bool) -> None:
        user_id = self.person(pick)
        person = self.people[user_id]
        before = [session for session in self.sessions if session.cookie is not None]
        left = before[pick % len(before)] if before and leaves else None
        command = LogInBrowserCommand(
            email=f"{person.name}@example.org", password=person.password, cookie=None if left is None else left.cookie
        )
        login = self.does(self.world.ubr.log_in_browser(command), None if person.active else InvalidCredentials)
        if login is None:
            return
        if left is not None and left.live(self.now):
            left.ended = True
        token = self.run(self.world.ubr.issue_access_token(IssueAccessTokenCommand(cookie=login.cookie.value)))
        self.opened_for(user_id, token, login.cookie.value)

    @rule(pick=picks)
    def comes_back_with_a_cookie(self, pick: int) -> None:
        browsers = [session for session in self.sessions if session.cookie is not None]
        if not browsers:
            return
        session = browsers[pick % len(browsers)]
        assert session.cookie is not None
        due = self.now - session.seen >= IDLE / 10
        good = session.live(self.now)
        actor = self.does(
            self.world.ubr.authenticate_cookie(session.cookie), None if good else InvalidToken, silent=True
        )
        if good:
            assert actor == session.actor
            self.acts(some=due)
            if due:
                session.seen, session.idle_end = self.now, min(self.now + IDLE, session.end)

    @rule(pick=picks)
    def refreshes(self, pick: int) -> None:
        found = [session for session in self.sessions if session.cookie is None]
        if not found:
            return
        session = found[pick % len(found)]
        good = session.live(self.now)
        assert isinstance(session.tokens, TokensResult)
        tokens = self.does(self.world.refresh(session.tokens.refresh_token), None if good else InvalidToken)
        if tokens is not None:
            session.spent.append((session.tokens.refresh_token, self.now))
            session.tokens, session.seen = tokens, self.now
            session.idle_end = min(self.now + IDLE, session.end)

    @rule(pick=picks, generation=picks)
    def idempotency(self, pick: int, generation: int) -> None:
        spent = [session for session in self.sessions if session.spent]
        if not spent:
            return
        session = spent[pick % len(spent)]
        at = generation % len(session.spent)
        token, when = session.spent[at]
        newest = at == len(session.spent) - 1
        if newest and self.now - session.seen <= timedelta(seconds=10):
            again = self.does(self.world.refresh(token), None if session.live(self.now) else InvalidToken, silent=True)
            if again is not None:
                assert isinstance(session.tokens, TokensResult)
                assert again.refresh_token == session.tokens.refresh_token
                self.acts(some=False)
            return
        if newest and session.live(self.now) and self.now - when <= timedelta(minutes=2):
            replaced, session.tokens = session.tokens, self.does(self.world.refresh(token), None)
            assert isinstance(replaced, TokensResult)
            session.spent.insert(at, (replaced.refresh_token, self.now))
            session.seen = self.now
            session.idle_end = min(self.now + IDLE, session.end)
            return
        exists = session.user_id in self.people
        ended = session.ended
        try:
            self.run(self.world.refresh(token))
        except InvalidToken:
            session.ended = True
        assert session.ended
        self.acts(some=exists and not ended)

    @rule(pick=picks)
    def logs_out(self, pick: int) -> None:
        if not self.sessions:
            return
        session = self.sessions[pick % len(self.sessions)]
        good = session.live(self.now)
        self.does(self.world.ubr.log_out(actor=session.actor), None if good else InvalidToken)
        session.ended = session.ended or good

    @rule(pick=picks)
    def is_revoked(self, pick: int) -> None:
        live = [session for session in self.sessions if session.live(self.now)]
        if live:
            session = live[pick % len(live)]
            command = RevokeSessionCommand(session_id=session.tokens.session_id)
            self.does(self.world.ubr.revoke_session(command, actor=SYSTEM), None)
            session.ended = True

    @rule(pick=picks, all_of_them=st.booleans())
    def revokes_the_others(self, pick: int, all_of_them: bool) -> None:
        if not self.sessions:
            return
        session = self.sessions[pick % len(self.sessions)]
        good = session.live(self.now)
        command = RevokeUserSessionsCommand(user_id=session.user_id)
        self.does(
            self.world.ubr.revoke_user_sessions(command, actor=session.actor)
            if all_of_them
            else self.world.ubr.revoke_other_sessions(actor=session.actor),
            None if good else InvalidToken,
            silent=True,
        )
        if good:
            others = [other for other in self.live(session.user_id) if other is not session]
            self.acts(some=all_of_them or bool(others))
            self.end(session.user_id, but=None if all_of_them else session)

    @rule(pick=picks, right=st.booleans())
    def changes_password(self, pick: int, right: bool) -> None:
        if not self.sessions:
            return
        session = self.sessions[pick % len(self.sessions)]
        good = session.live(self.now)
        person = self.people.get(session.user_id)
        current = person.password if person and right else "never anybody's password"
        new = OTHER_PASSWORD if current == PASSWORD else PASSWORD
        expected = InvalidToken if not good else None if right else WrongPassword
        command = ChangePasswordCommand(current_password=current, new_password=new)
        cookie = self.does(self.world.ubr.change_password(command, actor=session.actor), expected)
        if expected is None and person is not None:
            person.password = new
            assert (cookie is None) == (session.cookie is None)
            if cookie is None:
                self.end(session.user_id, but=session)
                return
            self.end(session.user_id)
            token = self.run(self.world.ubr.issue_access_token(IssueAccessTokenCommand(cookie=cookie.value)))
            self.opened_for(session.user_id, token, cookie.value)

    @rule(pick=picks, minutes=st.sampled_from([None, None, 2, 30, 90]))
    def becomes_admin(self, pick: int, minutes: int | None) -> None:
        user_id = self.person(pick)
        person = self.people[user_id]
        until = None if minutes is None else self.now + timedelta(minutes=minutes)
        expected = LastAdmin if until is not None and self.last(user_id) else None
        changed = (person.admin, person.admin_until) != (True, until)
        command = AssignRoleCommand(user_id=user_id, role="admin", expires_at=until)
        self.does(self.world.ubr.assign_role(command, actor=SYSTEM), expected, silent=True)
        if expected is None:
            self.acts(some=changed)
            person.admin, person.admin_until = True, until

    @rule(pick=picks)
    def is_admin_no_more(self, pick: int) -> None:
        admins = sorted(id for id, person in self.people.items() if person.admin)
        user_id = admins[pick % len(admins)] if pick % 4 else self.person(pick)
        expected = LastAdmin if self.last(user_id) else None
        held = self.people[user_id].admin
        command = UnassignRoleCommand(user_id=user_id, role="admin")
        self.does(self.world.ubr.unassign_role(command, actor=SYSTEM), expected, silent=True)
        if expected is None:
            self.acts(some=held)
            self.people[user_id].admin = False
            self.people[user_id].admin_until = None

    @rule(pick=picks, status=st.sampled_from(UserStatus))
    def is_switched(self, pick: int, status: UserStatus) -> None:
        user_id = self.person(pick)
        person = self.people[user_id]
        active = status is UserStatus.ACTIVE
        expected = LastAdmin if not active and self.last(user_id) else None
        changed = active is not person.active
        self.does(self.world.set_status(user_id, status), expected, silent=True)
        if expected is None:
            self.acts(some=changed)
            person.active = active
            if not active:
                self.end(user_id)

    @rule(pick=picks, name=st.sampled_from(NAMES))
    def moves(self, pick: int, name: str) -> None:
        user_id = self.person(pick)
        person = self.people[user_id]
        taken = name in {other.name for id, other in self.people.items() if id != user_id}
        changes = UserChanges(email=f"{name}@example.org")
        command = UpdateUserCommand(user_id=user_id, changes=changes)
        self.does(self.world.ubr.update_user(command, actor=SYSTEM), EmailTaken if taken else None, silent=True)
        if not taken:
            self.acts()
            if name != person.name:
                person.name = name
                self.end(user_id)

    @rule(pick=picks)
    def is_deleted(self, pick: int) -> None:
        user_id = self.person(pick)
        expected = LastAdmin if self.last(user_id) else None
        self.does(self.world.ubr.delete_user(DeleteUserCommand(user_id=user_id), actor=SYSTEM), expected)
        if expected is None:
            del self.people[user_id]
            self.end(user_id)

    @rule(seconds=st.sampled_from([1, 9, 11, 300, 1800, 4000]))
    def time_goes_by(self, seconds: int) -> None:
        self.world.clock.move(seconds=seconds)

    def listed(self, user_id: UUID) -> set[UUID]:
        page = self.run(self.world.ubr.list_sessions(ListSessionsCommand(user_id=user_id), actor=SYSTEM))
        return {session.id for session in page.items}

    @invariant()
    def sessions_are_those_that_have_not_ended(self) -> None:
        for user_id in self.people:
            listed = self.listed(user_id)
            assert listed == {session.tokens.session_id for session in self.live(user_id)}
            assert len(listed) <= CAP

    @invariant()
    def ended_sessions_authenticate_nobody(self) -> None:
        for session in self.sessions:
            if not session.live(self.now):
                assert not self.run(self.world.alive(session.tokens))

    @invariant()
    def cookies_of_ended_sessions_authenticate_nobody(self) -> None:
        for session in self.sessions:
            if session.cookie is not None and not session.live(self.now):
                assert not self.run(self.known(session.cookie))

    async def known(self, cookie: str) -> bool:
        try:
            await self.world.ubr.authenticate_cookie(cookie)
        except InvalidToken:
            return False
        return True

    @invariant()
    def users_are_as_they_should_be(self) -> None:
        users = self.run(self.world.ubr.list_users(ListUsersCommand(), actor=SYSTEM)).items
        keys = [Email.parse(user.email).key for user in users]
        assert len(set(keys)) == len(keys)
        assert {user.id: (key, user.status) for user, key in zip(users, keys, strict=True)} == {
            id: (f"{person.name}@example.org", UserStatus.ACTIVE if person.active else UserStatus.DISABLED)
            for id, person in self.people.items()
        }
        for user in users:
            person = self.people[user.id]
            held = person.admin and (person.admin_until is None or self.now < person.admin_until)
            assert user.roles == (["admin", "user"] if held else ["user"])

    @invariant()
    def somebody_stays(self) -> None:
        if self.people:
            assert any(person.lasting for person in self.people.values())


TestApplication = People.TestCase
TestApplication.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
