"""How long a test waits. A bound is there for what hangs, never for what is slow: on a machine at load 20 all is slow.

Whoever waits, waits for a condition (``until``) and at most ``PATIENCE``; tests/test_house.py finds who does otherwise.
What must hold *however* long others take may leave them some time with ``pause``.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from subprocess import Popen
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = float(os.environ.get("GUANJIA_TEST_PATIENCE", "300"))
"""Seconds until a test that waits says that it hangs: what waits longest waits ten, or a hundred at load 20."""

PAGE_MS = PATIENCE * 200
"""Milliseconds that a browser waits for a page or for something on it: a fifth, as pages are there in a second."""

A_WHILE_S = 5.0
"""How long one try may take before the next: a listener that is just starting may accept and never answer."""


def until(condition: Callable[[], T], what: str, every: float = 0.02) -> T:
    """Ask again and again until ``condition()`` is true, and return what it gave; fail naming ``what`` did not come."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"in {PATIENCE:.0f} s it never came to this: {what}"
        time.sleep(every)
    return found


def pause(seconds: float) -> None:
    """Let others run. A test may pause only where it is right however much or little they get done meanwhile."""
    time.sleep(seconds)


def seconds(what: Callable[[], object]) -> float:
    """How long it takes: for what is promised in seconds, never for what is only slow."""
    since = time.monotonic()
    what()
    return time.monotonic() - since


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


_KEPT: list[socket.socket] = []


def refusing_port() -> int:
    """A port of the loopback that refuses whoever calls, and that nobody else gets as long as this process lives."""
    kept = socket.socket()
    kept.bind(("127.0.0.1", 0))
    _KEPT.append(kept)
    port: int = kept.getsockname()[1]
    return port


def listening(port: int) -> None:
    """Wait until somebody listens there."""

    def tried() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(tried, f"a listener on port {port}")


def answered(url: str) -> bytes:
    """Wait until ``url`` gives a page without an error; its body."""
    pages: list[bytes] = []

    def tried() -> bool:
        with suppress(OSError), urllib.request.urlopen(url, timeout=A_WHILE_S) as answer:  # noqa: S310
            pages.append(answer.read())
        return bool(pages)

    until(tried, f"an answer at {url}", 0.1)
    return pages[0]


def together(*works: Callable[[], Any]) -> None:
    """Run all at once, each in a thread, and wait for them; the first error of any is raised here."""
    errors: list[BaseException] = []

    def run(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for one in threads:
        one.start()
    for one in threads:
        one.join(PATIENCE)
        assert not one.is_alive(), f"{one.name} hangs"
    if errors:
        raise errors[0]


@contextmanager
def ended(process: Popen[Any]) -> Iterator[Popen[Any]]:
    """The process is asked to end when the block does, and is waited for."""
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)
