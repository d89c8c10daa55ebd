"""Limits, and the guard before every password."""
