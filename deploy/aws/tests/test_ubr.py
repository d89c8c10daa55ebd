"""What the stacks give to ubr, in the hands of the real ubr; and what ubr sends to AWS, beside AWS' own library."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials
from botocore.model import ServiceId
from botocore.session import Session
from botocore.signers import RequestSigner
from moto.server import ThreadedMotoServer

from deploy.aws.tests.assemblies import Assembly, assembly, text
from ubr.adapters.aws.credentials import Credentials, CredentialSource
from ubr.adapters.aws.passwords import cache_password, database_password
from ubr.adapters.aws.signing import signed_fields
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.bootstrap import connect
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import UbrError
from ubr.settings import Settings

_UBR = Path(sys.executable).with_name("ubr")
_KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "token+/=",
    "AWS_REGION": "eu-central-1",
}


def _ubr(*arguments: str, environ: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [_UBR, *arguments],
        env=inherited | environ,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _environment(fleet: Assembly, name: str, folder: Path) -> dict[str, str]:
    """The environment of a task as ECS makes it: secrets have values, and addresses are filled in."""
    (container,) = fleet.task(name)["ContainerDefinitions"]
    authority = folder / "rds-ca.pem"
    authority.touch()
    values = {}
    for each in container["Environment"]:
        value = re.sub(r"\{[^}]*end-?point[^}]*\}", "store.example.com", text(each["Value"]), flags=re.IGNORECASE)
        assert "{" not in value, value
        values[each["Name"]] = value.replace("/etc/ubr/rds-ca.pem", str(authority))
    examples = {
        "UBR_SECRET_KEY": secrets.token_hex(32),
        "UBR_ADMIN_PASSWORD": "k7Qw2mZx9Lr4Tv8Np3Hs6Yb1Fd5Gj0Ac",
        "UBR_MIGRATION_DATABASE_PASSWORD": "a:b@c/d?e#f%g h",  # RDS makes passwords with such characters
        "UBR_SMTP_URL": "smtp://user:password@email-smtp.eu-central-1.amazonaws.com:587",
    }
    return values | {each["Name"]: examples[each["Name"]] for each in container["Secrets"]}


@pytest.mark.parametrize("environment", ["production", "small", "mail"])
@pytest.mark.parametrize("name", ["service", "migration", "checkpoint"])
def test_ubr_accepts_the_environment_of_each_task(environment: str, name: str, tmp_path: Path) -> None:
    environ = _environment(assembly(environment), name, tmp_path)
    done = _ubr("config", "--json", environ=environ, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = {row["name"]: row for row in json.loads(done.stdout)}
    for variable in environ:
        assert shown[variable]["source"] == "environment"
    assert "ubr_service@store.example.com:5432/ubr" in shown["UBR_DATABASE_URL"]["value"]


def test_doctor_finds_nothing_wrong_but_the_missing_servers(production: Assembly, tmp_path: Path) -> None:
    environ = _environment(production, "service", tmp_path)
    for name in ("UBR_DATABASE_URL", "UBR_REDIS_URL"):
        environ[name] = (
            environ[name].replace("store.example.com", "127.0.0.1").replace(":5432", ":1").replace(":6379", ":1")
        )
    done = _ubr("doctor", "--json", environ=environ | _KEYS, folder=tmp_path)
    report = json.loads(done.stdout)
    errors = {each["subject"] for each in report["findings"] if each["level"] == "error"}
    warnings = {each["subject"] for each in report["findings"] if each["level"] == "warning"}
    assert errors == {"database", "redis"}, report
    # There is no mail in these parameters, and the tests may run as root.
    assert warnings <= {"mail", "process"}, report


def test_the_workers_of_the_fleet_have_enough_connections(fleet: Assembly) -> None:
    """PostgreSQL at RDS accepts about one connection for each 9.5 MB of memory, and a roll-out doubles the fleet."""
    memory = {"t4g.medium": 4, "m8g.large": 8}
    database = fleet.one("AWS::RDS::DBInstance")["DBInstanceClass"].removeprefix("db.")
    values = {each["Name"]: each["Value"] for each in fleet.task("service")["ContainerDefinitions"][0]["Environment"]}
    most = fleet.one("AWS::ApplicationAutoScaling::ScalableTarget")["MaxCapacity"]
    needed = 2 * most * int(values["UBR_WORKERS"]) * (int(values["UBR_POOL_SIZE"]) + 4)
    assert needed < memory[database] * 1024**3 / 9531392


# --- signatures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> CredentialSource:
    for module in ("botocore.auth", "botocore.compat"):
        monkeypatch.setattr(f"{module}.get_current_datetime", lambda **_: datetime(2026, 1, 2, 3, 4, 5), raising=False)  # noqa: DTZ001
    return CredentialSource(_KEYS, lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def _signed(service: str, url: str) -> str:
    theirs = TheirCredentials(_KEYS["AWS_ACCESS_KEY_ID"], _KEYS["AWS_SECRET_ACCESS_KEY"], _KEYS["AWS_SESSION_TOKEN"])
    emitter = Session().get_component("event_emitter")
    signer = RequestSigner(ServiceId(service), "eu-central-1", service, "v4", theirs, emitter)
    request = {"method": "GET", "url": url, "body": {}, "headers": {}, "context": {}}
    made: str = signer.generate_presigned_url(
        request, operation_name="", expires_in=900, region_name="eu-central-1", signing_name=service
    )
    return made.partition("://")[2]


def _parts(signed: str) -> set[str]:
    return set(signed.partition("?")[2].split("&"))


async def test_passwords_are_those_of_the_library_of_aws(source: CredentialSource) -> None:
    ours = await database_password("db.example.com", 5432, "ubr_service", source)
    theirs = _signed("rds-db", "https://db.example.com:5432/?Action=connect&DBUser=ubr_service")
    assert _parts(ours) == _parts(theirs)
    ours = await cache_password("ubr-small", "ubr-small-service", source)
    theirs = _signed("elasticache", "http://ubr-small/?Action=connect&User=ubr-small-service")
    assert _parts(ours) == _parts(theirs)


# --- checkpoints in S3 ------------------------------------------------------------------------------------------------


@pytest.fixture
def s3() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


async def _sign(settings: Settings) -> None:
    """Let a process add an entry to the log, and sign it."""
    async with connect(settings, background=True) as application:
        await application.create_admin(
            CreateAdminCommand(email="ada@example.com", password="correct horse battery staple"), actor=SYSTEM
        )
        with anyio.fail_after(60):
            while True:
                try:
                    await application.get_checkpoint(actor=SYSTEM)
                except UbrError:
                    await anyio.sleep(0.05)
                else:
                    return


def test_checkpoints_are_versions_of_one_object(s3: str, tmp_path: Path) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=s3,
        region_name="eu-central-1",
        aws_access_key_id=_KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=_KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(
        Bucket="checkpoints",
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        ObjectLockEnabledForBucket=True,
    )
    environ = _KEYS | {
        "AWS_ENDPOINT_URL_S3": s3,
        "UBR_DATABASE_URL": f"sqlite:///{tmp_path}/ubr.db",
        "UBR_SECRET_KEY": secrets.token_hex(32),
    }
    command = ("audit", "checkpoint", "--output", "s3://checkpoints/checkpoint.txt")

    def run(*arguments: str, **more: str) -> tuple[int, str]:
        done = _ubr(*arguments, environ=environ | more, folder=tmp_path)
        return done.returncode, done.stderr

    def content() -> bytes:
        body: bytes = client.get_object(Bucket="checkpoints", Key="checkpoint.txt")["Body"].read()
        return body

    assert run("migrate")[0] == 0
    anyio.run(_sign, Settings.from_env(environ))
    assert run(*command) == (0, "Wrote s3://checkpoints/checkpoint.txt.\n")
    first = content()
    assert run(*command)[0] == 0
    assert content() == first
    # A checkpoint of another log ends the command, and stays.
    foreign = b"other.example/log/1\n5\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n"
    client.put_object(Bucket="checkpoints", Key="checkpoint.txt", Body=foreign)
    code, said = run(*command)
    assert code != 0
    assert said
    assert content() == foreign
    for url, sentence in (
        ("s3://missing/checkpoint.txt", "S3 refuses s3://missing/checkpoint.txt: NoSuchBucket."),
        ("s3://checkpoints/", "--output must look like s3://bucket/name."),
    ):
        code, said = run(*command[:3], url)
        assert code != 0
        assert sentence in said
    code, said = run(*command, AWS_ENDPOINT_URL_S3="http://127.0.0.1:1")
    assert code == 1
    assert "S3 does not answer" in said


def test_a_signature_of_s3_is_that_of_the_library(source: CredentialSource) -> None:
    credentials = Credentials(_KEYS["AWS_ACCESS_KEY_ID"], _KEYS["AWS_SECRET_ACCESS_KEY"], _KEYS["AWS_SESSION_TOKEN"])
    ours = signed_fields(
        credentials,
        service="s3",
        region="eu-central-1",
        method="PUT",
        path="/a/b%20c",
        fields={"host": "bucket.s3.eu-central-1.amazonaws.com"},
        body=b"text",
        now=source.clock(),
    )
    request = AWSRequest("PUT", "https://bucket.s3.eu-central-1.amazonaws.com/a/b%20c", data=b"text")
    request.headers["x-amz-content-sha256"] = ours["x-amz-content-sha256"]
    theirs = TheirCredentials(credentials.key_id, credentials.secret, credentials.token)
    S3SigV4Auth(theirs, "s3", "eu-central-1").add_auth(request)
    assert request.headers["Authorization"] == ours["authorization"]
