"""Places of backups."""
