"""Where the tests of one run write: into memory where the machine has room, as on a disk they mostly wait for fsync, which
none of them tests.

A run has a folder of its own there, by the number of its process, so that the next one takes away what a killed one left:
some GB each, and a machine whose memory is full of them stands still.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - the machine's memory as a folder
ROOM_B = 6 * 2**30
OURS = "guanjia-tests-"


def made(memory: Path = MEMORY) -> Path | None:
    """The folder of this run; ``None`` where there is no memory to write into, or too little."""
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        return None
    sweep(memory)
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if whole < 2 * ROOM_B or shutil.disk_usage(memory).free < ROOM_B:
        return None
    ours = memory / f"{OURS}{os.getpid()}"
    ours.mkdir(mode=0o755)  # PostgreSQL runs as somebody else
    return ours


def sweep(memory: Path) -> None:
    """Take away the folders of runs that are no more, and the counters of web servers that tests killed."""
    for left in memory.glob(f"{OURS}*"):
        if not _alive(left.name.removeprefix(OURS)):
            leave(left)
    for left in memory.glob(f"guanjia-{os.getuid()}-*"):
        counting = [file.stem.rpartition("_")[2] for file in left.glob("*_*.db")]
        if counting and not any(map(_alive, counting)):
            leave(left)


def _alive(number: str) -> bool:
    return Path("/proc", number).exists()


def leave(folder: Path) -> None:
    """Take away a run's folder, with what libraries still write there at the process's end."""
    shutil.rmtree(folder, ignore_errors=True)
