"""The use cases of machines and their keys."""
