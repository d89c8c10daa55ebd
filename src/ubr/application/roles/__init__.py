"""The use cases of roles."""
