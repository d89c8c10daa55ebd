"""All settings of an operator, and the only reader of the environment.

Each setting is declared once, as a field of a group in `groups/`. `Settings` is these fields in one flat object;
reading the environment, `ubr config` and `docs/settings.md` use the same declarations.
"""

from ubr.settings.child_environment import inherited_variables
from ubr.settings.embedded import DATABASE_FILE, EMBEDDED, LOCAL_SENDER, MAIL_FOLDER, SECRET_FILE
from ubr.settings.embedded_files import check_embedded_files, ensure_embedded_files
from ubr.settings.errors import WrongSetting
from ubr.settings.groups.backups import parse_place
from ubr.settings.groups.network import Network, TrustedProxies
from ubr.settings.groups.operations import BACKGROUND_CONNECTIONS
from ubr.settings.groups.stores import MEMORY, parse_database_url
from ubr.settings.overview import Row, debugging, documentation, in_force, secret_files
from ubr.settings.rate_limit import Limit, LoginRateLimit, RateLimit
from ubr.settings.settings import TABLE, Settings
from ubr.settings.urls import WILDCARDS, masked, origin_of
from ubr.settings.values import format_duration, parse_duration

__all__ = [
    "BACKGROUND_CONNECTIONS",
    "DATABASE_FILE",
    "EMBEDDED",
    "LOCAL_SENDER",
    "MAIL_FOLDER",
    "MEMORY",
    "SECRET_FILE",
    "TABLE",
    "WILDCARDS",
    "Limit",
    "LoginRateLimit",
    "Network",
    "RateLimit",
    "Row",
    "Settings",
    "TrustedProxies",
    "WrongSetting",
    "check_embedded_files",
    "debugging",
    "documentation",
    "ensure_embedded_files",
    "format_duration",
    "in_force",
    "inherited_variables",
    "masked",
    "origin_of",
    "parse_database_url",
    "parse_duration",
    "parse_place",
    "secret_files",
]
