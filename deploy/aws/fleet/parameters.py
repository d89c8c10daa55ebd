"""The parameters of an environment: one TOML file in `environments/`, read into a typed object.

Every value has one meaning and one check. An error names the file, the value and the rule.
"""

from __future__ import annotations

import re
import tomllib
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

ENVIRONMENTS: Final = Path(__file__).parents[1] / "environments"

DRAIN_SECONDS: Final = 20
"""How long an instance answers after SIGTERM (`UBR_SHUTDOWN_DELAY`). The balancer takes it out in this time."""
FINISH_SECONDS: Final = 30
"""How long ubr then lets running requests finish."""
MARGIN_SECONDS: Final = 10
HEALTH_INTERVAL_SECONDS: Final = 5
UNHEALTHY_AFTER: Final = 2
HEALTHY_AFTER: Final = 2
GRACE_SECONDS: Final = 60
"""How long the checks of the balancer may fail after the start of an instance."""
IDLE_SECONDS: Final = 60
"""The balancer closes an unused connection after this time, before ubr does (`UBR_KEEP_ALIVE`)."""

# The sizes of Fargate tasks: the memory in MiB that each number of CPU units may have.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
_FARGATE: Final = {
    256: {512, 1024, 2048},
    512: set(range(1024, 4097, 1024)),
    1024: set(range(2048, 8193, 1024)),
    2048: set(range(4096, 16385, 1024)),
    4096: set(range(8192, 30721, 1024)),
}
# The retention periods that CloudWatch accepts, in days.
_RETENTIONS: Final = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288)

Region = Annotated[str, Meta(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
Host = Annotated[str, Meta(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$")]
EMail = Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
Positive = Annotated[int, Meta(ge=1)]


class WrongParameters(Exception):
    """The file of an environment cannot be used. The message says what to change."""


class _Table(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    pass


class Network(_Table, frozen=True):
    cidr: Annotated[str, Meta(pattern=r"^[0-9.]+/16$")]
    """The addresses of the VPC: a private /16."""
    s3_prefix_list: Annotated[str, Meta(pattern=r"^pl-[0-9a-f]{8,17}$")]
    """The AWS-managed prefix list of S3 in the region, the only target outside the VPC."""
    endpoint_zones: Annotated[int, Meta(ge=1, le=3)]
    """The number of zones with interface endpoints. With 1, all tasks depend on that zone to start."""


class Names(_Table, frozen=True):
    domain: Host
    """The host name of ubr."""
    static_domain: Host
    """The host name of the static files and the documentation."""
    hosted_zone: Host
    hosted_zone_id: Annotated[str, Meta(pattern=r"^Z[0-9A-Z]{5,31}$")]


class People(_Table, frozen=True):
    admin_email: EMail
    """The e-mail of the first administrator."""
    alarm_email: EMail
    """The address that gets every alarm."""


class GitHub(_Table, frozen=True):
    repository: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$")]
    """The repository whose workflow may deploy this environment, as `owner/name`."""
    create_provider: bool
    """False if another environment in the same account has created the OIDC provider of GitHub."""


class Service(_Table, frozen=True):
    cpu: int
    """CPU units of a task; 1024 are one processor."""
    memory: int
    """MiB of a task."""
    instances: Annotated[int, Meta(ge=2, le=100)]
    max_instances: Annotated[int, Meta(ge=2, le=100)]
    cpu_target: Annotated[int, Meta(ge=20, le=90)]
    """The percentage of CPU that autoscaling aims at."""
    waiting_hashes_target: Annotated[int, Meta(ge=1, le=100)]
    """The number of passwords that wait to be hashed in each instance, at which the fleet grows."""
    workers: Annotated[int, Meta(ge=1, le=32)] = 1
    pool_size: Annotated[int, Meta(ge=1, le=200)] = 10


class Mail(_Table, frozen=True):
    sender: EMail
    secret: Annotated[str, Meta(pattern=r"^arn:aws:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[\w/+=.@-]+-\w{6}$")]
    """The ARN of a secret of yours whose JSON has the key `url`: an address of Amazon SES in the same region."""


class Database(_Table, frozen=True):
    instance: Annotated[str, Meta(pattern=r"^[a-z0-9]+\.[a-z0-9]+$")]
    """The class without `db.`, such as `t4g.medium`."""
    storage_gib: Annotated[int, Meta(ge=20, le=65536)]
    max_storage_gib: Annotated[int, Meta(ge=22, le=65536)]
    retention_days: Annotated[int, Meta(ge=1, le=35)]
    """How far back the point-in-time recovery of RDS reaches."""


class Cache(_Table, frozen=True):
    node: Annotated[str, Meta(pattern=r"^cache\.[a-z0-9]+\.[a-z0-9]+$")]
    replicas: Annotated[int, Meta(ge=1, le=5)]


class Backup(_Table, frozen=True):
    daily_days: Annotated[int, Meta(ge=7, le=365)]
    copy_days: Annotated[int, Meta(ge=7, le=3650)]
    lock_grace_days: Annotated[int, Meta(ge=3, le=365)]
    """After this time, no one can remove the lock of a vault, AWS included."""
    restore_test: bool
    """A weekly restore into a new database, which is deleted afterwards."""


class Audit(_Table, frozen=True):
    lock_years: Annotated[int, Meta(ge=1, le=100)]
    """How long no one can delete or replace a checkpoint."""
    every_hours: Annotated[int, Meta(ge=1, le=24)]


class Logs(_Table, frozen=True):
    retention_days: int


class Parameters(_Table, frozen=True):
    """All parameters of an environment."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]{1,11}$")]
    account: Annotated[str, Meta(pattern=r"^[0-9]{12}$")]
    region: Region
    zones: Annotated[tuple[str, ...], Meta(min_length=3, max_length=3)]
    backup_region: Region
    network: Network
    names: Names
    people: People
    github: GitHub
    service: Service
    database: Database
    cache: Cache
    backup: Backup
    audit: Audit
    logs: Logs
    mail: Mail | None = None

    @property
    def prefix(self) -> str:
        """The start of every name in this environment."""
        return f"ubr-{self.name}"

    @property
    def stop_seconds(self) -> int:
        """The time from SIGTERM to SIGKILL. Fargate allows at most 120."""
        return DRAIN_SECONDS + FINISH_SECONDS + MARGIN_SECONDS


def load(name: str, folder: Path = ENVIRONMENTS) -> Parameters:
    """The parameters of an environment. Errors: `WrongParameters`."""
    if not re.fullmatch(r"[a-z0-9]+", name):
        raise WrongParameters(f"{name!r} is not the name of an environment; there are {_known(folder)}.")
    path = folder / f"{name}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise WrongParameters(f"There is no environment {name}; there are {_known(folder)}.") from None
    return parsed(text, path.name)


def parsed(text: str, file: str) -> Parameters:
    """The parameters in a text. Errors: `WrongParameters`."""
    try:
        parameters = msgspec.convert(tomllib.loads(text), Parameters)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise WrongParameters(f"{file}: {error}.") from None
    wrong = list(_contradictions(parameters))
    if wrong:
        raise WrongParameters("\n".join(f"{file}: {sentence}" for sentence in wrong))
    return parameters


def _known(folder: Path) -> str:
    return ", ".join(sorted(path.stem for path in folder.glob("*.toml")))


def _contradictions(given: Parameters) -> list[str]:
    """The sentences about values that are valid by themselves and do not fit together."""
    wrong = []
    names = given.names
    sizes = _FARGATE.get(given.service.cpu)
    if sizes is None:
        wrong.append(f"service.cpu must be one of {', '.join(map(str, _FARGATE))}.")
    elif given.service.memory not in sizes:
        wrong.append(f"service.memory must be from {min(sizes)} to {max(sizes)} with {given.service.cpu} CPU units.")
    if given.service.max_instances < given.service.instances:
        wrong.append("service.max_instances must not be less than service.instances.")
    if any(not zone.startswith(given.region) for zone in given.zones) or len(set(given.zones)) != len(given.zones):
        wrong.append("zones must be three different zones of the region.")
    if given.backup_region == given.region:
        wrong.append("backup_region must be another region.")
    try:
        if not IPv4Network(given.network.cidr).is_private:
            wrong.append("network.cidr must be a private network.")
    except ValueError:
        wrong.append("network.cidr must be a network, such as 10.20.0.0/16.")
    for key, host in (("domain", names.domain), ("static_domain", names.static_domain)):
        if not host.endswith(f".{names.hosted_zone}"):
            wrong.append(f"names.{key} must end with .{names.hosted_zone}, the hosted zone.")
    if given.database.max_storage_gib < given.database.storage_gib * 1.1:
        wrong.append("database.max_storage_gib must be at least a tenth more than database.storage_gib.")
    if given.logs.retention_days not in _RETENTIONS:
        wrong.append(f"logs.retention_days must be one of {', '.join(map(str, _RETENTIONS))}.")
    if given.mail is not None and f":{given.region}:{given.account}:" not in given.mail.secret:
        wrong.append("mail.secret must be a secret of the same region and account.")
    return wrong
