"""Who is at work in a data directory: locks that the system releases when the last process that holds them is gone.

``guanjia run`` holds the whole house, its children with it. Where web and jobs run by themselves, the web server holds its
part alone, and any number of jobs processes share theirs. A founding is alone, too. What a crash leaves behind is an empty
file that nobody holds.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from pathlib import Path


class HousePart(StrEnum):
    """What can be in use of a house."""

    WEB = "web"
    JOBS = "jobs"
    FOUNDING = "founding"
    BACKUP = "backup"


DOES = {
    HousePart.WEB: "a web server of this house runs already",
    HousePart.JOBS: "jobs of this house run already",
    HousePart.FOUNDING: "this house is being founded at this moment",
    HousePart.BACKUP: "a backup of this house is being made",
}


class InUse(OSError):
    """Another process is at work there; the message says which part of it and where."""

    def __init__(self, data: Path, part: HousePart, who: str) -> None:
        super().__init__(f"{data} is in use: {DOES[part]}{f' (process {who})' if who else ''}")


def occupy(data: Path, part: HousePart, *, shared: bool = False) -> int:
    """Hold ``part`` of the house in ``data`` as long as the returned file descriptor is open here or in a child.

    ``shared``: beside others who share it. Raises InUse where somebody holds it otherwise.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(data / f"{part}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        who = os.pread(handle, 20, 0).decode(errors="replace").strip()
        os.close(handle)
        raise InUse(data, part, who if who.isdigit() else "") from None
    except OSError:
        os.close(handle)
        raise
    os.ftruncate(handle, 0)
    if not shared:
        with suppress(OSError):  # the number is for the sentence alone: a full disk keeps nobody out
            os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle


@contextmanager
def occupied(data: Path, *parts: HousePart, shared: bool = False) -> Iterator[tuple[int, ...]]:
    """Hold ``parts`` while the block runs; the descriptors, for children to hold them on. Raises InUse."""
    with ExitStack() as let_go:
        held = []
        for part in parts:
            handle = occupy(data, part, shared=shared)
            let_go.callback(os.close, handle)
            held.append(handle)
        yield tuple(held)
