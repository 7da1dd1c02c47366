"""What lies on the disk belongs to its owner alone: folders are 0700, files 0600, whatever the umask says.

The data directory and the lake are closed, and with them what lies in them; what the house itself made there is closed one
by one as well, so that a copy, or a folder that is opened again, shows nothing. Files that are not the house's are left as
they are: who gives a folder of their own as data directory keeps it.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from console.settings import Settings

log = logging.getLogger(__name__)

OURS = (
    "*.db",
    "*.db-wal",
    "*.db-shm",
    "*.db-journal",
    "*.key",
    "*.lock",
    "*.toml",
    "*.log",
    "accounts.json",
    "counters",
)
OTHERS = 0o077


@contextmanager
def private_files() -> Iterator[None]:
    """Whatever is made while the block runs belongs to its owner alone."""
    before = os.umask(OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def tighten(settings: Settings) -> None:
    """Close what stands open of the house's folders and files; what belongs to another user is named and left."""
    if not settings.data.is_dir():
        return
    opened = _close(settings.data)
    for pattern in OURS:
        for path in settings.data.glob(pattern):
            _close(path)
    # Closed folders keep what lies in them: an old lake of a million files is walked through once, not at each start.
    if settings.lake_dir.is_dir() and (_close(settings.lake_dir) or opened):
        for folder, folders, files in os.walk(settings.lake_dir):
            for name in (*folders, *files):
                _close(Path(folder, name))


def _close(path: Path) -> bool:
    """Take from others what they may; whether they could do anything."""
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) or not mode & OTHERS:
            return False
        try:
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)
        except PermissionError:
            log.warning("%s can be read by others and belongs to somebody else", path)
        return True
    return False
