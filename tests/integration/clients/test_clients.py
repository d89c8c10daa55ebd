"""Typed clients are made from the OpenAPI document, compile in strict mode, and work against the service.

They take node, npm and a package index. Where there is none the tests fail: it is what they are about.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.environments import programs_of, ran, run
from tests.support.papers import blocks_of
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, serving
from ubr.entrypoints.http.openapi.document import document

HERE = Path(__file__).parent
WRONG_USES = 8

pytestmark = pytest.mark.long


@pytest.fixture
def described(tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    path.write_text(document())
    return path


@pytest.fixture
def service(tmp_path: Path) -> Iterator[UbrProcess]:
    environment = {"UBR_ADMIN_EMAIL": ADMIN_EMAIL, "UBR_ADMIN_PASSWORD": ADMIN_PASSWORD, "UBR_LOGIN_RATE_LIMIT": "off"}
    with serving(tmp_path, environment) as made:
        yield made


def test_the_document_is_openapi(described: Path) -> None:
    told = run(programs_of("clients") / "python", "-m", "openapi_spec_validator", "--schema", "3.1", described)
    assert told.endswith("OK\n")


def test_a_document_that_is_not_openapi_is_reported(described: Path) -> None:
    described.write_text(described.read_text().replace('"in": "query"', '"in": "the query"'))
    told = ran(programs_of("clients") / "python", "-m", "openapi_spec_validator", "--schema", "3.1", described)
    assert told.returncode != 0


def test_a_client_in_typescript(described: Path, tmp_path: Path, service: UbrProcess) -> None:
    folder = tmp_path / "typescript"
    shutil.copytree(HERE / "typescript", folder, ignore=shutil.ignore_patterns("node_modules"))
    run("npm", "ci", "--no-audit", "--no-fund", cwd=folder)
    run("npx", "openapi-typescript", described, "-o", "ubr.d.ts", cwd=folder)
    (documented,) = blocks_of("docs/api.md", "ts")
    (folder / "documented.ts").write_text(documented.text)
    run("npx", "tsc", "--strict", cwd=folder)
    told = run("node", "out/program.js", service.url, ADMIN_EMAIL, ADMIN_PASSWORD, cwd=folder)
    assert told == "done\n"

    wrong = folder / "wrong.ts"
    wrong.write_text(wrong.read_text().replace("// @ts-expect-error", "//"))
    complaints = ran("npx", "tsc", "--strict", "--noEmit", cwd=folder).stdout
    assert complaints.count("wrong.ts(") == complaints.count("error TS") == WRONG_USES, complaints


def test_a_client_in_python(described: Path, tmp_path: Path, service: UbrProcess) -> None:
    folder = tmp_path / "python"
    shutil.copytree(HERE / "python", folder)
    programs = programs_of("clients")
    told = run(
        *(programs / "openapi-python-client", "generate", "--path", described, "--meta", "none"),
        *("--config", "config.yml", "--output-path", "ubr_client", "--fail-on-warning"),
        cwd=folder,
    )
    assert "Warning" not in told
    (documented,) = blocks_of("docs/api.md", "python")
    (folder / "documented.py").write_text(documented.text)
    run(
        *(programs / "mypy", "--strict", "--config-file=", "ubr_client", "program.py", "wrong.py", "documented.py"),
        cwd=folder,
    )
    run(programs / "python", "program.py", service.url, ADMIN_EMAIL, ADMIN_PASSWORD, cwd=folder)

    wrong = folder / "wrong.py"
    wrong.write_text(wrong.read_text().replace("# type: ignore", "# "))
    complaints = ran(programs / "mypy", "--strict", "--config-file=", "wrong.py", cwd=folder).stdout
    assert len(set(re.findall(r"(?m)^wrong[.]py:(\d+): error: ", complaints))) == WRONG_USES - 1, complaints
    assert complaints.count(" error: ") == WRONG_USES - 1, complaints
