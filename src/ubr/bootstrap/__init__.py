"""Where adapters meet ports. The only room that knows dependency-injector; everyone else calls `connect`."""

from ubr.adapters.security.common_passwords import is_common
from ubr.bootstrap.environment import Environment, connect, migrate, open_environment, schema_state

__all__ = ["Environment", "connect", "is_common", "migrate", "open_environment", "schema_state"]
