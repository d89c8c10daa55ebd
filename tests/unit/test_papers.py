"""The documentation is true: a test runs each code block, and holds each claim, number and table."""

from __future__ import annotations

import re
import shlex
import tomllib
from base64 import b64decode
from datetime import timedelta
from pathlib import Path

import click
import pytest
from msgspec import json
from packaging.requirements import Requirement

from tests.integration.http.routes import PAGE_PATHS, ROUTES
from tests.support.papers import PAGES, ROOT, blocks, blocks_of, table
from ubr.adapters.security import password_strength
from ubr.adapters.security.common_passwords import _listed
from ubr.adapters.security.passwords import WAITING_PER_WORKER
from ubr.application.kernel.idempotency import MAX_MISMATCHES
from ubr.application.mail import deliver_mail
from ubr.application.operations.janitor import QUEUED_MAILS_KEPT
from ubr.application.revocation.follow_revocations import RevocationsResult
from ubr.domain.accounts.one_time_link import LINK_LIFETIME, UNDO_LIFETIME
from ubr.domain.accounts.passwords import PASSWORD_MIN_LENGTH_DEFAULT
from ubr.domain.errors import UbrError
from ubr.domain.mail.kinds import MailKind
from ubr.domain.mail.queued_mail import LAST_TRY
from ubr.domain.sessions.session import RETRY_WINDOW
from ubr.domain.sessions.termination import SESSION_TERMINATION
from ubr.entrypoints.cli.main import main
from ubr.entrypoints.http.problems.catalogue import status_of
from ubr.settings import BACKGROUND_CONNECTIONS, Settings

HELD = {
    ("README.md", "sh"): "integration/test_readme.py::test_the_conversation",
    ("README.md", "json"): "integration/test_readme.py::test_the_conversation",
    ("README.md", "python"): "integration/test_readme.py::test_the_program",
    ("README.md", ""): "unit/test_papers.py::test_a_list_of_commands_is_complete",
    ("DEVELOPMENT.md", "sh"): "unit/test_papers.py::test_every_command_line_can_be_run",
    ("tests/README.md", "sh"): "unit/test_papers.py::test_every_command_line_can_be_run",
    ("docs/api.md", "sh"): "integration/clients/test_clients.py::test_a_client_in_typescript",
    ("docs/api.md", "ts"): "integration/clients/test_clients.py::test_a_client_in_typescript",
    ("docs/api.md", "python"): "integration/clients/test_clients.py::test_a_client_in_python",
    ("docs/architecture.md", "mermaid"): "unit/test_docs.py::test_the_pages_are_current",
    ("docs/architecture.md", ""): "unit/test_papers.py::test_the_rooms_are_the_folders",
    ("docs/audit.md", "sh"): "integration/test_docs_programs.py::test_the_commands_of_the_audit_log",
    (
        "docs/audit.md",
        "sql",
    ): "integration/cli/test_database_privileges.py::test_an_auditor_verifies_the_log_without_a_secret",
    ("docs/audit.md", ""): "unit/test_papers.py::test_the_checkpoint_has_the_form_of_one",
    ("docs/browsers.md", "js"): "integration/http/test_browser_recipe.py::test_tabs_refresh_once_and_end_together",
    ("docs/failed-logins.md", "sh"): "integration/test_docs_programs.py::test_the_commands_about_users",
    ("docs/failed-logins.md", ""): "integration/test_docs_programs.py::test_the_commands_about_users",
    ("docs/clients.md", "sh"): "integration/test_docs_programs.py::test_a_request_with_a_key",
    ("docs/clients.md", "python"): "integration/test_docs_programs.py::test_a_retry_in_python",
    ("docs/docker.md", "sh"): "unit/test_papers.py::test_the_container_is_started_as_the_image_test_does",
    (
        "docs/extending.md",
        "python",
    ): "contracts/test_adapters_of_a_host.py::test_old_hashes_are_replaced_at_the_next_login",
    ("docs/fields.md", "json"): "integration/http/test_user_fields.py::test_the_example_of_the_page",
    ("docs/frameworks.md", "python"): "integration/test_docs_programs.py::test_a_program_of_a_framework",
    ("docs/embedding.md", "python"): "integration/test_docs_programs.py::test_a_team_and_its_owner_are_one_transaction",
    ("docs/keys.md", ""): "unit/test_papers.py::test_a_list_of_commands_is_complete",
    ("docs/load-balancers.md", ""): "unit/test_papers.py::test_the_load_balancer_is_the_one_of_the_rolling_update",
    ("docs/mail.md", "sh"): "integration/test_docs_programs.py::test_the_commands_of_the_outbox",
    ("docs/operations/point-in-time-recovery.md", "sh"): (
        "integration/backups/test_point_in_time.py::test_a_database_goes_back_to_a_moment"
    ),
    ("docs/operations/point-in-time-recovery.md", "ini"): (
        "integration/backups/test_point_in_time.py::test_a_database_goes_back_to_a_moment"
    ),
    ("docs/operations/backups.md", "sh"): "integration/test_docs_programs.py::test_the_commands_of_backups",
    ("docs/operations/backups-s3.md", "json"): (
        "integration/backups/test_s3.py::test_the_policy_of_creation_can_create_and_nothing_else"
    ),
    ("docs/operations/backups.md", ""): "integration/test_docs_programs.py::test_the_commands_of_backups",
    ("docs/operations/install.md", "sh"): "packaging/test_bare_debian.py::test_the_page_about_the_installation",
    ("docs/operations/README.md", "sh"): "integration/test_docs_programs.py::test_the_first_looks_change_nothing",
    ("docs/operations/capacity.md", ""): "unit/test_papers.py::test_a_number_is_that_of_the_code",
    ("docs/operations/lost.md", "sh"): "integration/test_docs_programs.py::test_a_lost_password_and_a_lost_secret",
    ("docs/operations/upgrade.md", "sh"): "integration/test_docs_programs.py::test_an_upgrade",
    ("docs/operations/compose.md", "sh"): "unit/test_deploy.py::test_the_commands_of_a_page_exist",
    ("docs/operations/kubernetes.md", "sh"): "unit/test_deploy.py::test_the_commands_of_a_page_exist",
    ("docs/operations/one-machine.md", "sh"): "packaging/test_one_machine.py::test_the_page_about_one_machine",
    ("docs/permissions.md", "python"): "integration/test_docs_programs.py::test_a_permission_is_asked_for",
    ("docs/operations/monitoring.md", "sh"): (
        "integration/production/test_monitoring.py::test_the_commands_of_the_page_run"
    ),
    (
        "docs/operations/monitoring.md",
        "yaml",
    ): "unit/test_monitoring.py::test_the_example_of_grafana_names_our_dashboard",
    **{
        (block.page, block.language): {
            "sh": "unit/test_papers.py::test_every_command_line_can_be_run",
            "promql": "integration/production/test_monitoring.py::test_every_expression_is_evaluated_on_a_live_service",
        }.get(block.language, "")
        for block in blocks()
        if block.page.startswith("docs/runbooks/")
    },
    ("docs/machines.md", "sh"): "integration/test_docs_programs.py::test_a_machine_is_set_up_and_logs_in",
    ("docs/machines.md", "json"): "integration/test_docs_programs.py::test_a_machine_is_set_up_and_logs_in",
    ("docs/machines.md", "python"): "integration/test_docs_programs.py::test_a_machine_logs_in_in_python",
    (
        "docs/metrics.md",
        "sh",
    ): "integration/production/test_monitoring.py::test_prometheus_logs_in_with_the_key_of_a_machine",
    (
        "docs/metrics.md",
        "yaml",
    ): "integration/production/test_monitoring.py::test_prometheus_logs_in_with_the_key_of_a_machine",
    ("docs/testing.md", "python"): "integration/test_docs_programs.py::test_the_tests_of_a_page",
    ("docs/testing.md", "sh"): "integration/cli/test_emulate.py::test_the_example_in_javascript",
    ("docs/testing.md", "json"): "integration/emulator/test_emulator.py::test_the_schema_describes_the_file",
    ("docs/tutorial.md", "sh"): "integration/test_docs_programs.py::test_the_tutorial",
    ("docs/tutorial.md", "python"): "integration/test_docs_programs.py::test_the_tutorial",
    ("docs/tutorial.md", "json"): "integration/cli/test_emulate.py::test_the_tests_of_the_tutorial_in_typescript",
    ("docs/tutorial.md", "ts"): "integration/cli/test_emulate.py::test_the_tests_of_the_tutorial_in_typescript",
    ("docs/verifier.md", "sh"): "unit/test_papers.py::test_the_extra_exists",
    ("docs/verifier.md", "json"): "unit/test_papers.py::test_the_answer_to_a_verifier_has_the_fields_of_one",
    ("docs/verifier.md", "python"): "integration/test_docs_programs.py::test_a_token_is_verified",
}
"""The test of the code blocks of a page in one language. `typing/test_public_face.py` also checks those in Python."""

SECURITY = {
    "Answers do not reveal": (
        "unit/sessions/test_log_in.py::test_unknown_email_wrong_password_no_password_and_disabled_user_are_refused_alike",
        "unit/sessions/test_log_in.py::test_a_password_is_hashed_whoever_asks",
    ),
    "A new password has": (
        "integration/test_passwords.py::test_every_use_case_that_sets_a_password_rejects_one_that_takes_few_guesses",
    ),
    "Passwords are stored as": (
        "contracts/test_security_passwords.py",
        "contracts/test_security_refresh_tokens.py",
        "contracts/test_signing_keys.py",
    ),
    "A refresh token is good once": ("contracts/test_refresh_tokens.py", "simulation/test_refresh_explored.py"),
    "The cookie of a browser": (
        "unit/sessions/test_browser_sessions.py",
        "integration/http/test_browser_sessions.py",
        "integration/http/test_cross_origin.py",
    ),
    "Authorization is decided": ("unit/access/test_authorization.py", "integration/http/test_authorization.py"),
    "Users cannot grant": ("integration/test_rights.py", "unit/domain/roles/test_policy.py"),
    "Wrong passwords are limited": (
        "unit/protection/test_password_throttle.py",
        "integration/production/test_guessing.py",
    ),
    "No audit log entry contains": ("unit/audit/test_log.py", "unit/domain/test_events.py"),
    "Neither the log of the service": ("integration/production/test_canaries.py",),
    "A backup is encrypted": ("contracts/test_security_backup_cipher.py", "integration/backups/test_backups.py"),
    "An erasure deletes": ("unit/accounts/test_erase_user.py", "unit/domain/audit/test_erasures.py"),
    "An operator with write access": ("integration/test_log_tampering.py",),
    "A stolen access token works": ("contracts/test_security_access_tokens.py", "integration/http/test_ending.py"),
}
"""The tests of each claim of SECURITY.md, by its first words."""


def exists(test: str) -> bool:
    path, _, name = test.partition("::")
    file = ROOT / "tests" / path
    return file.is_file() and (
        not name or re.search(rf"^(async )?def {name}\(", file.read_text(), re.MULTILINE) is not None
    )


def test_a_test_runs_every_code_block() -> None:
    assert {(block.page, block.language) for block in blocks()} == set(HELD)
    assert [test for test in HELD.values() if not exists(test)] == []


def test_a_test_holds_every_claim_about_security() -> None:
    claims = [line[2:] for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("- ")]
    for claim in claims:
        assert sum(claim.startswith(words) for words in SECURITY) == 1, claim
    assert len(claims) == len(SECURITY)
    assert [test for tests in SECURITY.values() for test in tests if not exists(test)] == []


# Numbers and tables

DEFAULT = Settings.from_env({}, secret=False)
NUMBERS = [
    ("SECURITY.md", f"A new password has {PASSWORD_MIN_LENGTH_DEFAULT} characters or more by default"),
    ("README.md", f"A password has {PASSWORD_MIN_LENGTH_DEFAULT} characters or more"),
    ("SECURITY.md", f"one of the {len(_listed()):,} most common ones"),
    ("SECURITY.md", f"takes {password_strength.MIN_GUESSES:,} guesses or more"),
    ("SECURITY.md", {timedelta(seconds=10): "retry window of ten seconds"}[RETRY_WINDOW]),
    ("SECURITY.md", {timedelta(minutes=10): "within ten minutes by default"}[DEFAULT.access_token_lifetime]),
    ("docs/sessions.md", {4: "use four connections that no request can take"}[BACKGROUND_CONNECTIONS]),
    ("docs/sessions.md", f"used twice within {RETRY_WINDOW.seconds} s"),
    ("docs/clients.md", f"retried within {RETRY_WINDOW.seconds} seconds"),
    ("docs/clients.md", {5: "The fifth deletes the stored answer"}[MAX_MISMATCHES]),
    ("docs/limits.md", f"| key | {MAX_MISMATCHES}, then"),
    ("docs/mail.md", {timedelta(minutes=30): "once and within half an hour"}[LINK_LIFETIME]),
    ("docs/mail.md", {timedelta(days=1): "an undo link within a day"}[UNDO_LIFETIME]),
    ("docs/mail.md", {(20, 4): "up to 20 mails at once, and up to four of them to one domain"}[
        deliver_mail.AT_ONCE, deliver_mail.PER_DOMAIN
    ]),
    ("docs/mail.md", {8: "after the eighth attempt"}[LAST_TRY]),
    ("docs/mail.md", {timedelta(weeks=1): "After a week it is deleted"}[QUEUED_MAILS_KEPT]),
    ("docs/operations/capacity.md", f"(UBR_POOL_SIZE + {BACKGROUND_CONNECTIONS})"),
    ("docs/operations/capacity.md", f"The {BACKGROUND_CONNECTIONS} are for"),
    ("docs/operations/capacity.md", f"lets {WAITING_PER_WORKER} wait for each core"),
    ("docs/operations/capacity.md", f"with 32 cores it takes {32 * DEFAULT.argon2_memory_kib // 1024} MiB"),
    ("docs/verifier.md", f"`UBR_VERIFIERS_PER_USER` ({DEFAULT.verifiers_per_user})"),
    ("docs/verifier.md", f"`UBR_SESSIONS_PER_USER` ({DEFAULT.sessions_per_user})"),
]  # fmt: skip


@pytest.mark.parametrize(("page", "words"), NUMBERS)
def test_a_number_is_that_of_the_code(page: str, words: str) -> None:
    assert words in (ROOT / page).read_text()


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    here = ROOT / page
    for link in re.findall(r"\]\(([^)\s]+)\)", here.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (here.parent / path) if path else here
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_first_page_of_the_book_leads_to_every_page() -> None:
    book = "docs/operations/README.md"
    linked = {path.partition("#")[0] for path in re.findall(r"\]\(([^)\s]+)\)", (ROOT / book).read_text())}
    pages = {path.name for path in (ROOT / book).parent.glob("*.md")} - {"README.md"}
    assert pages <= linked
    # An alert leads to its runbook by itself; the others are in the table of symptoms.
    others = "audit doctor docker failed-logins keys limits load-balancers mail metrics settings"
    assert {f"../{name}.md" for name in others.split()} <= linked


def test_the_limits_are_the_default_settings() -> None:
    defaults = {row[0].strip("`"): row[1] for row in table("docs/settings.md", "variable")}
    setting, seen = "", set()
    for what, _, limit, named in table("docs/limits.md", "counted attempts"):
        setting = setting if named == "the same" else named.strip("`")
        if setting == "none":
            continue
        found = re.match(r"(\d+) an? (minute|hour)", limit)
        assert found is not None, what
        assert f"{found[1]}/{found[2]}" in re.split(r"[`,]", defaults[setting]), what
        seen.add(setting)
    assert seen == {name for name in defaults if name.endswith("_RATE_LIMIT")}


def test_the_figures_of_the_settings_for_sessions_are_the_defaults() -> None:
    defaults = {row[0].strip("`"): row[1].strip("`") for row in table("docs/settings.md", "variable")}
    named = re.findall(
        r"`(UBR_\w+)` \((\d+)( ?\w*)\)", " ".join(row[0] for row in table("docs/sessions.md", "setting"))
    )
    assert len(named) == 7
    for name, number, unit in named:
        assert f"{number}{unit.strip().replace('min', 'm')}" == defaults[name]


def test_every_setting_that_a_page_names_exists() -> None:
    known = {row[0].strip("`") for row in table("docs/settings.md", "variable")}
    known |= {f"{name}_FILE" for name in known} | {
        f"UBR_TEST_{name}" for name in ("POSTGRES_URL", "REDIS_URL", "INSTALL")
    }
    known.add("UBR_PREVIOUS")  # read by `make test-upgrade`
    for page in PAGES:
        named = set(re.findall(r"`(UBR_[A-Z_]+[A-Z])\b", (ROOT / page).read_text()))
        assert named <= known, (page, named - known)


def test_every_event_that_ends_sessions_is_in_the_table() -> None:
    rows = {row[1].strip("`"): row[2] for row in table("docs/sessions.md", "event")}
    assert rows == {event.value: scope.value for event, scope in SESSION_TERMINATION.items()}


def test_every_kind_of_error_has_its_status_in_the_table() -> None:
    kinds = [kind for kind in UbrError.__subclasses__() if kind.__module__ == "ubr.domain.error_kinds"]
    rows = {row[0].strip("`"): int(row[1]) for row in table("docs/embedding.md", "kind")}
    assert rows == {kind.__name__: status_of(kind) for kind in kinds}


def test_every_kind_of_mail_is_in_the_table() -> None:
    assert {row[0].strip("`") for row in table("docs/mail.md", "kind")} == {kind.value for kind in MailKind}


def test_every_route_that_a_page_names_exists() -> None:
    routes = {(route.method, re.sub(r"{\w+}", "{}", route.template)) for route in ROUTES}
    for page in PAGES:
        for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`? ]*)", (ROOT / page).read_text()):
            assert (method, re.sub(r"{\w+}", "{}", path)) in routes, (page, method, path)
        for path in re.findall(r"`(/[a-z.][^` ]*)`", (ROOT / page).read_text()):
            if path.startswith(FOLDERS):
                continue
            assert path in OTHER_PATHS or ("GET", re.sub(r"{\w+}", "{}", path)) in routes, (page, path)


FOLDERS = ("/etc/", "/opt/ubr", "/usr/local/", "/var/lib/")
"""Folders of a machine, which no route begins with."""
OTHER_PATHS = {"/api", "/.well-known", "/problems/", "/health", "/health/", "/notes"} | PAGE_PATHS
"""The first parts of many paths, the path of an example, and pages."""


# Code blocks that no program runs


def lines_of(language: str = "sh") -> list[tuple[str, list[str]]]:
    """Every command of the shell blocks, without comments and redirections."""
    found = []
    for block in blocks():
        if block.language == language:
            for line in block.text.replace("\\\n", " ").splitlines():
                for part in line.partition("  #")[0].split(" && "):
                    words = shlex.split(re.sub(r" > \S+", "", part), comments=True)
                    if words:
                        found.append((block.page, words))
    return found


def assert_known(words: list[str]) -> None:
    """Asserts that ubr has this command with these options."""
    command: click.Command = main
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        command = command.commands[rest.pop(0)]
    options = {"--help", *(name for parameter in command.params for name in parameter.opts)}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= options, words


def test_every_command_line_can_be_run() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    checked = 0
    for page, words in lines_of():
        match words:
            case ["ubr" | ".venv/bin/ubr", *rest]:
                assert_known(rest)
            case ["make", *rest]:
                assert {word for word in rest if "=" not in word} <= targets, (page, words)
            case [".venv/bin/python", "-m", "pytest", path, *_]:
                assert (ROOT / path).exists(), (page, path)
            case _:
                continue
        checked += 1
    assert checked > 20


def test_every_target_and_command_in_the_text_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = (ROOT / page).read_text()
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets, page
        for line in re.findall(r"`ubr ((?:[a-z-]+ ?)+[^`…]*)`", text):
            assert_known([word for word in line.split() if re.fullmatch(r"[a-z][a-z-]*|--[a-z-]+", word)])


@pytest.mark.parametrize("page", ["README.md", "docs/keys.md"])
def test_a_list_of_commands_is_complete(page: str) -> None:
    text = next(block.text for block in blocks_of(page, "") if block.text.startswith("ubr "))
    named = [line.split("  ")[0].split()[1:] for line in text.splitlines()]
    for words in named:
        assert_known([word for word in words if word.islower()])
    group = main if page == "README.md" else main.commands["keys"]
    assert isinstance(group, click.Group)
    assert {words[0 if group is main else 1] for words in named} == set(group.commands)


def test_the_rooms_are_the_folders() -> None:
    (block,) = blocks_of("docs/architecture.md", "")
    package = ROOT / "src" / "ubr"
    named = re.findall(r"^  (\w+)/", block.text, re.MULTILINE)
    assert sorted(named) == sorted(path.parent.name for path in package.glob("*/__init__.py"))
    inside = re.findall(r"^    ((?:\w+/ ?)+)", block.text, re.MULTILINE)
    for name in " ".join(inside).split():
        assert list(package.glob(f"*/{name}")), name


def test_the_checkpoint_has_the_form_of_one() -> None:
    """C2SP, signed-note and tlog-checkpoint: origin, size, root, an empty line, signatures."""
    (block,) = blocks_of("docs/audit.md", "")
    origin, size, root, empty, signature = block.text.splitlines()
    assert (size.isdecimal(), len(b64decode(root)), empty) == (True, 32, "")
    assert signature.startswith(f"— {origin} ")


def test_the_answer_to_a_verifier_has_the_fields_of_one() -> None:
    (block,) = blocks_of("docs/verifier.md", "json")
    assert json.encode(json.decode(block.text, type=RevocationsResult)) == json.encode(json.decode(block.text))


def test_the_extra_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (block,) = blocks_of("docs/verifier.md", "sh")
    named = Requirement(shlex.split(block.text)[-1])
    assert (named.name, named.extras) == ("ubr", {"verifier"})
    assert named.extras <= set(extras)


def test_the_container_is_started_as_the_image_test_does() -> None:
    runs = [words for page, words in lines_of() if page == "docs/docker.md" and words[:2] == ["docker", "run"]]
    smoke = (ROOT / "tools" / "image_smoke.py").read_text()
    locked = re.search(r"locked = \((.*)\)", smoke)
    assert locked is not None
    expected = shlex.split(locked[1].replace(",", " "))
    started = [words for words in runs if "--rm" not in words]
    assert len(started) == 2
    for words in started:
        at = words.index(expected[0])
        assert words[at : at + len(expected)] == expected
        assert words[words.index("--stop-timeout") + 1] == "40"
    assert '"--time", "40"' in smoke


def test_the_load_balancer_is_the_one_of_the_rolling_update() -> None:
    (block,) = blocks_of("docs/load-balancers.md", "")
    used = (ROOT / "tests" / "support" / "servers.py").read_text()
    numbers = re.compile(r" \d+\w*")  # the test is in a hurry
    for line in block.text.splitlines()[1:]:
        if not line.strip().startswith("server "):
            assert numbers.sub("", line.strip()) in numbers.sub("", used), line
