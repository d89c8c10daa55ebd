"""The settings, each declared once. `Settings` has the fields of all groups.

A group is a dataclass without methods of its own: each of them would be compiled at the import, and only `Settings` is
ever made.
"""
