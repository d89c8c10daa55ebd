"""The base of every use case."""
