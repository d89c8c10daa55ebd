"""All ports in memory: for our tests and those of programs that build on ubr, at the speed of a dictionary.

It enforces the constraints of a database: uniqueness, references, rollback, one writer at a time. Arguments and results
are copied.
"""

from ubr.adapters.memory.revocation import MemoryChangeFeed, MemoryChangeNotifier
from ubr.adapters.memory.store import MemoryStore
from ubr.adapters.memory.unit_of_work import MemoryUnitOfWork

__all__ = ["MemoryChangeFeed", "MemoryChangeNotifier", "MemoryStore", "MemoryUnitOfWork"]
