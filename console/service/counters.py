"""Where the web server's processes count, so that one answer to a scrape tells what all of them did.

prometheus-client maps a file for each process. A mapped page for which the disk has no room kills its process (SIGBUS), so
every file is given all its room before it is mapped, and it lies in memory (tmpfs) where there is such a place: files on a
file system that writes elsewhere each time (btrfs, ZFS) can need room even where they had it. Where nothing has room left,
each process counts by itself: a scrape then tells of one of them, and pages are answered.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger("guanjia.counters")

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
TYPES = ("counter", "histogram")
"""prometheus-client keeps a file for each type of metric that a process counts."""
ROOM = 4 << 20
"""Bytes a file: ten times what every endpoint, method and status of the console takes."""
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own in it, refused where somebody else made it


def prepare(data: Path, processes: int) -> Path | None:
    """An empty folder in which ``processes`` can count; None where no place has room for it."""
    for folder in _places(data):
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = folder.lstat()
            if stat.S_ISDIR(made.st_mode) and made.st_uid == os.getuid() and not any(folder.iterdir()):
                probe = folder / "probe"
                _reserve(probe, ROOM * len(TYPES) * processes)
                probe.unlink()
                return folder
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
    log.warning("no room for counters: /metrics will tell of one web process at a time")
    return None


def _places(data: Path) -> Iterator[Path]:
    name = f"guanjia-{os.getuid()}-{hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:16]}"
    if MEMORY.is_dir():
        yield MEMORY / name
    yield data.resolve() / "counters"
    yield Path(tempfile.gettempdir()) / name


def take() -> None:
    """Reserve the files of this process; call it before anything imports prometheus-client, which reads the variable."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    try:
        for name in TYPES:
            _reserve(Path(folder) / f"{name}_{os.getpid()}.db", ROOM)
    except OSError as error:
        log.warning("no room for the counters of this process: %s", error)
        del os.environ[VARIABLE]
        for name in TYPES:
            (Path(folder) / f"{name}_{os.getpid()}.db").unlink(missing_ok=True)


def _reserve(file: Path, size: int) -> None:
    """A file of ``size`` zeros for which the room is taken."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)
    finally:
        os.close(handle)


def remove(folder: Path | None) -> None:
    """Throw away what was counted."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
