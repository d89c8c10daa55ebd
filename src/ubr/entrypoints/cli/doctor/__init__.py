"""`ubr doctor`: looks for an operator's mistakes. One file for each subject reads facts, and judges them."""
