"""The use cases of the audit log."""
