"""How the outside reaches the use cases: HTTP and the command line."""
