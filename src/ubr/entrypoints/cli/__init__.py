"""The command line, with which operators prepare, start and manage an installation."""

from ubr.extras import require

require("server")
