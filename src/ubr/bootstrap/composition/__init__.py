"""Builds the use cases from their ports: one file per capability, checked by the types.

A use case that lacks a port, or gets the wrong one, fails `make check`.
"""
