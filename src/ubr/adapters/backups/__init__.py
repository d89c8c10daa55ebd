"""ConnectionQueue of backups."""
