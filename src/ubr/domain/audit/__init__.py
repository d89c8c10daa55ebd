"""The rules of the log."""
