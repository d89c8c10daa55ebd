"""The Dockerfile, as far as it can be checked without an engine; `make test-image` builds it."""

from __future__ import annotations

import pytest

from tests.integration.deploy.kit import says
from tests.support.papers import ROOT
from tests.support.servers import find_hadolint

pytestmark = pytest.mark.system


def test_hadolint_finds_nothing() -> None:
    assert says(find_hadolint().program, "--no-color", ROOT / "Dockerfile") == ""
