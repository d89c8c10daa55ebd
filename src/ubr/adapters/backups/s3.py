"""Backups in a bucket of Amazon S3, or of another object storage with its interface.

Its files are objects `<prefix>/<name>/<file>`. The manifest is written last: a backup without one is not complete.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import IO, Any, Final, cast

import msgspec
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as NotConnected,
)
from botocore.session import get_session

from ubr.adapters.backups.names import NAME
from ubr.application.backups.manifest import MANIFEST
from ubr.application.ports.backups import BackupFailed, BackupProtected
from ubr.application.ports.system import Clock

PART: Final = 32 * 1024 * 1024
"""Bytes of each part of an upload except the last. Some storages require that all are of one size."""
MAX_PARTS: Final = 10_000
"""The limit of S3. With it, a dump may have 312 GiB."""
RANGE: Final = 8 * 1024 * 1024
"""Bytes that one request reads."""
_READS: Final = 5
"""Attempts to read a range whose answer is cut. Everything else is repeated by botocore."""
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19})")
_YOUNG: Final = timedelta(hours=1)
"""A backup of this age without a manifest may still get it."""
_ABANDONED: Final = timedelta(days=2)
"""An upload of this age belongs to no running process."""

_ACTIONS: Final = {
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "DeleteObject": "s3:DeleteObject and s3:DeleteObjectVersion",
    "HeadObject": "s3:GetObject and s3:GetObjectVersion",
}
"""The permissions for operations that are not named alike."""
_SENTENCES: Final = {
    "NoSuchBucket": "There is no {bucket}",
    "Replaced": "{file} was replaced in the {bucket} while it was read",
    "RequestTimeTooSkewed": "S3 does not accept requests of this machine, because its clock is wrong",
    **dict.fromkeys(("NoSuchKey", "404"), "{file} does not exist in the {bucket}"),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"),
        "The credentials for S3 have expired: renew them",
    ),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId"),
        "S3 does not accept the credentials ({code}): check the access key and its secret",
    ),
    **dict.fromkeys(
        ("AccessDenied", "AllAccessDisabled", "Forbidden", "403"),
        "S3 denies these credentials {action} in the {bucket}",
    ),
    **dict.fromkeys(
        ("SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded", "503"),
        "S3 is overloaded ({code}), also after several attempts: repeat the command later",
    ),
}
"""The sentence for each code of an error."""
_UNKNOWN: Final = {"NotImplemented", "MethodNotAllowed", "501"}


class S3Place(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket and the prefix of the objects, which ends with a slash unless it is empty.

    `endpoint` is the URL of a storage other than Amazon's. `encryption` are the parameters of an upload that choose the
    encryption by the server.
    """

    bucket: str
    prefix: str
    endpoint: str | None = None
    encryption: dict[str, str] = msgspec.field(default_factory=dict)


class S3BackupStore:
    """Credentials and region come from the standard chain: environment, shared files, the role of a task or machine."""

    def __init__(self, place: S3Place, clock: Clock, *, hurried: bool = False) -> None:
        """`hurried` asks once and waits for seconds, for a command that answers within seconds."""
        self._place = place
        self._clock = clock
        patience: dict[str, Any] = {"connect_timeout": 10}
        if hurried:
            patience = {"connect_timeout": 3, "read_timeout": 3, "retries": {"total_max_attempts": 1}}
        with _explained(place):
            self._client: Any = get_session().create_client(
                "s3", endpoint_url=place.endpoint, config=Config(user_agent_extra="ubr-backup", **patience)
            )

    def names(self) -> list[str]:
        complete, newest = set(), dict[str, datetime]()
        for found in self._listed("list_objects_v2", "Contents", self._place.prefix):
            name, _, file = found["Key"].removeprefix(self._place.prefix).partition("/")
            if NAME.fullmatch(name) and file:
                newest[name] = max(found["LastModified"], newest.get(name, found["LastModified"]))
                if file == MANIFEST:
                    complete.add(name)
        # One whose manifest is lost is named, and not taken for one that is being written.
        old = {name for name, written in newest.items() if self._clock() - written > _YOUNG}
        return sorted(complete | old)

    @contextmanager
    def draft(self, name: str) -> Iterator[S3Draft]:
        draft = S3Draft(self._client, self._place, f"{self._place.prefix}{name}/")
        try:
            with _explained(self._place):
                yield draft
        finally:
            draft.give_up()

    @contextmanager
    def read(self, name: str, file: str) -> Iterator[IO[bytes]]:
        with _explained(self._place, file=f"{name}/{file}"):
            yield cast("IO[bytes]", _Object(self._client, self._place.bucket, f"{self._place.prefix}{name}/{file}"))

    def put(self, name: str, file: str, content: bytes) -> None:
        with _explained(self._place):
            self._client.put_object(
                Bucket=self._place.bucket,
                Key=f"{self._place.prefix}{name}/{file}",
                Body=content,
                ChecksumSHA256=_sha256(content),
                **self._place.encryption,
            )

    def remove(self, name: str) -> None:
        with _explained(self._place):
            versions = self._versions(f"{self._place.prefix}{name}/")
            # Without its manifest it is not visible, so that goes first, unless a part of the backup has to stay.
            versions.sort(key=lambda version: not version["Key"].endswith(f"/{MANIFEST}"))
            for version in versions:
                if (lock := self._lock(version)) is not None:
                    raise BackupProtected(f"{name} stays: {lock}")
            for version in versions:
                self._client.delete_object(Bucket=self._place.bucket, **version)

    def sweep(self) -> None:
        """Abort the uploads of killed processes. Until then they are paid for, and no listing shows them."""
        with suppress(_NotImplemented):
            for upload in self._listed("list_multipart_uploads", "Uploads", self._place.prefix):
                name = upload["Key"].removeprefix(self._place.prefix).partition("/")[0]
                if NAME.fullmatch(name) and self._clock() - upload["Initiated"] > _ABANDONED:
                    with _explained(self._place):
                        self._client.abort_multipart_upload(
                            Bucket=self._place.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )

    def _listed(self, operation: str, kind: str, prefix: str) -> Iterator[dict[str, Any]]:
        """Every item of a listing. Errors: `_NotImplemented`, `BackupFailed`."""
        with _explained(self._place):
            for page in self._client.get_paginator(operation).paginate(Bucket=self._place.bucket, Prefix=prefix):
                yield from page.get(kind, ())

    def _versions(self, prefix: str) -> list[dict[str, str]]:
        """All versions of the objects of a backup. A deletion without a version would only hide an object."""
        try:
            found = list(self._listed("list_object_versions", "Versions", prefix))
            found += self._listed("list_object_versions", "DeleteMarkers", prefix)
        except _NotImplemented:  # a storage without versions
            return [{"Key": each["Key"]} for each in self._listed("list_objects_v2", "Contents", prefix)]
        if all(each["VersionId"] == "null" for each in found):  # a bucket without versions
            return [{"Key": each["Key"]} for each in found]
        return [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]

    def _lock(self, version: dict[str, str]) -> str | None:
        """The reason why this version cannot be deleted now, if these credentials may read it."""
        if "VersionId" not in version:  # Object Lock needs versions
            return None
        try:
            about = self._client.head_object(Bucket=self._place.bucket, **version)
        except ClientError as error:
            # A marker of a deletion has no content. A missing permission shows at the deletion itself.
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in {403, 404, 405}:
                return None
            raise
        if about.get("ObjectLockLegalHoldStatus") == "ON":
            return "a legal hold of Object Lock protects it"
        until = about.get("ObjectLockRetainUntilDate")
        if until is not None and until > self._clock():
            return f"Object Lock protects it until {until.astimezone(UTC):%Y-%m-%d %H:%M}Z"
        return None


class S3Draft:
    """Files whose last bytes are sent by `publish`, in the order in which they were created."""

    def __init__(self, client: Any, place: S3Place, prefix: str) -> None:
        self._client = client
        self._place = place
        self._prefix = prefix
        self._uploads: list[_Upload] = []
        self._published = False

    @contextmanager
    def create(self, file: str) -> Iterator[IO[bytes]]:
        upload = _Upload(self._client, self._place, self._prefix + file)
        self._uploads.append(upload)
        yield cast("IO[bytes]", upload)

    def publish(self) -> None:
        for upload in self._uploads:
            upload.complete()
        self._published = True

    def give_up(self) -> None:
        """Delete all that was sent, unless it was published. Without the permission for that it stays, unseen."""
        if not self._published:
            for upload in self._uploads:
                with suppress(BotoCoreError, ClientError):
                    upload.abort()


class _Upload:
    """A file of unknown size. It holds one part in memory. The server compares each part with its SHA-256."""

    def __init__(self, client: Any, place: S3Place, key: str) -> None:
        self._client = client
        self._encryption = place.encryption
        self._object = {"Bucket": place.bucket, "Key": key}
        self._rest = bytearray()
        self._upload: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._created = False

    def write(self, block: bytes) -> int:
        self._rest += block
        while len(self._rest) > PART:  # the rest, which may be a full part, is sent at the end
            self._send(PART)
        return len(block)

    def complete(self) -> None:
        if self._upload is None:
            content = bytes(self._rest)
            self._once(self._client.put_object, Body=content, ChecksumSHA256=_sha256(content), **self._encryption)
        else:
            self._send(PART)
            self._once(
                self._client.complete_multipart_upload,
                UploadId=self._upload,
                MultipartUpload={"Parts": self._parts},
            )
        self._upload, self._created = None, True

    def abort(self) -> None:
        if self._upload is not None:
            self._client.abort_multipart_upload(**self._object, UploadId=self._upload)
        if self._created:
            self._client.delete_object(**self._object)

    def _send(self, size: int) -> None:
        if self._upload is None:
            started = self._client.create_multipart_upload(
                **self._object, ChecksumAlgorithm="SHA256", **self._encryption
            )
            self._upload = started["UploadId"]
        if len(self._parts) == MAX_PARTS:
            raise BackupFailed(f"The dump has more than {MAX_PARTS * PART // 1024**3} GiB, the limit of one object")
        content = bytes(self._rest[:size])
        del self._rest[:size]
        number, checksum = len(self._parts) + 1, _sha256(content)
        answer = self._client.upload_part(
            **self._object, UploadId=self._upload, PartNumber=number, Body=content, ChecksumSHA256=checksum
        )
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum})

    def _once(self, request: Any, **parameters: Any) -> None:
        """Create the object, which must not exist, so that these credentials need not be able to overwrite one."""
        try:
            request(**self._object, IfNoneMatch="*", **parameters)
        except ClientError as error:
            repeated = error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
            # The names are random: an object of this name is the work of an attempt whose answer was lost.
            if error.response["Error"]["Code"] != "PreconditionFailed" or not repeated:
                raise


class _Object:
    """Reads one version of an object in ranges, so that a cut connection repeats only a few MiB."""

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        self._client = client
        self._object = {"Bucket": bucket, "Key": key}
        self._size = self._at = 0
        self._held = memoryview(b"")
        self._fetch()

    def read(self, size: int = -1) -> bytes:
        found = bytearray()
        while size < 0 or len(found) < size:
            if not self._held:
                if self._at >= self._size:
                    break
                self._fetch()
            taken = self._held if size < 0 else self._held[: size - len(found)]
            found += taken
            self._held = self._held[len(taken) :]
        return bytes(found)

    def _fetch(self) -> None:
        for left in reversed(range(_READS)):
            try:
                content = self._range()
            except (HTTPClientError, IncompleteReadError):
                if not left:
                    raise
            else:
                self._at += len(content)
                self._held = memoryview(content)
                return

    def _range(self) -> bytes:
        wanted = f"bytes={self._at}-{self._at + RANGE - 1}"
        try:
            answer = self._client.get_object(**self._object, Range=wanted)
        except ClientError as error:
            if error.response["Error"]["Code"] == "InvalidRange" and self._at == 0:  # an empty object
                return b""
            raise
        # Later ranges are of the same version of the object.
        self._object.setdefault("IfMatch", answer["ETag"])
        found = _CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
        # A storage that ignores the range could fill the memory, and one that sends nothing would be asked without end.
        content: bytes = answer["Body"].read(RANGE)
        # The second read is at the end, where botocore notices a cut answer.
        more: bytes = answer["Body"].read(1)
        if found is None or int(found[1]) != self._at or not content or more:
            raise BackupFailed(f"The storage does not answer with the requested range of {self._object['Key']}")
        self._size = int(found[2])
        return content


class _NotImplemented(BackupFailed):
    """The storage does not know this operation."""


def _sha256(content: bytes) -> str:
    return b64encode(hashlib.sha256(content).digest()).decode()


@contextmanager
def _explained(place: S3Place, *, file: str | None = None) -> Iterator[None]:
    """Errors: `BackupFailed` for one of the storage or of the connection to it."""
    try:
        yield
    except ClientError as error:
        raise _refusal(place, error, file) from None
    except (NoCredentialsError, PartialCredentialsError):
        raise BackupFailed(
            "There are no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give "
            "the machine or the task a role"
        ) from None
    except CredentialRetrievalError as error:
        raise BackupFailed(f"The credentials for S3 cannot be retrieved: {error}") from None
    except (NotConnected, HTTPClientError, IncompleteReadError) as error:
        where = place.endpoint or "S3"
        raise BackupFailed(f"The connection to {where} failed, also after several attempts: {error}") from None
    except BotoCoreError as error:
        raise BackupFailed(f"S3: {error}") from None


def _refusal(place: S3Place, error: ClientError, file: str | None) -> BackupFailed:
    code, operation = error.response["Error"]["Code"], error.operation_name
    if code == "PreconditionFailed" and file is not None:
        code = "Replaced"
    if (sentence := _SENTENCES.get(code)) is not None:
        action = _ACTIONS.get(operation, f"s3:{operation}")
        return BackupFailed(
            sentence.format(code=code, action=action, file=file or "An object", bucket=f"bucket {place.bucket}")
        )
    message = str(error.response["Error"].get("Message", "")).rstrip(".")
    kind = _NotImplemented if code in _UNKNOWN else BackupFailed
    return kind(f"S3 refuses {operation} in the bucket {place.bucket}: {code}{f', {message}' if message else ''}")
