"""The use cases of the log."""
