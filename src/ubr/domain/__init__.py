"""The domain model: users, roles, sessions, log entries, and their rules.

It imports the standard library, idna, and msgspec for its structs. It has no I/O, no clock, no randomness and
no logging. Time, ids and hashes are passed as arguments.
"""
