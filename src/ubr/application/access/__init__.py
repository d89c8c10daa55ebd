"""Current permissions of an actor, and the session cache."""
