"""The ports: interfaces that the use cases need, by capability.

Each method documents its behaviour for a missing record, a repeated call and a conflict. Every method may raise
`StoreUnavailable` if its technology does not answer in time.
"""
