from __future__ import annotations

import pytest

from deploy.aws.fleet.parameters import ENVIRONMENTS, WrongParameters, load, parsed

_SMALL = (ENVIRONMENTS / "small.toml").read_text()


@pytest.mark.parametrize(
    ("change", "by", "sentence"),
    [
        ("cpu = 512", "cpu = 500", "service.cpu must be one of 256, 512, 1024, 2048, 4096."),
        ("memory = 1024", "memory = 512", "service.memory must be from 1024 to 4096 with 512 CPU units."),
        ("max_instances = 4", "max_instances = 2\nworker = 2", "unknown field `worker`"),
        ("instances = 2\n", "instances = 1\n", "Expected `int` >= 2"),
        ("max_instances = 4", "max_instances = 2", ""),
        ('"eu-central-1c"]', '"eu-west-1c"]', "zones must be three different zones of the region."),
        ('"eu-central-1b", ', "", "length >= 3"),
        ('backup_region = "eu-west-1"', 'backup_region = "eu-central-1"', "backup_region must be another region."),
        ("10.21.0.0/16", "8.8.0.0/16", "network.cidr must be a private network."),
        ("10.21.0.0/16", "10.21.1.0/16", "network.cidr must be a network, such as 10.20.0.0/16."),
        ('domain = "auth-small.example.com"', 'domain = "auth.example.org"', "must end with .example.com"),
        ("max_storage_gib = 100", "max_storage_gib = 22", ""),
        ("storage_gib = 20\n", "storage_gib = 95\n", "at least a tenth more"),
        ("retention_days = 30", "retention_days = 31", "logs.retention_days must be one of"),
        ('account = "111122223333"', 'account = "1111"', "account"),
        ('account = "111122223333"', "account = ", "Invalid value"),
        ("lock_grace_days = 3", "lock_grace_days = 1", ">= 3"),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(change: str, by: str, sentence: str) -> None:
    assert change in _SMALL
    text = _SMALL.replace(change, by)
    if not sentence:  # at the border
        parsed(text, "small.toml")
        return
    with pytest.raises(WrongParameters) as raised:
        parsed(text, "small.toml")
    assert str(raised.value).startswith("small.toml: ")
    assert sentence in str(raised.value)


def test_every_contradiction_is_named_at_once() -> None:
    text = _SMALL.replace("cpu = 512", "cpu = 500").replace("10.21.0.0/16", "8.8.0.0/16")
    with pytest.raises(WrongParameters) as raised:
        parsed(text, "small.toml")
    assert len(str(raised.value).splitlines()) == 2


@pytest.mark.parametrize("name", ["missing", "../small", ""])
def test_an_unknown_environment_names_the_known_ones(name: str) -> None:
    with pytest.raises(WrongParameters, match=r"production, small"):
        load(name)


def test_a_secret_of_mail_is_in_the_same_account() -> None:
    mail = '[mail]\nsender = "ubr@example.com"\nsecret = "arn:aws:secretsmanager:%s:111122223333:secret:mail-AbCdEf"\n'
    assert parsed(_SMALL + mail % "eu-central-1", "small.toml").mail is not None
    with pytest.raises(WrongParameters, match=r"mail\.secret must be a secret of the same region and account"):
        parsed(_SMALL + mail % "eu-west-1", "small.toml")
