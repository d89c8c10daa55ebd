"""Backups of the whole database: commands of an operator, in a process of their own, and not use cases of an actor."""
