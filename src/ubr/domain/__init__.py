"""The domain model: users, roles, sessions, log entries, and their rules.

Standard library only: no I/O, no clock, no randomness, no logging. Time, ids and hashes are passed as arguments.
"""
