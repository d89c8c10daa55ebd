"""The errors that use cases raise, for programs that embed ubr: `except ubr.errors.NotFound`."""

from ubr.domain.errors import *  # noqa: F403 - the catalogue says what is public
from ubr.domain.errors import __all__ as __all__  # noqa: PLC0414 - a re-export, for type checkers
