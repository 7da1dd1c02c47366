"""Lakes of tests: filled once in a process, copied from then on, as closing weeks of days is most of what such tests would do."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Hashable
from functools import cache
from pathlib import Path

from metering.lake.store import Lake

_filled: dict[Hashable, Path] = {}


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where filled lakes are kept; it lasts as long as this process."""
    return tempfile.TemporaryDirectory(prefix="guanjia-lakes-")


def once(lake: Lake, key: Hashable, fill: Callable[[], object]) -> None:
    """Have ``lake`` be as ``fill`` leaves it. ``key`` says all that this hangs on, what lay there before with it."""
    if key in _filled:
        shutil.rmtree(lake.root, ignore_errors=True)
        shutil.copytree(_filled[key], lake.root)
        return
    fill()
    _filled[key] = Path(shutil.copytree(lake.root, Path(_folder().name) / str(len(_filled))))
