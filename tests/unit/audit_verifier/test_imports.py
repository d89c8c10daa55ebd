"""Who checks an export loads what that takes, and nothing else of ubr."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = "import ubr.audit_verifier.__main__, json, sys; print(json.dumps(sorted(sys.modules)))"
PARTS = {"_cffi_backend", "_openssl", "typing_extensions"}
"""The parts of cryptography, and what msgspec imports."""

BARE = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def loaded(script: str) -> set[str]:
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
    return set(json.loads(ran.stdout))


def test_it_loads_cryptography_msgspec_and_the_domain() -> None:
    modules = loaded(SCRIPT) - loaded(BARE)  # an environment may load things of its own into everything
    of_ubr = {".".join(name.split(".")[:2]) for name in modules if name.partition(".")[0] == "ubr"}
    assert of_ubr == {"ubr", "ubr.audit_verifier", "ubr.domain"}
    others = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"ubr"}
    assert others - PARTS == {"cryptography", "msgspec"}
