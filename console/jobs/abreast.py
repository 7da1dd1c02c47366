"""Clouds dealt with side by side, each in a thread of its own, so that one that is slow or dead holds up no other.

``each`` waits for all, but for none longer than the patience of its call: what is still under way then is left to go on by itself,
keeps no place that another cloud needs, and is told by the call after its end. Meanwhile it gets no second turn.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Generic, TypeVar

from metering.workbench import Workbench
from quota.directory import Pool

T = TypeVar("T")

AT_ONCE = 8
"""So many at a time, beside those that were left."""


@dataclass(frozen=True, slots=True)
class CallRound(Generic[T]):
    """What one call brought. ``done``: name → what came of it, the names as they were given, those of before in front; ``left``:
    what is still under way."""

    done: list[tuple[str, T | Exception]]
    left: list[str]


@dataclass(slots=True)
class Abreast:
    """``leaves``: whether patience ends; what runs once and is over (a command, a test) waits for everything."""

    leaves: bool = False
    at_once: int = AT_ONCE
    _left: dict[str, Future[Any]] = field(default_factory=dict)

    def each(self, names: Iterable[str], act: Callable[[str], T], patience_s: float) -> CallRound[T]:
        """``act`` with each of ``names`` that is not under way still."""
        given = list(names)
        before = {name: one for name, one in self._left.items() if one.done()}
        for name in before:
            del self._left[name]
        waiting = deque(name for name in given if name not in self._left)
        running: dict[Future[T], tuple[str, float]] = {}
        ended: dict[str, Future[T]] = {}
        while waiting or running:
            while waiting and len(running) < self.at_once:
                name = waiting.popleft()
                running[_begun(act, name)] = name, monotonic() + patience_s
            most = max(min(until for _name, until in running.values()) - monotonic(), 0) if self.leaves else None
            for one in wait(running, most, FIRST_COMPLETED).done:
                ended[running.pop(one)[0]] = one
            for one, (name, until) in list(running.items()):
                if self.leaves and monotonic() >= until:
                    self._left[name] = one
                    del running[one]
        done = [*before.items(), *((name, ended[name]) for name in given if name in ended)]
        return CallRound([(name, _came(one)) for name, one in done], sorted(self._left))

    def pools(
        self,
        workbench: Workbench,
        act: Callable[[Pool], T],
        patience_s: float,
        only: Collection[str] | None = None,
    ) -> CallRound[T]:
        """``act`` with every active pool, or those of ``only``; named by its code."""
        pools = {one.code: one for one in workbench.pools() if only is None or one.code in only}
        return self.each(pools, lambda code: act(pools[code]), patience_s)


def _begun(act: Callable[[str], T], name: str) -> Future[T]:
    """In a thread of its own, which a process that ends waits for: what was sent is noted with its answer."""
    one: Future[T] = Future()

    def work() -> None:
        try:
            one.set_result(act(name))
        except BaseException as error:
            one.set_exception(error)

    threading.Thread(target=work, name=f"{name} abreast").start()
    return one


def _came(one: Future[T]) -> T | Exception:
    try:
        return one.result()
    except Exception as error:
        return error
