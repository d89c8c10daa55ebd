"""The rules of machines and their keys."""
