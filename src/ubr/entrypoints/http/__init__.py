"""The service: requests in, use cases called, answers and problems out. Nothing is decided here."""
