"""What a user, a role, a session and a log entry are, and the rules that hold for them.

Standard library only: no I/O, no clock, no randomness, no logging. Time, ids and hashes come in as arguments.
"""
