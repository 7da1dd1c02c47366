"""The product's processes: web servers that share one listening socket, and the jobs, under one parent.

``guanjia run`` starts all and ends all. A web process that dies is replaced; the jobs ending by themselves end the house, so
that nobody watches half a product, and so does a web server that does not stay up.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from console.service import counters
from console.settings import Settings

log = logging.getLogger("guanjia.processes")

THREADS = 4
BACKLOG = 1024
STOP_S = 15
LOOK_S = 0.3
MOST_DEATHS, WITHIN_S = 5, 60
"""A web server of which so many processes die within so many seconds is given up."""
LIFELINE = "GUANJIA_LIFELINE"
"""Names the end of a pipe whose other end the parent holds."""
STANDING = "GUANJIA_STANDING"
"""Names the end of a pipe into which a web process writes once it answers."""
WAITED_FOR_S = 60
"""The jobs start once a web process answers, so that nobody waits at the door while they load; after so long all the same."""


class PortTaken(OSError):
    """Somebody listens there already."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises PortTaken."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        door = socket.socket(family, kind, protocol)
        try:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind(address)
            door.listen(BACKLOG)
        except OSError:
            door.close()
            raise
    except OSError as error:
        raise PortTaken(f"{host}:{port} cannot be listened on: {error.strerror}") from error
    return door


def check_port(host: str, port: int) -> None:
    """Raise PortTaken before anything is started, instead of after."""
    listen(host, port).close()


def follow_parent() -> bool:
    """End this process as SIGTERM does when the parent is gone, however it went; False where nobody is to be followed."""
    told = os.environ.pop(LIFELINE, "")
    if not told:
        return False

    def wait() -> None:
        os.read(int(told), 1)  # nobody writes: it ends when the other end is closed
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
    return True


def standing() -> None:
    """Tell the parent that this process answers from now on."""
    with suppress(KeyError, OSError):
        os.write(int(os.environ.pop(STANDING)), b"1")


class _Household:
    """The processes that were started, and what they need to be started again."""

    def __init__(self, settings: Settings, door: socket.socket, workers: int, held: Sequence[int]) -> None:
        self.door = door
        self.folder: Path | None = counters.prepare(settings.data, workers)
        self.lifeline, self._mine = os.pipe()
        self._told, tell = os.pipe()
        self.handed_down = (door.fileno(), self.lifeline, tell, *held)
        self.environment = {
            **os.environ,
            "GUANJIA_DATA": str(settings.data.resolve()),
            "GUANJIA_DEMO": str(settings.demo).lower(),
            LIFELINE: str(self.lifeline),
            STANDING: str(tell),
        }
        self.environment.pop(counters.VARIABLE, None)
        if self.folder is not None:
            self.environment[counters.VARIABLE] = str(self.folder)
        self.web: list[subprocess.Popen[bytes]] = []
        self.jobs: subprocess.Popen[bytes] | None = None
        self.deaths: deque[float] = deque(maxlen=MOST_DEATHS)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", *words]
        return subprocess.Popen(command, env=self.environment, pass_fds=self.handed_down)  # noqa: S603

    def start_web(self) -> None:
        self.web.append(self.start("console.service.web", str(self.door.fileno()), str(THREADS)))

    def stands(self, within_s: float) -> bool:
        """Whether a web process answers, or begins to within so many seconds."""
        return bool(select.select([self._told], [], [], within_s)[0])

    def look(self) -> int | None:
        """Replace web processes that ended; the exit code where that does not help, or the jobs ended."""
        if self.jobs is not None and self.jobs.poll() is not None:
            return self.jobs.returncode or 1
        for one in [one for one in self.web if one.poll() is not None]:
            self.web.remove(one)
            self.deaths.append(time.monotonic())
            if len(self.deaths) == MOST_DEATHS and self.deaths[-1] - self.deaths[0] < WITHIN_S:
                return one.returncode or 1
            log.warning("a web process ended (%s) and is replaced", one.returncode)
            self.start_web()
        return None

    def stop(self) -> None:
        children = [*self.web, *([self.jobs] if self.jobs else [])]
        for one in children:
            if one.poll() is None:
                one.terminate()
        deadline = time.monotonic() + STOP_S
        for one in children:
            try:
                one.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
        counters.remove(self.folder)


def keep_house(settings: Settings, door: socket.socket, workers: int, *, jobs: bool, held: Sequence[int] = ()) -> int:
    """Run ``workers`` web processes on ``door``, and the jobs where asked for, until a signal; the exit code.

    ``held``: descriptors of locks that the children hold on, too.
    """
    stopping = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    household = _Household(settings, door, workers, held)
    code: int | None = None
    try:
        for _ in range(workers):
            household.start_web()
        latest = time.monotonic() + WAITED_FOR_S
        while not stopping and code is None:
            if jobs and household.jobs is None:
                if household.stands(LOOK_S) or time.monotonic() > latest:
                    household.jobs = household.start("console.cli", "jobs")
            else:
                time.sleep(LOOK_S)
            code = household.look()
    finally:
        household.stop()
    return code or 0
