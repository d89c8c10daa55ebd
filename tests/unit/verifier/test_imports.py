"""A service that verifies tokens loads what it needs for that, and nothing else of ubr."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = "import ubr.verifier, json, sys; print(json.dumps(sorted(sys.modules)))"


def test_it_loads_little() -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)  # noqa: S603
    loaded = json.loads(ran.stdout)
    of_ubr = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("ubr")}
    assert of_ubr == {"ubr", "ubr.domain", "ubr.extras", "ubr.verifier"}
    unwanted = {"sqlalchemy", "alembic", "litestar", "granian", "redis", "dependency_injector"}
    assert not {name.partition(".")[0] for name in loaded} & unwanted
