"""Dumps of a database, and their restoration."""
