"""The audit log: its entries, which the commit of a unit writes, and the tree over them."""
