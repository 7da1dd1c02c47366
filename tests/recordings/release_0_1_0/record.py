"""What a city of release 0.1.0 left on its disk: ``book.sql.xz`` (its whole demo city) and ``lake.tar.xz`` (a lake of that release
with two of its machines on the last two closed days, as half a gigabyte would be the whole). Made once:

    git worktree add ../release f62aa2d
    PYTHONPATH=../release python -m console.cli init --data DATA
    PYTHONPATH=../release python tests/recordings/release_0_1_0/record.py DATA
"""

from __future__ import annotations

import lzma
import sqlite3
import sys
import tarfile
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

HERE = Path(__file__).resolve().parent


def main(data: Path) -> None:
    from metering.lake import Lake  # of that release

    book = sqlite3.connect(data / "book.db")
    text = "\n".join(book.iterdump()).encode()
    (HERE / "book.sql.xz").write_bytes(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
    whole = Lake(data / "lake")
    last = whole.days()[-1]
    machines = [row[0] for row in book.execute("SELECT id FROM resources WHERE kind = 'vm' ORDER BY id LIMIT 2")]
    begin = datetime(last.year, last.month, last.day, tzinfo=UTC) - timedelta(days=1, seconds=whole.utc_offset_s)
    slots = 300 * np.arange(2 * 288) + int(begin.timestamp())
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "lake")
        for machine in machines:
            table = {
                "resource": pa.array([machine] * len(slots), pa.int32()),
                "ts": pa.array(slots, pa.int64()),
                "cpu_pct": pa.array(20 + np.sin(slots / 7200) * 10, pa.float64()),
                "vcpu": pa.array([4] * len(slots), pa.int32()),
            }
            lake.append("gov-arm.api", pa.table(table))
        lake.roll()
        for month in whole.sealed():
            lake.seal(month)
        with tarfile.open(HERE / "lake.tar.xz", "w:xz") as archive:
            archive.add(lake.root, "lake")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
