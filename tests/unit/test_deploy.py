"""The files of deploy/: the rules that need no program to check."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import compose
from tests.support.papers import ROOT, blocks_of
from tests.unit.test_papers import assert_known, lines_of
from ubr.entrypoints.cli.supervisor import DRAIN
from ubr.settings import Settings
from ubr.settings.declaration import declared_in

DEPLOY = ROOT / "deploy"
SECRETS = [setting for setting in declared_in(Settings) if setting.file_name is not None]
NAMES = {setting.name for setting in declared_in(Settings)} | {setting.file_name for setting in SECRETS}
SERVICES = compose.services()
PAGES = ["docs/operations/compose.md", "docs/operations/kubernetes.md", "docs/operations/one-machine.md"]


def test_every_secret_can_be_a_file() -> None:
    """Also those that a URL contains."""
    assert {setting.name for setting in SECRETS} >= {
        "UBR_DATABASE_URL",
        "UBR_MIGRATION_DATABASE_URL",
        "UBR_REDIS_URL",
        "UBR_SECRET_KEY",
        "UBR_ADMIN_PASSWORD",
        "UBR_METRICS_TOKEN",
        "UBR_SMTP_URL",
        "UBR_BACKUP_KEY",
    }
    secret = re.compile(r"(PASSWORD|SECRET|TOKEN|KEY|DATABASE_URL|REDIS_URL|SMTP_URL)$")
    plain = {setting.name for setting in declared_in(Settings) if setting.file_name is None}
    assert {name for name in plain if secret.search(name)} == set()


def test_no_file_sets_a_secret_itself_and_every_setting_exists() -> None:
    named = set()
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.relative_to(DEPLOY).parts[0] not in {"monitoring", "aws", "secrets"}:
            text = path.read_text()
            for setting in SECRETS:
                assert not re.search(rf"{setting.name}[=:]", text), (path, setting.name)
            # Variables of the files themselves are in ${…}.
            named |= {(path.name, name) for name in re.findall(r"(?<![{\w])(UBR_[A-Z_]+[A-Z])(?=[=:])", text)}
    assert len(named) > 12
    assert {(path, name) for path, name in named if name not in NAMES | {"UBR_DOMAIN"}} == set()


PROGRAMS = {"apt-get", "cd", "echo", "openssl", "rm", "runuser", "sed", "tar", "umask"}
PROGRAMS |= {"CREATE", "REVOKE", "GRANT", "END"}  # of the statements of the database, and of the line after them
COMMANDS_OF_COMPOSE = {"up": 0, "ps": 0, "logs": 0, "exec": 1, "run": 1}
"""The commands of Docker Compose, and how many services they take: 0 for any number."""


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_exist(page: str) -> None:
    """Every program is a known one, and every file, service, unit and command of ubr exists."""
    lines = [words for of, words in lines_of() if of == page]
    assert lines
    for words in lines:
        match words[0]:
            case "docker":
                assert_docker(words[1:])
            case "kubectl":
                assert_kubectl(words[1:])
            case "systemctl" | "systemd-sysusers" | "systemd-tmpfiles":
                assert_systemd(*words)
            case "install":
                files = words[words[3:].index("-o") + 5 if "-o" in words else 3 : -1]
                assert [file for file in files if file != "/dev/null" and not list(ROOT.glob(file))] == []
            case "ubr":
                assert_known(words[1:])
            case "cat":
                assert words[1].rpartition("/")[2] in compose.load()["secrets"]
            case program if program.startswith("deploy/"):
                assert (ROOT / program).stat().st_mode & stat.S_IXUSR
            case program:
                assert program in PROGRAMS, words


def assert_docker(words: list[str]) -> None:
    match words:
        case ["compose", "--file", file, command, *rest]:
            assert (ROOT / file).is_file()
            named = [word for word in rest if not word.startswith("--") and not word.isdigit()]
            count = COMMANDS_OF_COMPOSE[command] or len(named)
            assert set(named[:count]) <= SERVICES.keys(), words
            if command == "exec":
                assert_known(rest[rest.index("ubr") + 1 :])
            elif command == "run":
                assert_known(named[1:])
        case ["build", "--tag", _, *rest]:
            stages = re.findall(r" AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
            assert rest in (["."], *(["--target", stage, "."] for stage in stages))
        case _:
            pytest.fail(f"unknown: {words}")


def assert_kubectl(words: list[str]) -> None:
    manifests = "".join(path.read_text() for path in (DEPLOY / "kubernetes" / "base").iterdir())
    named = ["ubr-migrate"] if "delete" in words else []
    for word in words:
        if word.startswith("--from-file="):
            assert f"key: {word.partition('=')[2]}," in manifests, words
        elif word.startswith("deploy/"):
            assert (ROOT / word / "kustomization.yaml").is_file()
        elif re.match(r"(--from=)?(job|deployment|cronjob)/", word):
            named.append(word.rpartition("/")[2])
    assert [name for name in named if f"  name: {name}\n" not in manifests] == []


def assert_systemd(program: str, *words: str) -> None:
    if program == "systemctl":
        units = [word if "." in word else f"{word}.service" for word in words[1:] if not word.startswith("-")]
        assert [unit for unit in units if not (DEPLOY / "systemd" / unit).is_file()] == []
    else:
        assert words[-1] == "ubr.conf"


# Compose


def mounts(service: dict[str, Any]) -> list[list[str]]:
    return [volume.split(":") for volume in service.get("volumes", ())]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "mem_limit", "pids_limit"} <= service.keys()
    assert service["logging"]["options"]["max-size"]
    assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & service.keys()
    for source, _, *mode in mounts(service):
        assert not source.startswith("/")
        assert not source.startswith(".") or mode == ["ro"]


def test_every_service_that_stays_has_a_health_check() -> None:
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"migrate"}


def test_only_the_proxy_is_open_to_others() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"proxy": ["80:80", "443:443", "443:443/udp"], "grafana": ["127.0.0.1:3000:3000"]}


def test_the_networks_separate() -> None:
    """The proxy does not reach the data, the data do not reach the outside."""
    made = compose.load()["networks"]
    assert {name for name, network in made.items() if not (network or {}).get("internal")} == {"outside"}
    members = {name: {it for it, service in SERVICES.items() if name in service["networks"]} for name in made}
    assert members["data"] == {"ubr-1", "ubr-2", "migrate", "postgres", "redis", "backup"}
    assert members["app"] == {"ubr-1", "ubr-2", "proxy", "prometheus"}
    assert not {"postgres", "redis", "migrate", "prometheus"} & members["outside"]


def test_the_trusted_proxy_is_the_address_of_the_proxy() -> None:
    address = SERVICES["proxy"]["networks"]["app"]["ipv4_address"]
    for name in ("ubr-1", "ubr-2"):
        assert SERVICES[name]["environment"]["UBR_TRUSTED_PROXIES"] == f"{address}/32"
    assert SERVICES["ubr-1"] == SERVICES["ubr-2"]


def test_a_container_gets_only_the_secrets_that_it_names() -> None:
    declared = compose.load()["secrets"]
    used = set()
    for name, service in SERVICES.items():
        given = set(service.get("secrets", ()))
        read = {
            value.removeprefix("/run/secrets/")
            for value in map(str, service.get("environment", {}).values())
            if value.startswith("/run/secrets/")
        }
        assert read <= given, name
        used |= given
    assert used == set(declared)
    script = (DEPLOY / "compose" / "init").read_text()
    for secret, source in declared.items():
        assert source == {"file": f"secrets/{secret}"}
        assert re.search(rf"\b{secret}\b", script), secret
    # Only the commands that change tables or copy the database know its owner.
    assert {name for name, service in SERVICES.items() if "migration_database_url" in service.get("secrets", ())} == {
        "migrate",
        "backup",
    }


def test_a_container_stops_after_its_service() -> None:
    delay = int(SERVICES["ubr-1"]["environment"]["UBR_SHUTDOWN_DELAY"].removesuffix("s"))
    assert int(SERVICES["ubr-1"]["stop_grace_period"].removesuffix("s")) >= delay + DRAIN + 10
    # The proxy looks often enough to notice an instance that stops.
    caddy = (DEPLOY / "compose" / "Caddyfile").read_text()
    times = [re.search(rf"health_{name} (\d+)s?$", caddy, re.MULTILINE) for name in ("interval", "fails")]
    interval, fails = [int(found[1]) for found in times if found is not None]
    assert interval * fails < delay


def test_every_mounted_file_exists() -> None:
    for name, service in SERVICES.items():
        for source, *_ in mounts(service):
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), (name, source)
    for script in ("init", "daily-backup", "postgres/roles.sh"):
        assert (DEPLOY / "compose" / script).stat().st_mode & stat.S_IXUSR


def test_only_the_first_command_writes_the_variables() -> None:
    with pytest.raises(KeyError, match="deploy/compose/init"):
        compose.load({})


# systemd


def test_the_roles_are_those_of_compose() -> None:
    page = "".join(block.text for block in blocks_of("docs/operations/one-machine.md", "sh"))
    script = (DEPLOY / "compose" / "postgres" / "roles.sh").read_text()

    def statements(text: str) -> set[str]:
        text = re.sub(r"PASSWORD '[^\n]*'", "PASSWORD", text).replace(" ENCODING 'UTF8' TEMPLATE template0", "")
        return {line for line in text.splitlines() if line.split(" ")[0] in {"CREATE", "REVOKE", "GRANT"}}

    # A restoration makes the same database under another name.
    assert statements(page.replace("ubr_restored", "ubr")) == statements(script)
    assert page.count("CREATE DATABASE") == 2
    assert len(statements(script)) == 5


UNITS = sorted((DEPLOY / "systemd").glob("ubr*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_unit_reads_its_secrets_from_credentials(unit: Path) -> None:
    text = unit.read_text()
    loaded = dict(re.findall(r"^LoadCredential=(\w+):(\S+)$", text, re.MULTILINE))
    read = dict(re.findall(r"^Environment=(UBR_\w+)=%d/(\w+)$", text, re.MULTILINE))
    assert set(read.values()) == loaded.keys()
    assert set(read) <= {setting.file_name for setting in SECRETS}
    for name, path in loaded.items():
        assert path == f"/etc/ubr/credentials/{name}"


def test_the_service_has_the_time_that_it_needs_to_stop() -> None:
    text = (DEPLOY / "systemd" / "ubr.service").read_text()
    found = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert found is not None
    assert int(found[1]) >= DRAIN + 10
    assert "\nKillMode=mixed\n" in text
    assert "UBR_SHUTDOWN_DELAY" not in (DEPLOY / "systemd" / "ubr.env").read_text()


def test_only_the_owner_of_the_tables_migrates() -> None:
    assert {unit.stem for unit in UNITS if "migration_database_url" in unit.read_text()} >= {"ubr-migrate"}
    assert "migration_database_url" not in (DEPLOY / "systemd" / "ubr.service").read_text()


def test_a_command_runs_with_the_secrets_of_the_service(tmp_path: Path) -> None:
    """With those that exist. systemd-run expands no specifiers, so the script names the folder of the credentials."""
    script = (DEPLOY / "systemd" / "ubr").read_text()
    (tmp_path / "credentials").mkdir()
    for name in ("database_url", "secret_key", "owner_password"):
        (tmp_path / "credentials" / name).touch()
    path = tmp_path / "systemd-run"
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    path.chmod(0o755)
    script = script.replace("secrets=/etc/ubr/credentials", f"secrets={tmp_path}/credentials")
    said = subprocess.run(  # noqa: S603 - the script is ours
        ["/bin/sh", "-c", script, "ubr", "users", "find", "a name"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert said[-4:] == ["/opt/ubr/bin/ubr", "users", "find", "a name"]
    assert {"--wait", "--pipe"} <= set(said)
    properties = [line.removeprefix("--property=") for line in said if line.startswith("--property=")]
    (unit,) = [line.removeprefix("--unit=") for line in said if line.startswith("--unit=")]
    assert sorted(line for line in properties if line.startswith(("LoadCredential=", "Environment=UBR_"))) == [
        "Environment=UBR_BACKUP_DIR=/var/lib/ubr-backups",
        f"Environment=UBR_DATABASE_URL_FILE=/run/credentials/{unit}.service/database_url",
        f"Environment=UBR_SECRET_KEY_FILE=/run/credentials/{unit}.service/secret_key",
        f"LoadCredential=database_url:{tmp_path}/credentials/database_url",
        f"LoadCredential=secret_key:{tmp_path}/credentials/secret_key",
    ]
    assert [line for line in properties if "%" in line] == []
    # It knows every secret, except the one of the first start.
    (known,) = re.findall(r"^for secret in (.*); do$", script, re.MULTILINE)
    assert {f"UBR_{name.upper()}" for name in known.split()} == {setting.name for setting in SECRETS} - {
        "UBR_ADMIN_PASSWORD"
    }
    # The account is that of the service.
    service = (DEPLOY / "systemd" / "ubr.service").read_text()
    for line in ("User=ubr", "Group=ubr", "EnvironmentFile=/etc/ubr/ubr.env"):
        assert line in properties
        assert f"\n{line}\n" in service


def test_only_a_proved_backup_lets_older_ones_be_deleted() -> None:
    """In every installation."""
    installations = (
        "deploy/compose/daily-backup",
        "deploy/systemd/ubr-backup-verify.service",
        "deploy/kubernetes/base/backups.yaml",
        "docs/operations/backups.md",
    )
    for path in installations:
        lines = [line for line in (ROOT / path).read_text().splitlines() if not line.lstrip().startswith("#")]
        text = "\n".join(lines)
        assert text.count("ubr backup prune") == 1, path
        assert re.search(r"ubr backup verify[^;|]*?(&&|\nExecStart=)[^;|]*?ubr backup prune", text), path


def test_the_settings_of_the_machine_can_be_read() -> None:
    lines = (DEPLOY / "systemd" / "ubr.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert Settings.from_env({**given, "UBR_DATABASE_URL": "postgresql://localhost/ubr"}, secret=False).workers == 2


# The image


def test_the_base_image_has_a_tag_and_a_digest_and_the_page_names_it() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    # Every other stage is made from this one: Dependabot changes only lines with FROM and an image.
    [base] = [line for line in re.findall(r"^FROM (.+)$", dockerfile, re.MULTILINE) if "@" in line or ":" in line]
    tag = re.fullmatch(r"(python:\d\.\d+-slim-\w+)@sha256:[0-9a-f]{64} AS base", base)
    major = re.search(r"^ARG POSTGRES_MAJOR=(\d+)$", dockerfile, re.MULTILINE)
    assert tag is not None
    assert major is not None
    page = (ROOT / "docs" / "docker.md").read_text()
    assert f"`{tag[1]}@sha256:…`" in page
    assert f"`postgresql-client-{major[1]}`" in page
    # The server of Compose is not newer than the programs that dump it.
    assert SERVICES["postgres"]["image"].startswith(f"postgres:{major[1]}")


def test_the_limit_of_the_size_is_that_of_the_page() -> None:
    limit = re.search(r"^MAX_MEGABYTES = (\d+)$", (ROOT / "tools" / "image_smoke.py").read_text(), re.MULTILINE)
    assert limit is not None
    assert f"fails beyond {limit[1]} MB" in (ROOT / "docs" / "docker.md").read_text()
