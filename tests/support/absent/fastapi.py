"""Hides FastAPI from the ubr processes that tests start.

It is installed here for an example, but in no installation of ubr; dependency-injector loads it if it finds it, which
takes a third of a second of every start.
"""

raise ImportError
