"""The rules of signing keys."""
