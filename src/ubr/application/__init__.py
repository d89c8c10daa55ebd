"""The use cases, and the ports through which they use the outside world."""
