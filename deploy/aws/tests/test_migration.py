"""The function that runs the migration task, with clients that note the calls and answer as AWS does."""

from __future__ import annotations

import ast
import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

_FILE = Path(__file__).parents[1] / "migration" / "index.py"
_TASK = "arn:aws:ecs:eu-central-1:111122223333:task/ubr-small/1"


def _program() -> Any:
    spec = importlib.util.spec_from_file_location("migration_index", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Aws:
    """ECS and CloudFormation: the states of the task, one for each question, and the state of the stack."""

    def __init__(
        self, *states: tuple[str, int | None], stack: str = "UPDATE_IN_PROGRESS", failures: bool = False
    ) -> None:
        self.states, self.stack, self.failures = list(states), stack, failures
        self.started: list[dict[str, Any]] = []

    def describe_stacks(self, **_: Any) -> Any:
        return {"Stacks": [{"StackStatus": self.stack}]}

    def run_task(self, **given: Any) -> Any:
        self.started.append(given)
        return {"tasks": [], "failures": [{"reason": "CAPACITY"}]} if self.failures else {"tasks": [{"taskArn": _TASK}]}

    def describe_tasks(self, **_: Any) -> Any:
        status, code = self.states.pop(0)
        container = {} if code is None else {"exitCode": code}
        return {"tasks": [{"lastStatus": status, "containers": [container], "stoppedReason": "it ended"}]}


class Time:
    """The time that Lambda leaves: each question takes a minute of it."""

    def __init__(self, minutes: int = 15) -> None:
        self.left = minutes * 60_000

    def get_remaining_time_in_millis(self) -> int:
        self.left -= 60_000
        return self.left


def _event(kind: str = "Update", url: str = "") -> dict[str, Any]:
    return {
        "RequestType": kind,
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Migration",
        "ResponseURL": url,
        "ResourceProperties": {
            "Cluster": "ubr-small",
            "TaskDefinition": "ubr-small-migration:7",
            "Subnets": ["subnet-1"],
            "SecurityGroup": "sg-1",
        },
    }


def _migrate(aws: Aws, time: Time | None = None) -> str:
    program = _program()
    program.PAUSE = 0
    said: str = program.migrate(_event(), time or Time(), aws, aws)
    return said


def test_it_waits_for_the_task() -> None:
    aws = Aws(("PENDING", None), ("RUNNING", None), ("STOPPED", 0))
    assert "migrated the schema" in _migrate(aws)
    (started,) = aws.started
    assert started["taskDefinition"] == "ubr-small-migration:7"
    assert started["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "DISABLED"


@pytest.mark.parametrize("code", [1, 2, 137, None])
def test_a_failed_migration_fails_the_deployment(code: int | None) -> None:
    with pytest.raises(RuntimeError, match="failed, see its log"):
        _migrate(Aws(("STOPPED", code)))


def test_a_task_that_does_not_start_fails_the_deployment() -> None:
    with pytest.raises(RuntimeError, match=r"did not start.*CAPACITY"):
        _migrate(Aws(failures=True))


def test_a_migration_that_takes_too_long_is_named() -> None:
    with pytest.raises(RuntimeError, match="still runs"):
        _migrate(Aws(*[("RUNNING", None)] * 20))


@pytest.mark.parametrize("state", ["UPDATE_ROLLBACK_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"])
def test_a_stack_that_goes_back_runs_no_migration(state: str) -> None:
    """The earlier version would refuse the newer schema, and the stack could not go back."""
    aws = Aws(stack=state)
    assert "goes back" in _migrate(aws)
    assert aws.started == []


@pytest.fixture
def answers() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address where CloudFormation waits, and what arrived there."""
    arrived: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            arrived.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", arrived
        server.shutdown()


def test_cloudformation_gets_an_answer_in_every_case(
    answers: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, arrived = answers
    program = _program()
    program.PAUSE = 0
    cases = (("Create", Aws(("STOPPED", 0))), ("Update", Aws(("STOPPED", 1))), ("Delete", Aws()))
    for kind, aws in cases:
        monkeypatch.setattr(program.boto3, "client", lambda _, aws=aws: aws)
        program.handler(_event(kind, url), Time())
    assert [each["Status"] for each in arrived] == ["SUCCESS", "FAILED", "SUCCESS"]
    assert "failed, see its log" in arrived[1]["Reason"]
    # One name for ever: another one would make CloudFormation delete the first.
    assert {each["PhysicalResourceId"] for each in arrived} == {"migration"}


def test_the_program_fits_into_the_template() -> None:
    source = _FILE.read_text()
    assert len(source) <= 4096
    ast.parse(source)
