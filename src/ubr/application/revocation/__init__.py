"""Propagation of revocations to all workers."""
