"""The use cases that operate the service itself."""
