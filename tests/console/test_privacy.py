"""A house on the disk is its owner's alone, whatever the umask was and whatever an older version left."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

from console.privacy import tighten
from console.settings import load

GUANJIA = str(Path(sys.executable).with_name("guanjia"))


def opened_up(root: Path) -> dict[str, str]:
    """What others may do anything with: path → mode."""
    found = {}
    for path in (root, *root.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & 0o077:
            found[str(path.relative_to(root))] = oct(mode)
    return found


def guanjia(*words: str) -> None:
    subprocess.run([GUANJIA, *words], check=True, capture_output=True, umask=0)


def test_what_is_founded_is_closed(tmp_path: Path) -> None:
    data = tmp_path / "some" / "data"
    guanjia("init", "--empty", "--data", str(data))
    guanjia("jobs", "--once", "settle", "--data", str(data))
    assert {"book.db", "lake", "accounts.json"} <= {one.name for one in data.iterdir()}
    assert opened_up(data) == {}


def test_what_stands_open_is_closed_at_the_next_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    guanjia("init", "--empty", "--data", str(data))
    (data / "lake" / "hot" / "x").mkdir(parents=True, exist_ok=True)
    (data / "lake" / "hot" / "x" / "1.parquet").touch()
    (data / "foreign.txt").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    (data / "lake" / "linked").symlink_to(elsewhere)
    for path in (data, *data.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    elsewhere.chmod(0o644)
    guanjia("lake", "status", "--data", str(data))
    assert opened_up(data) == {"foreign.txt": "0o644", "lake/linked": "0o777"}, "what is not the house's is left"
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644


def test_a_lake_elsewhere_is_closed_too(tmp_path: Path) -> None:
    data, lake = tmp_path / "data", tmp_path / "lake"
    for folder in (data, lake):
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
    tighten(load(data, {"GUANJIA_LAKE": str(lake)}))
    assert (opened_up(data), opened_up(lake)) == ({}, {})
