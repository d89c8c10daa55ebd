"""What the use cases need of the world, by theme. Each method says what missing, twice and conflict mean.

Every method may raise `StoreUnavailable` where its technology does not answer in time.
"""
