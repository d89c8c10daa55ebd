"""The embedded default database, and the files beside it. All paths are under the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

EMBEDDED: Final = "sqlite+aiosqlite:///var/ubr.db"
"""The database used where none is named."""

SECRET_FILE: Final = Path("var/secret_key")
"""Where the secret is kept while none is set."""

MAIL_FOLDER: Final = Path("var/mail")
"""Where mails go while there is no mail server."""

LOCAL_SENDER: Final = "ubr@localhost"
"""Whom those mails come from."""
