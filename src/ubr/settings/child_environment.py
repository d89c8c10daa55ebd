"""The variables that other programs get."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ubr.settings.declaration import PREFIX


def inherited_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment without the settings of ubr, which include its secrets."""
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
