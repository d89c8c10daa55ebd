"""An S3 server in a thread, with faults on demand.

It is the one of moto. It checks the SHA-256 of requests, versions, Object Lock, conditions, and, once `policed`, access
keys and IAM policies. It does not check signatures of requests, the condition keys of a bucket policy, and the region.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection
from importlib import import_module
from threading import Thread
from types import ModuleType
from typing import Any, Self

# The libraries are loaded by the tests that run, and not by the collection of all tests.

BUCKET = "backups"
_ERROR = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"

Answer = Callable[..., Any]


@dataclass
class Fault:
    """What happens to the requests of this method whose path and query match, for as many `times`; None is for ever."""

    method: str
    pattern: str
    times: int | None
    status: int = 0
    code: str = ""
    message: str = "as the test wants it"
    after: int = 0
    """Bytes after which the connection is cut, if there is no status: of the request, or of the answer to a GET."""
    lost: bool = False
    """The request is carried out, and its answer is lost."""
    seen: int = 0

    def takes(self, method: str, target: str) -> bool:
        if method != self.method or not re.search(self.pattern, target) or self.times == self.seen:
            return False
        self.seen += 1
        return True


def adapter() -> ModuleType:
    """The adapter for buckets."""
    return import_module("ubr.adapters.backups.s3")


class S3Server:
    """A server with one bucket, `BUCKET`."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415

        self._app = DomainDispatcherApplication(create_backend_app)
        from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415

        class Silent(WSGIRequestHandler):
            def log(self, *_: object) -> None:
                """Nothing: the test looks at `requests`."""

        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Silent)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    @cached_property
    def client(self) -> Any:
        """A client of an administrator, for the preparations and the damages of tests."""
        return self._client("s3")

    def _client(self, service: str) -> Any:
        import botocore.session  # noqa: PLC0415

        return botocore.session.get_session().create_client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="root",
            aws_secret_access_key="root",
        )

    def reset(self, *, lock: bool = False) -> None:
        """Forget everything, and make an empty bucket, with Object Lock or without versions."""
        self.faults.clear()
        self._post("/moto-api/reset")
        self._post("/moto-api/reset-auth", b"inf")
        self.client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=lock)
        self.requests.clear()

    def fail(self, method: str, pattern: str = "", *, times: int | None = 1, **what: Any) -> Fault:
        fault = Fault(method, pattern, times, **what)
        self.faults.append(fault)
        return fault

    @contextmanager
    def policed(self, *statements: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """The access key of a user whose only policy are these statements. All requests are checked meanwhile."""
        iam = self._client("iam")
        iam.create_user(UserName="ubr")
        policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_user_policy(UserName="ubr", PolicyName="ubr", PolicyDocument=policy)
        key = iam.create_access_key(UserName="ubr")["AccessKey"]
        self._post("/moto-api/reset-auth", b"0")
        try:
            yield key["AccessKeyId"], key["SecretAccessKey"]
        finally:
            self._post("/moto-api/reset-auth", b"inf")

    def objects(self) -> list[str]:
        """The names of all objects."""
        return [found["Key"] for found in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())]

    def uploads(self) -> list[str]:
        """The names of all objects that are being uploaded in parts."""
        return [found["Key"] for found in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())]

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def _post(self, path: str, body: bytes = b"") -> None:
        connection = HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        connection.request("POST", path, body=body)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        connection.close()

    def _answer(self, environ: dict[str, Any], start: Answer) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        target = f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"
        self.requests.append((method, target))
        for fault in self.faults:
            if fault.takes(method, target):
                return self._fail(fault, environ, start)
        answer: Iterable[bytes] = self._app(environ, start)
        return answer

    def _fail(self, fault: Fault, environ: dict[str, Any], start: Answer) -> Iterable[bytes]:
        if fault.status:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(f"{fault.status} Fault", [("Content-Type", "application/xml")])
            return [_ERROR.format(code=fault.code, message=fault.message).encode()]
        link: socket.socket = environ["werkzeug.socket"]
        if fault.lost:
            b"".join(self._app(environ, lambda *_: lambda _: None))
            link.shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        if fault.method == "GET":
            return self._cut(fault, environ, start, link)
        environ["wsgi.input"].read(fault.after)
        link.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError

    def _cut(self, fault: Fault, environ: dict[str, Any], start: Answer, link: socket.socket) -> Iterator[bytes]:
        content = b"".join(self._app(environ, start))
        yield content[: fault.after]
        link.shutdown(socket.SHUT_RDWR)
