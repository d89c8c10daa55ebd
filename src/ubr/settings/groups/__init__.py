"""The settings, each declared once. `Settings` has the fields of all groups."""
