"""An event loop without time, threads or I/O of its own: what happens next is chosen.

Tasks run as they do in any loop until each waits for something: a *gate*, which stands before and after whatever
reaches beyond a worker, or a moment. Then one event is chosen: a gate is opened, a moment passes, or something breaks.
What a worker does between two gates touches nothing that another worker sees, so no other order need be tried; within
one worker the order is that of asyncio.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio.events import _set_running_loop
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Final, TypeVarTuple

from ubr.domain.errors import StoreUnavailable

_thread: ContextVar[str] = ContextVar("thread", default="-:-")
"""Who is running: a worker and a name, as in `A:read`. Tasks hand it on to the tasks they start."""

_FOREVER: Final = 1e9
_RESOLUTION: Final = 1e-6
"""As on any clock: who waits for less and less comes to an end."""

Ts = TypeVarTuple("Ts")
Pick = Callable[[Sequence[str]], str]


def thread() -> str:
    return _thread.get()


def worker_of(thread: str) -> str:
    return thread.partition(":")[0]


@dataclass(eq=False, slots=True)
class Gate:
    """Where a task waits until it is chosen. It may be opened for a fault instead."""

    thread: str
    label: str
    faults: tuple[str, ...]
    may_open: Callable[[], bool]
    opened: asyncio.Future[str] = field(repr=False)


def _always() -> bool:
    return True


def _run(handle: asyncio.Handle) -> None:
    if not handle.cancelled():
        handle._run()  # noqa: SLF001 - as every event loop does


class SimulatedLoop(asyncio.BaseEventLoop):
    """`pick`, where there is one, chooses the worker that runs next among those that could."""

    def __init__(self, pick: Pick | None = None) -> None:
        super().__init__()
        self.gates: list[Gate] = []
        self.stopped: set[str] = set()
        """Workers that run no more, for good or for a while."""
        self.troubles: list[str] = []
        self.closing = False
        self.threads: dict[str, asyncio.Task[None]] = {}
        """Every task that was spawned."""
        self._pick = pick
        self._now = 0.0
        self._ready_of: dict[str, deque[asyncio.Handle]] = {}
        self._timers: list[tuple[float, int, str, asyncio.TimerHandle]] = []
        self._made = 0
        self._alive: dict[asyncio.Task[Any], str] = {}

    # --- what asyncio asks for ---------------------------------------------------------------------------------------

    def time(self) -> float:
        return _FOREVER if self.closing else self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        context = copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        self._queue(worker_of(context.get(_thread, "-:-"))).append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = copy_context() if context is None else context
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, context.get(_thread, "-:-"), timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + max(delay, _RESOLUTION), callback, *args, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.closing:
            self.troubles.append(f"{context['message']}: {context.get('exception')!r}")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is thrown away when its time comes."""

    # --- what a simulation asks for ----------------------------------------------------------------------------------

    def spawn(self, thread: str, work: Coroutine[Any, Any, None]) -> None:
        """Start a task with a name of its own."""
        context = copy_context()
        context.run(_thread.set, thread)
        self.threads[thread] = task = self.create_task(work, context=context)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self.closing and not task.cancelled() and (error := task.exception()) is not None:
            self.troubles.append(f"A thread failed: {error!r}")

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """Those that have not ended, in the order of their making."""
        return list(self._alive)

    def names(self) -> list[str]:
        """The threads of the tasks that run, or could."""
        return [name for name in self._alive.values() if self._runs(worker_of(name))]

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        context: Context = options.get("context") or copy_context()
        self._alive[task] = context.get(_thread, "-:-")
        task.add_done_callback(self._alive.pop)
        return task

    async def gate(self, label: str, *faults: str, may_open: Callable[[], bool] = _always) -> str:
        """Wait to be chosen; the fault that was chosen, or nothing.

        Errors: `StoreUnavailable` for the fault "fail", and for all when the simulation ends.
        """
        if self.closing:
            raise StoreUnavailable
        gate = Gate(_thread.get(), label, faults, may_open, self.create_future())
        self.gates.append(gate)
        try:
            fault = await gate.opened
        finally:
            self.gates.remove(gate)
        if fault == "fail":
            raise StoreUnavailable
        return fault

    def open_gates(self) -> list[Gate]:
        """Those that could be chosen now."""
        return [
            gate
            for gate in self.gates
            if worker_of(gate.thread) not in self.stopped and not gate.opened.done() and gate.may_open()
        ]

    def open(self, gate: Gate, fault: str = "") -> None:
        gate.opened.set_result(fault)
        self.run_ready()

    @contextmanager
    def running(self) -> Iterator[None]:
        _set_running_loop(self)
        try:
            yield
        finally:
            _set_running_loop(None)

    def run_ready(self) -> None:
        """Run every callback that is ready, and those that become so, until all wait."""
        while choices := [worker for worker, queue in self._ready_of.items() if queue and self._runs(worker)]:
            if self._pick is None:
                queue = self._ready_of[choices[0]]
                while queue:
                    _run(queue.popleft())
            else:
                _run(self._ready_of[choices[0] if len(choices) == 1 else self._pick(choices)].popleft())

    @property
    def next_moment(self) -> float | None:
        """When the next timer is due."""
        live = [when for when, _, thread, timer in self._timers if self._waits(thread, timer)]
        return min(live, default=None)

    def waiting(self) -> list[tuple[float, str]]:
        """The moments that are waited for, and by whom."""
        return sorted((when, thread) for when, _, thread, timer in self._timers if self._waits(thread, timer))

    def advance(self, to: float) -> None:
        """Let time pass, and what is due by then happen in its order."""
        held = []
        while self._timers and self._timers[0][0] <= to:
            entry = heapq.heappop(self._timers)
            when, _, thread, timer = entry
            if timer.cancelled():
                continue
            if not self._runs(worker_of(thread)):
                held.append(entry)
                continue
            self._now = max(self._now, when)
            self._queue(worker_of(thread)).append(timer)
            self.run_ready()
        self._now = max(self._now, to)
        for entry in held:
            heapq.heappush(self._timers, entry)

    def finish(self) -> None:
        """End every task: whatever it asks for fails, and no time is left."""
        self.closing = True
        self.stopped.clear()
        self._pick = None
        for gate in self.gates:
            if not gate.opened.done():
                gate.opened.set_result("fail")
        self.run_ready()
        while self._alive:
            for task in list(self._alive):
                task.cancel()
            self.run_ready()
        self._timers.clear()
        self.close()

    def _waits(self, thread: str, timer: asyncio.TimerHandle) -> bool:
        return not timer.cancelled() and self._runs(worker_of(thread))

    def _runs(self, worker: str) -> bool:
        return worker not in self.stopped

    def _queue(self, worker: str) -> deque[asyncio.Handle]:
        return self._ready_of.setdefault(worker, deque())
