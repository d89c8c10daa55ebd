"""The embedded default database, and the files beside it. All paths are under the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

EMBEDDED: Final = "sqlite+aiosqlite:///var/ubr.db"
"""The default database."""

SECRET_FILE: Final = Path("var/secret_key")
"""The default file of the secret."""

MAIL_FOLDER: Final = Path("var/mail")
"""The folder for mails if no mail server is configured."""

LOCAL_SENDER: Final = "ubr@localhost"
"""The sender of those mails."""
