"""The use cases of signing keys."""
