"""Backups."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from ubr.settings.declaration import setting
from ubr.settings.secret_key import parse_secrets
from ubr.settings.urls import parse_http_url
from ubr.settings.values import duration

_BUCKET: Final = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9](/[A-Za-z0-9!_.*'()/-]*)?")
_KMS_KEY: Final = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]+:(key|alias)/[A-Za-z0-9/_-]+")


def parse_place(raw: str) -> str:
    if "://" in raw and not _BUCKET.fullmatch(raw):
        raise ValueError("must be the path of a folder, or s3://bucket/prefix")
    return raw


def parse_encryption(raw: str) -> str:
    if raw not in {"AES256", "aws:kms"} and not _KMS_KEY.fullmatch(raw):
        raise ValueError("must be AES256, aws:kms, or the ARN of a key of KMS")
    return raw


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class BackupSettings:
    """The settings of backups."""

    backup_dir: str | None = setting(
        parse_place,
        None,
        "The place of the backups of `ubr backup`: a folder, whose last part is created if it is missing, or "
        "`s3://bucket/prefix` in an object storage. Credentials and region for that come from the standard variables, "
        "files and roles of AWS.",
        otherwise="none; the commands then need it as an option",
    )
    backup_s3_endpoint: str | None = setting(
        parse_http_url,
        None,
        "The URL of an object storage other than Amazon's.",
        otherwise="that of Amazon S3",
    )
    backup_s3_encryption: str | None = setting(
        parse_encryption,
        None,
        "The encryption by the object storage, in addition to that of ubr: `AES256`, `aws:kms`, or the ARN of a key of "
        "KMS.",
        otherwise="that of the bucket",
    )
    backup_max_age: timedelta = setting(
        duration("1m", "365d"),
        "26h",
        "The age of the newest backup from which on `ubr doctor` warns: the interval of the backups, and a margin.",
    )
    backup_key: tuple[bytes, ...] | None = setting(
        parse_secrets,
        None,
        "Encrypts and authenticates backups: 32 bytes or more, for instance the output of `openssl rand -hex 32`. Use "
        "a comma-separated list to rotate: the first one encrypts, all decrypt. Keep it where the backups are not. "
        "The service itself does not need it.",
        shown="nothing",
    )
