"""Everything in memory: for tests of ours and of those who build on ubr, at the speed of a dictionary.

It keeps what a database would keep and refuses what one would refuse: uniqueness, references, roll-back, one writer at
a time. What is given to it and what it gives are copies.
"""

from ubr.adapters.memory.revocation import MemoryChangeFeed, MemoryChangeNotifier
from ubr.adapters.memory.store import MemoryStore
from ubr.adapters.memory.unit_of_work import MemoryUnitOfWork

__all__ = ["MemoryChangeFeed", "MemoryChangeNotifier", "MemoryStore", "MemoryUnitOfWork"]
