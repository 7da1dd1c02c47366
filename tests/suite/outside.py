"""Whoever has a clone alone has everything that a test may read: what lies beside the clone is refused.

An audit hook sees what Python opens, lists, connects to and starts; Arrow and DuckDB open files by themselves, so the
functions that are given their paths say them to the same hook. Temporary folders, interpreters and libraries are no
business of it, wherever they lie, nor is anything that isn't beside the clone.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = Path(os.path.abspath(os.environ.get("GUANJIA_TRACES", ROOT.parent / "shared" / "traces")))
"""The folder of the published traces, by the environment or beside the clone."""


class ReadOutsideTheClone(RuntimeError):
    """A test touches what a clone alone does not have."""


def _under(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


BESIDE = str(ROOT.parent)
ALLOWED = tuple(
    one
    for one in {
        str(ROOT),
        *(
            os.path.realpath(each)
            for each in (sys.prefix, sys.base_prefix, tempfile.gettempdir(), "/usr", "/proc", "/etc")
        ),
        *(os.path.abspath(each) for each in sys.path if each),
        *(str(each.resolve()) for each in (ROOT / ".venv", ROOT / "node_modules") if each.exists()),
    }
    if one == str(ROOT) or not _under(str(ROOT), one) or one == BESIDE == os.path.realpath(tempfile.gettempdir())
)
_open = False


def outside(path: object) -> bool:
    """Whether ``path`` lies beside the clone, or is a link to what does."""
    if isinstance(path, (int, type(None))):
        return False
    try:
        text = os.path.abspath(os.fsdecode(os.fspath(path)))  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return False
    for one in {text, os.path.realpath(text) if os.path.islink(text) else text}:
        if _under(one, str(PUBLISHED)):
            return True
        first = one[len(BESIDE) :].lstrip(os.sep).partition(os.sep)[0]
        if (
            _under(one, BESIDE)
            and first
            and not first.startswith(".")
            and not any(_under(one, each) for each in ALLOWED)
        ):
            return True
    return False


def refuse(event: str, path: object) -> None:
    """Raises ReadOutsideTheClone."""
    if not _open and outside(path):
        raise ReadOutsideTheClone(
            f"{event}: {path} lies outside the clone; only tests marked 'published' may read there"
        )


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir", "sqlite3.connect"):
        refuse(event, arguments[0])
    elif event == "subprocess.Popen":
        for one in (*arguments[1], arguments[2]) if isinstance(arguments[1], (list, tuple)) else (arguments[2],):
            refuse(event, one)


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def telling(*words: Any, **named: Any) -> Any:
        for one in (*words, *named.values()):
            for path in one if isinstance(one, (list, tuple)) else (one,):
                if isinstance(path, (str, os.PathLike)) and os.path.isabs(path):
                    refuse(function.__name__, path)
        return function(*words, **named)

    return telling


def watch() -> None:
    """From now on, for as long as the process lives."""
    sys.addaudithook(_hook)
    for place, names in (
        (pq, ("read_table", "read_schema", "read_metadata", "write_table")),
        (pa, ("memory_map", "OSFile")),
        (pyarrow.dataset, ("dataset",)),
        (duckdb, ("connect", "read_parquet", "read_csv")),
    ):
        for name in names:
            setattr(place, name, _told(getattr(place, name)))
    pq.ParquetFile.__init__ = _told(pq.ParquetFile.__init__)


@contextmanager
def opened() -> Iterator[None]:
    """While this lasts, everything may be read: a published trace is a test's matter."""
    global _open
    _open = True
    try:
        yield
    finally:
        _open = False
