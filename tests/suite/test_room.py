"""What a killed run left in memory goes with the next, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from tests.suite import room


def test_only_what_runs_left_that_are_no_more_is_taken_away(tmp_path: Path) -> None:
    no_more = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    counters = f"guanjia-{os.getuid()}"
    stays = {
        f"{room.OURS}{os.getppid()}": "base",
        f"{counters}-lives": f"counter_{os.getppid()}.db",
        f"{counters}-begins": "probe",
        "guanjia-pg-of-a-city": f"counter_{no_more}.db",
    }
    goes = {f"{room.OURS}{no_more}": "base", f"{counters}-was-killed": f"histogram_{no_more}.db"}
    for name, holds in (stays | goes).items():
        (tmp_path / name).mkdir()
        (tmp_path / name / holds).touch()
    room.sweep(tmp_path)
    assert {folder.name for folder in tmp_path.iterdir()} == set(stays)
