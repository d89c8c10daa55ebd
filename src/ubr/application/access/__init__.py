"""What an actor may do at this moment."""
