"""Passwords (Argon2), access tokens (JWT), refresh tokens, and the keys, clock and randomness of this installation."""
