"""Hides FastAPI from the processes of ubr that tests start. It is here for an example, and no installation of ubr has
it; dependency-injector loads it where it finds it, which takes a third of a second of every start.
"""

raise ImportError
