"""The rules of mail."""
