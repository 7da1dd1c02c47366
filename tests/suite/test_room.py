"""What a killed run left in memory goes with the next, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from tests.suite import room


def test_only_what_runs_left_that_are_no_more_is_taken_away(tmp_path: Path) -> None:
    no_more = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    for name in (f"{room.OURS}{no_more}", f"{room.OURS}{os.getppid()}", "guanjia-pg-of-a-city"):
        (tmp_path / name / "base").mkdir(parents=True)
    room.sweep(tmp_path)
    assert {folder.name for folder in tmp_path.iterdir()} == {f"{room.OURS}{os.getppid()}", "guanjia-pg-of-a-city"}
