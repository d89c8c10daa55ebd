"""How an end becomes known everywhere."""
