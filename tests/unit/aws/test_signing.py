"""Signatures, compared with the example of AWS; `make test-aws` compares them with AWS' own library."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from ubr.adapters.aws.credentials import Credentials, CredentialSource
from ubr.adapters.aws.passwords import cache_password, database_password
from ubr.adapters.aws.signing import signed_fields

# https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "GET Object"
_EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
_ENVIRON = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t/+=", "AWS_REGION": "r-1"}


def _clock() -> datetime:
    return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_example_of_aws_has_the_signature_that_it_shows() -> None:
    fields = signed_fields(
        _EXAMPLE,
        service="s3",
        region="us-east-1",
        method="GET",
        path="/test.txt",
        fields={"host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9"},
        body=b"",
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert fields["authorization"].endswith(
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


async def test_a_password_of_the_database_is_a_request_without_a_scheme() -> None:
    password = await database_password("db.example.org", 5432, "ubr_service", CredentialSource(_ENVIRON, _clock))
    parts = urlsplit(f"//{password}")
    assert (parts.netloc, parts.path) == ("db.example.org:5432", "/")
    query = {name: value for name, (value,) in parse_qs(parts.query).items()}
    assert query["Action"] == "connect"
    assert query["DBUser"] == "ubr_service"
    assert query["X-Amz-Expires"] == "900"
    assert query["X-Amz-Date"] == "20260102T030405Z"
    assert query["X-Amz-Credential"] == "AKIA/20260102/r-1/rds-db/aws4_request"
    assert query["X-Amz-Security-Token"] == "t/+="


async def test_a_password_of_the_cache_names_the_cache_and_the_user() -> None:
    password = await cache_password("ubr-small", "ubr-small-service", CredentialSource(_ENVIRON, _clock))
    assert password.startswith("ubr-small/?Action=connect&User=ubr-small-service&")
    assert "%2Felasticache%2Faws4_request" in password
