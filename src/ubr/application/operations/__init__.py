"""Operation of the service itself."""
