"""A queue of work that clients share fairly."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

Job = Callable[[], bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A waiting call: its job, the future of its caller, and the names that it is served under."""

    client: str
    account: str
    job: Job = field(repr=False)
    future: Future[bytes] = field(default_factory=Future, repr=False)


class FairQueue:
    """Waiting calls, served in turn: one of each client, and within a client one of each account.

    Calls of one account are served in the order of their arrival. Not safe for threads: the owner locks.
    """

    def __init__(self) -> None:
        self._clients: Final[OrderedDict[str, OrderedDict[str, deque[Waiting]]]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(self._size, self._clients))

    def add(self, call: Waiting) -> None:
        self._clients.setdefault(call.client, OrderedDict()).setdefault(call.account, deque()).append(call)

    def next(self) -> Waiting | None:
        """Remove and return the call whose turn it is; None if no call waits."""
        if not self._clients:
            return None
        client, accounts = next(iter(self._clients.items()))
        account, calls = next(iter(accounts.items()))
        call = calls.popleft()
        self._clients.move_to_end(client)
        accounts.move_to_end(account)
        self._tidy(client, account)
        return call

    def remove(self, call: Waiting) -> None:
        """Remove a call, if it still waits."""
        accounts = self._clients.get(call.client)
        calls = None if accounts is None else accounts.get(call.account)
        if calls is not None and call in calls:
            calls.remove(call)
            self._tidy(call.client, call.account)

    def displace(self, client: str, account: str) -> Waiting | None:
        """Remove and return the newest call of the largest share, to make room for a call of a smaller one.

        Returns None if the new call would make its own client or account the largest: then it has no room.
        """
        if not self._clients:
            return None
        # Of equal shares, the one whose turn comes last.
        largest = max(reversed(self._clients), key=self._size)
        accounts = self._clients[largest]
        fullest = max(reversed(accounts), key=lambda name: len(accounts[name]))
        if client == largest:
            if len(accounts.get(account, ())) + 1 >= len(accounts[fullest]):
                return None
        elif self._size(client) + 1 >= self._size(largest):
            return None
        call = accounts[fullest].pop()
        self._tidy(largest, fullest)
        return call

    def _size(self, client: str) -> int:
        accounts = self._clients.get(client)
        return 0 if accounts is None else sum(map(len, accounts.values()))

    def _tidy(self, client: str, account: str) -> None:
        """Forget a client or an account without waiting calls."""
        accounts = self._clients[client]
        if not accounts[account]:
            del accounts[account]
        if not accounts:
            del self._clients[client]
