"""Makes the assemblies once for all workers of a run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deploy.aws.tests.assemblies import FOLDER, Assembly, assembly
from deploy.aws.tests.variants import CHANGES, CHECKED

_ROOT = Path(__file__).parents[3]
# Two processes, because CI has two processors. Each shares one start of the library.
_SHARES = (("production", "version", "instances", "storage"), ("small", "retention", "schedule", "mail"))
_LIMIT = 600.0


def pytest_configure(config: pytest.Config) -> None:
    if FOLDER in os.environ or config.option.collectonly:  # a worker, or a run that looks at an earlier synthesis
        return
    assert sorted(name for share in _SHARES for name in share) == sorted([*CHECKED, *CHANGES])
    folder = tempfile.mkdtemp(prefix="ubr-aws-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ[FOLDER] = folder
    # The warning about the version of node comes from the library, and would be the output of every run.
    environment = os.environ | {"JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-O", "-m", "deploy.aws.tests.synthesize", folder, *share],
            cwd=_ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for share in _SHARES
    ]
    said = [process.communicate(timeout=_LIMIT)[0] for process in running]
    if any(process.returncode for process in running):
        raise pytest.UsageError("The stacks cannot be synthesized:\n" + "\n".join(said))


@pytest.fixture(params=CHECKED)
def fleet(request: pytest.FixtureRequest) -> Assembly:
    """Each environment."""
    return assembly(request.param)


@pytest.fixture
def production() -> Assembly:
    return assembly("production")


@pytest.fixture
def small() -> Assembly:
    return assembly("small")
