"""The domain model: users, roles, sessions, log entries, and their rules.

It imports the standard library and idna, and has no I/O, no clock, no randomness and no logging. Time, ids and hashes
are passed as arguments.
"""
