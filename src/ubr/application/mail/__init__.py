"""The use cases of mail."""
