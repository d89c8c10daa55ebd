"""The HTTP interface: turns requests into calls of use cases, and results into responses. It makes no decisions."""
