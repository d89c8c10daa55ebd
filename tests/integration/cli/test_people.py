"""`ubr users`, `ubr sessions` and `ubr explain`: why a user cannot log in, and what an operator does about it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from tests.integration.cli.kit import Ended, Run
from tests.integration.cli.test_commands import on_a_terminal
from tests.support.people import PASSWORD
from tests.support.servers import run
from ubr import (
    SYSTEM,
    Application,
    AssignRoleCommand,
    CreateAdminCommand,
    CreateRoleCommand,
    CreateUserCommand,
    ListLogsCommand,
    LogInCommand,
    Origin,
    RegisterUserCommand,
    Settings,
    UpdateUserCommand,
    UserChanges,
    UserResult,
    calling_from,
    connect,
)
from ubr.application.accounts.explain_login import LoginExplanationResult, LoginLockResult
from ubr.domain.accounts.user import UserStatus
from ubr.domain.errors import InvalidCredentials
from ubr.entrypoints.cli.explain import sentences

pytestmark = pytest.mark.system

SETTINGS = {
    "UBR_DATABASE_URL": "sqlite+aiosqlite:///ubr.db",
    "UBR_SECRET_KEY": "a-secret-for-tests-" * 3,
    "UBR_MIGRATE": "auto",
    "UBR_LOGIN_RATE_LIMIT": "2/hour,100/minute",
}
ADA, UNKNOWN = "ada@example.org", "01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"
END = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
AGENT = "a browser\x9b2J [red]"
HOME, STRANGER = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def ubr(in_process: Run) -> Run:
    def with_settings(*arguments: str, **more: str) -> Ended:
        done = in_process(*arguments, **SETTINGS, **more)
        assert all(len(line) <= 120 for line in done.out.splitlines() if not line.lstrip().startswith(('"', "{")))
        return done

    return with_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings.from_env(SETTINGS)


@pytest.fixture
def ada(settings: Settings) -> str:
    """The id of a user with a session and a role that ends."""
    return str(run(_ada(settings)))


async def _ada(settings: Settings) -> object:
    async with connect(settings) as ubr:
        user = await ubr.register_user(
            RegisterUserCommand(email=ADA, full_name="Ada [bold]King", password=PASSWORD), actor=SYSTEM
        )
        await ubr.create_role(CreateRoleCommand(name="editor"), actor=SYSTEM)
        await ubr.assign_role(AssignRoleCommand(user_id=user.id, role="editor", expires_at=END), actor=SYSTEM)
        await _log_in(ubr, HOME)
        return user.id


async def _log_in(ubr: Application, ip: str, password: str = PASSWORD) -> None:
    with calling_from(Origin(ip=ip, user_agent=AGENT)):
        await ubr.log_in(LogInCommand(email=ADA, password=password))


def lock(settings: Settings, *ips: str) -> None:
    async def guess() -> None:
        async with connect(settings) as ubr:
            for ip in ips:
                for _ in range(2):
                    with pytest.raises(InvalidCredentials):
                        await _log_in(ubr, ip, "not the right one of them")

    run(guess())


def log_in(settings: Settings) -> None:
    async def once() -> None:
        async with connect(settings) as ubr:
            await _log_in(ubr, STRANGER)

    run(once())


def acts(settings: Settings) -> list[tuple[str, object]]:
    """The actions of the log with their actors, newest first."""

    async def read() -> list[tuple[str, object]]:
        async with connect(settings) as ubr:
            found = await ubr.list_logs(ListLogsCommand(limit=20), actor=SYSTEM)
            return [(entry.action, entry.actor_id) for entry in found.items]

    return run(read())


def as_json(done: Ended) -> Any:
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def said(done: Ended) -> str:
    """The output without its line breaks."""
    assert (done.code, done.err) == (0, "")
    return " ".join(done.out.split())


# --- users -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["ADA", "ada@example.org", "ada [b"])
def test_users_are_found_by_the_beginning_of_an_e_mail_or_a_name(ubr: Run, ada: str, text: str) -> None:
    shown = said(ubr("users", "find", text))
    assert all(word in shown for word in (ADA, "Ada [bold]King", "active", "editor, user", ada))
    assert [user["id"] for user in as_json(ubr("users", "find", text, "--json"))] == [ada]


def test_a_search_says_that_no_user_or_that_more_match(ubr: Run, settings: Settings) -> None:
    async def many() -> None:
        async with connect(settings) as app:
            for number in range(51):
                await app.create_user(CreateUserCommand(email=f"many{number:02}@example.org"), actor=SYSTEM)

    run(many())
    assert said(ubr("users", "find", "nobody")) == "No user matches."
    done = ubr("users", "find", "many", "--json")
    assert [user["email"] for user in json.loads(done.out)] == [f"many{number:02}@example.org" for number in range(50)]
    assert (done.code, "only the first 50" in done.err) == (0, True)
    assert ubr("users", "find", "many5").err == ""
    assert ubr("users", "find", "").code == 2


def test_an_account_is_shown_by_its_e_mail_or_id(ubr: Run, ada: str) -> None:
    shown = said(ubr("users", "show", "ADA@example.org"))
    facts = [ada, "(not verified)", "Ada [bold]King", "editor until 2031-02-03 04:05:06Z, user", "sessions 1 of 50"]
    assert all(fact in shown for fact in [*facts, "status active", "locked no"])
    assert said(ubr("users", "show", ada)) == shown
    found = as_json(ubr("users", "show", ada, "--json"))
    assert (found["user"]["id"], found["login"]["sessions"]) == (ada, 1)
    assert [(grant["role"], grant["expires_at"]) for grant in found["roles"]] == [
        ("editor", END.isoformat().replace("+00:00", "Z")),
        ("user", None),
    ]
    assert f"last login {found['login']['last_login_at'][:10]} " in shown


def test_the_locks_of_an_account_are_shown(ubr: Run, settings: Settings, ada: str) -> None:
    lock(settings, HOME, STRANGER)
    shown = said(ubr("users", "show", ada))
    locks = as_json(ubr("users", "show", ada, "--json"))["login"]["locks"]
    ends = [datetime.fromisoformat(each["until"]).strftime("%Y-%m-%d %H:%M:%SZ") for each in locks]
    assert f"locked until {ends[0]}, until {ends[1]} for {HOME}" in shown


def test_a_disabled_account_has_no_session_until_it_is_enabled_and_logs_in(
    ubr: Run, settings: Settings, ada: str
) -> None:
    assert said(ubr("users", "disable", ADA)) == f"{ADA} is disabled, and has no sessions."
    assert acts(settings)[:2] == [("session.revoked", None), ("user.disabled", None)]
    assert "status disabled" in said(ubr("users", "show", ADA))
    with pytest.raises(InvalidCredentials):
        log_in(settings)
    assert said(ubr("users", "enable", ada)) == f"{ADA} is enabled."
    assert ("user.enabled", None) in acts(settings)
    log_in(settings)


def test_the_last_administrator_is_not_disabled(ubr: Run, settings: Settings, ada: str) -> None:
    async def promote() -> None:
        async with connect(settings) as app:
            await app.assign_role(AssignRoleCommand(user_id=UUID(ada), role="admin"), actor=SYSTEM)

    run(promote())
    done = ubr("users", "disable", ADA)
    assert (done.code, done.out, done.err) == (1, "", "The last administrator cannot be removed.\n")


def test_an_unlocked_account_accepts_its_password(ubr: Run, settings: Settings, ada: str) -> None:
    assert said(ubr("users", "unlock", ADA)).startswith(f"{ADA} had no lock.")
    lock(settings, STRANGER)
    assert said(ubr("users", "unlock", ADA)) == f"{ADA} is unlocked: 1 lock ended."
    assert acts(settings)[0] == ("user.unlocked", None)
    log_in(settings)
    lock(settings, HOME, "198.51.100.8")
    assert said(ubr("users", "unlock", ada)) == f"{ADA} is unlocked: 2 locks ended."


# --- sessions --------------------------------------------------------------------------------------------------------


def test_sessions_are_listed_and_one_or_all_end(ubr: Run, settings: Settings, ada: str) -> None:
    log_in(settings)
    log_in(settings)
    newest, *others = as_json(ubr("sessions", "list", ADA, "--json"))
    shown = ubr("sessions", "list", ada)
    assert [line.split()[0] for line in shown.out.splitlines() if "Z " in line] == [
        each["id"] for each in (newest, *others)
    ]
    assert (STRANGER in shown.out, "[red]" in said(shown), "\x9b" in shown.out) == (True, True, False)
    assert said(ubr("sessions", "revoke", newest["id"])) == f"The session {newest['id']} has ended."
    assert as_json(ubr("sessions", "list", ADA, "--json")) == others
    assert said(ubr("sessions", "revoke", "--user", ada)) == f"{ADA} has no sessions."
    assert said(ubr("sessions", "list", ADA)) == "The account has no live session."
    assert [action for action, _ in acts(settings)].count("session.revoked") == 3


def test_a_session_is_named_or_a_user(ubr: Run, ada: str) -> None:
    for arguments in ((), (UNKNOWN, "--user", ada), ("nonsense",)):
        assert ubr("sessions", "revoke", *arguments).code == 2
    done = ubr("sessions", "revoke", UNKNOWN)
    assert (done.code, done.err) == (1, f"No session has the id {UNKNOWN}.\n")


# --- which account ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("users", "show"),
        ("users", "disable"),
        ("users", "enable"),
        ("users", "unlock"),
        ("sessions", "list"),
        ("sessions", "revoke", "--user"),
    ],
)
def test_an_account_that_does_not_exist_is_told_from_a_text_that_names_none(
    ubr: Run, settings: Settings, command: tuple[str, ...]
) -> None:
    for account, code, sentence in (
        ("nobody@example.org", 1, "No account has the e-mail nobody@example.org."),
        (UNKNOWN, 1, f"No user has the id {UNKNOWN}."),
        ("nonsense", 2, "'nonsense' is neither an e-mail nor the id of a user."),
        ("nobody@", 2, "The e-mail has an invalid domain."),
    ):
        done = ubr(*command, account)
        assert (done.code, done.out) == (code, "")
        assert sentence in done.err
    assert not [action for action, _ in acts(settings) if action.startswith(("user.", "session."))]


# --- export ----------------------------------------------------------------------------------------------------------


def test_an_export_is_written_to_a_file_or_to_standard_output(
    ubr: Run, settings: Settings, ada: str, tmp_path: Path
) -> None:
    file = tmp_path / "ada.json"
    assert said(ubr("users", "export", ADA, "--output", str(file))) == ""
    assert file.stat().st_mode & 0o777 == 0o600
    document = json.loads(file.read_text(encoding="utf-8"))
    assert (document["user"]["id"], document["sessions"][0]["ip"]) == (ada, HOME)
    assert {grant["role"]: grant["expires_at"] for grant in document["roles"]}["editor"] == "2031-02-03T04:05:06Z"
    assert as_json(ubr("users", "export", ada))["user"] == document["user"]
    assert acts(settings)[:2] == [("user.exported", None)] * 2
    assert ubr("users", "export", UNKNOWN).code == 1
    assert ubr("users", "export", "ada").code == 2


# --- erase -----------------------------------------------------------------------------------------------------------


def test_an_erased_account_is_gone_with_its_sessions(ubr: Run, settings: Settings, ada: str) -> None:
    refused = ubr("users", "erase", ADA)
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert ubr("users", "show", ADA).code == 0
    assert said(ubr("users", "erase", ada, "--yes")).startswith(f"{ADA} is erased.")
    assert [action for action, _ in acts(settings)[:3]] == ["user.erased", "user.deleted", "session.revoked"]
    assert said(ubr("users", "erase", ada, "--yes")) == f"{ada} is erased. Client IPs erased from the audit log: 0."
    for account in (ADA, UNKNOWN):
        assert ubr("users", "erase", account, "--yes").code == 1


def test_the_last_administrator_is_not_erased(ubr: Run, settings: Settings) -> None:
    async def made() -> None:
        async with connect(settings) as application:
            await application.create_admin(CreateAdminCommand(email=ADA, password=PASSWORD), actor=SYSTEM)

    run(made())
    refused = ubr("users", "erase", ADA, "--yes")
    assert (refused.code, "last" in refused.err) == (1, True)
    assert ubr("users", "show", ADA).code == 0


def test_an_erasure_is_confirmed_by_typing_the_e_mail(tmp_path: Path, settings: Settings, ada: str) -> None:
    code, seen = on_a_terminal(tmp_path, "users", "erase", ada, typed=("bob@example.org",), **SETTINGS)
    assert (code, "Nothing was erased" in seen) == (1, True)
    code, seen = on_a_terminal(tmp_path, "users", "erase", ada, typed=("Ada@Example.ORG",), **SETTINGS)
    assert (code, "is erased" in seen) == (0, True), seen


# --- explain ---------------------------------------------------------------------------------------------------------


def explained(ubr: Run, email: str = ADA) -> str:
    return said(ubr("explain", "login", email))


def test_a_login_that_succeeds_is_explained(ubr: Run, settings: Settings, ada: str) -> None:
    text = explained(ubr)
    assert text.startswith(f"A login as {ADA} succeeds with the right password. The e-mail is not verified.")
    assert "Live sessions: 1 of 50." in text
    assert text.endswith("No failed login is in the audit log.")
    assert as_json(ubr("explain", "login", ADA, "--json"))["user"]["id"] == ada


def test_a_lock_is_explained_with_its_end_the_failed_logins_and_the_remedy(
    ubr: Run, settings: Settings, ada: str
) -> None:
    lock(settings, STRANGER, HOME)
    text = explained(ubr)
    own, known = as_json(ubr("explain", "login", ADA, "--json"))["locks"]
    ends = [datetime.fromisoformat(each["until"]).strftime("%Y-%m-%d %H:%M:%SZ") for each in (own, known)]
    assert text.startswith(f"A login as {ADA} fails, even with the right password: - Too many wrong passwords")
    assert f"Until {ends[0]}, no password is accepted" in text
    assert f"`ubr users unlock {ADA}`" in text
    assert f"The client IP {HOME}, which is known to the account, has a lock of its own until {ends[1]}." in text
    assert text.count(f"wrong password, from {STRANGER}") == 2
    assert text.count(f"wrong password, from {HOME}") == 2


def test_every_obstacle_has_its_sentence(ubr: Run, settings: Settings) -> None:
    async def prepare() -> None:
        async with connect(settings) as app:
            user = await app.create_user(CreateUserCommand(email="new'user@example.org"), actor=SYSTEM)
            changes = UserChanges(status=UserStatus.DISABLED)
            await app.update_user(UpdateUserCommand(user_id=user.id, changes=changes), actor=SYSTEM)

    run(prepare())
    text = explained(ubr, "new'user@example.org")
    assert "The account has no password." in text
    assert "The account is disabled. `ubr users enable 'new'\"'\"'user@example.org'` enables it." in text
    text = explained(ubr, "nobody@example.org")
    assert text.startswith("A login as nobody@example.org fails, even with the right password: - No account has this")
    assert ubr("explain", "login", "nobody").code == 2


NOTHING = LoginExplanationResult(
    email=ADA,
    obstacles=[],
    user=None,
    registration="open",
    reserved_for=None,
    reserved_until=None,
    registration_until=None,
    last_login_at=None,
    sessions=0,
    max_sessions=50,
    locks=[],
    wrong_passwords=0,
    max_wrong_passwords=None,
    remaining_logins=None,
    next_login_at=None,
    failed_logins=[],
)
"""An explanation without any fact."""

USER = UserResult(
    id=UUID(UNKNOWN),
    email=ADA,
    full_name=None,
    status=UserStatus.ACTIVE,
    email_verified=True,
    roles=["user"],
    created_at=END,
    updated_at=END,
)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"obstacles": ["unreadable_password"]}, "with a secret that UBR_SECRET_KEY does not have"),
        ({"obstacles": ["login_limit"], "next_login_at": END}, "The next is possible at 2031-02-03 04:05:06Z."),
        (
            {"reserved_for": UUID(UNKNOWN), "reserved_until": END},
            f"The user {UNKNOWN} gave up this e-mail. It is reserved for them until 2031-02-03 04:05:06Z",
        ),
        ({"registration_until": END}, "A registration waits until 2031-02-03 04:05:06Z"),
        ({"registration": "verified"}, "only when its mailed link is opened"),
        ({"registration": "closed"}, "Users cannot register themselves"),
        (
            {"user": USER, "locks": [LoginLockResult(until=END, ip=HOME)]},
            "succeeds with the right password, but not from the client IPs named below.",
        ),
        ({"user": USER, "wrong_passwords": 1, "max_wrong_passwords": 2}, "count at the moment: 1 of 2."),
        ({"user": USER, "remaining_logins": 7}, "Logins that are possible at the moment: 7."),
        ({"user": USER, "sessions": 50}, "The next login ends the least recently used one."),
        ({"user": USER, "last_login_at": END}, "Last login: 2031-02-03 04:05:06Z."),
    ],
)
def test_a_fact_has_a_sentence_only_if_it_is_one(facts: dict[str, Any], sentence: str) -> None:
    told = " ".join(sentences(replace(NOTHING, **facts)))
    assert sentence in told
    assert sentence not in " ".join(sentences(replace(NOTHING, user=facts.get("user"))))


def test_fields_of_a_file_are_shown_and_indexed(ubr: Run, ada: str, tmp_path: Path) -> None:
    file = tmp_path / "fields.json"
    field = {"name": "customer_number", "type": "integer", "default": 7, "searchable": True}
    file.write_text(json.dumps({"fields": [field]}))
    shown = said(ubr("users", "show", ada, UBR_USER_FIELDS_FILE=str(file)))
    assert "fields.customer_number 7" in shown
    assert "fields." not in said(ubr("users", "show", ada))
    done = ubr("users", "index-fields", UBR_USER_FIELDS_FILE=str(file))
    assert (done.code, done.out) == (0, "Users indexed: 1.\n")
    done = ubr("users", "index-fields")
    assert done.code == 2
    assert "no user would be found by a field any more" in done.err.replace("\n", " ")
    file.write_text("{}")
    done = ubr("users", "show", ada, UBR_USER_FIELDS_FILE=str(file))
    assert done.code != 0
    assert f"UBR_USER_FIELDS_FILE names {file}" in done.err.replace("\n", "")
