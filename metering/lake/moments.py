"""One moment of a lake, held while it goes on: a second name for each of its files, in a folder that nobody reads.

Files of the lake are never written to again; what changes is replaced whole. So a hard link keeps a file as it was, and
costs nothing, however large the lake. Days are not closed, laid together or deleted while the links are made (the roll's
lock, shared), deliveries go on. What a delivery passes on its way is linked in that order (spool, landings, hot, days):
what moved on meanwhile is then there twice, which counts once, and never nowhere.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from metering.lake.closing import rolling
from metering.lake.files import room

if TYPE_CHECKING:
    from metering.lake.places import Places

PREFIX = ".moment-"
FIRST = ("push", "landings", "hot", "corrections")
TRIES = 100


@contextmanager
def moment(lake: Places, begin: Callable[[], object]) -> Iterator[Path]:
    """A folder laid out as the lake was when ``begin`` had been called, gone when the block ends.

    ``begin`` fixes the moment of what refers to the lake (the book): whatever that knows of is then in the folder. One at
    a time: what another one left is removed. Raises LakeFull.
    """
    for left in lake.root.glob(PREFIX + "*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = lake.root / f"{PREFIX}{os.getpid()}"
    try:
        with room(), rolling(lake, shared=True):
            folder.mkdir(mode=0o700)
            begin()
            names = sorted(os.listdir(lake.root), key=lambda name: (_turn(name), name))
            for name in names:
                if not name.startswith("."):
                    _linked(lake.root / name, folder / name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _turn(name: str) -> int:
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _linked(source: Path, target: Path) -> None:
    """``target`` as ``source`` is: a link, or a folder of links to what was in it at one time."""
    if not source.is_dir():
        _link(source, target)
        return
    for _ in range(TRIES):
        try:
            names = [name for name in os.listdir(source) if not name.startswith(".")]
            target.mkdir()
            for name in names:
                _linked(source / name, target / name)
        except FileNotFoundError:  # taken up, or its folder removed, between the two: look again
            shutil.rmtree(target, ignore_errors=True)
            if not source.is_dir():
                return
            continue
        return
    raise OSError(f"{source} never held still")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without second names
        shutil.copy2(source, target)
