"""A clone alone is enough: no test reads what lies beside it, and the guard that says so bites."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.suite import outside

BESIDE = outside.ROOT.parent / "beside" / "a.parquet"


@pytest.mark.parametrize(
    "act",
    [
        lambda path: path.read_bytes(),
        lambda path: path.write_bytes(b""),
        lambda path: os.open(path, os.O_RDONLY),
        lambda path: list(path.parent.iterdir()),
        lambda path: os.listdir(path.parent),
        lambda path: list(os.scandir(path.parent)),
        lambda path: sqlite3.connect(path),
        lambda path: pq.read_table(path),
        lambda path: pq.ParquetFile(path),
        lambda path: pa.memory_map(str(path)),
        lambda path: subprocess.run(["cat", path], check=False),
        lambda path: subprocess.run(["true"], cwd=path.parent, check=False),
        lambda path: Path(os.path.relpath(path)).read_bytes(),
    ],
    ids=["read", "write", "descriptor", "iterdir", "listdir", "scandir", "sqlite", "table", "parquet", "map", "started",
         "started there", "relative"],
)  # fmt: skip
@pytest.mark.parametrize("path", [BESIDE, outside.PUBLISHED / "raw" / "a.csv"], ids=["beside", "traces"])
def test_what_lies_beside_the_clone_is_refused(act: Callable[[Path], object], path: Path) -> None:
    with pytest.raises(outside.ReadOutsideTheClone, match="outside the clone"):
        act(path)


def test_a_link_to_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(BESIDE)
    with pytest.raises(outside.ReadOutsideTheClone):
        (tmp_path / "a").read_bytes()


def test_what_everybody_has_is_read(tmp_path: Path) -> None:
    assert (outside.ROOT / "pyproject.toml").read_bytes()
    assert Path(os.__file__).read_bytes()
    assert Path(pytest.__file__).read_bytes()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 1
    with tempfile.TemporaryFile() as held:
        held.write(b"a")
    assert subprocess.run([sys.executable, "-c", ""], cwd=outside.ROOT, check=False).returncode == 0


def test_no_test_is_told_of_the_published_traces() -> None:
    """What a test starts would look for them by this name."""
    assert "GUANJIA_TRACES" not in os.environ


def test_a_published_test_may_read_there_while_it_runs() -> None:
    with outside.opened(), pytest.raises(FileNotFoundError):
        BESIDE.read_bytes()
    with pytest.raises(outside.ReadOutsideTheClone):
        BESIDE.read_bytes()
