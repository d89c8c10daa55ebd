"""Where adapters meet ports. The only room that knows dependency-injector; everyone else calls `connect`."""

from ubr.bootstrap.environment import Environment, connect, migrate, open_environment, schema_state
from ubr.bootstrap.policy import common_of

__all__ = ["Environment", "common_of", "connect", "migrate", "open_environment", "schema_state"]
