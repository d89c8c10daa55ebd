"""Where adapters meet ports. The only room that knows dependency-injector; everyone else calls `connect`."""

from ubr.bootstrap.decisions import common_of
from ubr.bootstrap.environment import Environment, connect, migrate, open_environment, schema_state

__all__ = ["Environment", "common_of", "connect", "migrate", "open_environment", "schema_state"]
