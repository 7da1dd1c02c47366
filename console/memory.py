"""What a process loads when it begins stays: the collector of cycles is off meanwhile, and never walks it again. Else each
full collection walks a quarter of a million objects of modules and templates, a tenth of a second in the middle of a page."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """For the block that imports and builds what stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # else extensions take what is left at the end for leaks, and say so on stderr
