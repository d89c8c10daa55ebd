"""The rules of revocation."""
