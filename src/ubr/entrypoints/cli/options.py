"""Options that several commands have."""

from __future__ import annotations

from typing import Final

import rich_click as click

lost_secret_option: Final = click.option(
    "--lost-secret",
    is_flag=True,
    help="The secret that encrypted the keys in use is lost. The first one of UBR_SECRET_KEY replaces it.",
)
