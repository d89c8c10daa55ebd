"""The stacks of ubr on AWS."""
