"""The names of backups, as every place of backups stores them."""

from __future__ import annotations

import re
from typing import Final

NAME: Final = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9a-f]{8}")
