"""The rules of roles."""
