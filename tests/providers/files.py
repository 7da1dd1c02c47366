"""What the tests of usage and inventory files share: writing a file, reading it back as plain rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from providers.base import Samples
from providers.readers.refusals import Refusal, Refusals
from providers.readers.usage_columns import BITBRAINS
from providers.readers.usage_files import read_usage
from providers.readers.usage_formats import Convention

HEADER = ";\t".join(BITBRAINS)
T0 = 1376314800  # on a five-minute boundary


@dataclass
class Read:
    """Everything that one import gave."""

    report: Refusals
    batches: list[Samples]

    def rows(self) -> list[dict[str, Any]]:
        """Every sample as a dict with its resource's name under ``id``; values that were not reported left out."""
        return [
            {
                "id": batch.external_ids[row.pop("resource")],
                **{k: v for k, v in row.items() if v is not None and not math.isnan(v)},
            }
            for batch in self.batches
            for row in batch.table.to_pylist()
        ]

    @property
    def notes(self) -> set[str]:
        return {note.code for one in self.report.files for note in one.notes}

    def refusals(self, reason: str) -> list[Refusal]:
        return [one for one in self.report.examples() if one.reason == reason]


def read(path: Path, **options: Any) -> Read:
    """Import ``path``; raises what the import raises. Checks what must hold of every report."""
    report = Refusals()
    batches = list(read_usage(path, report, Convention(**options)))
    for one in report.files:
        assert one.rows == one.taken + one.duplicates + one.refused, one
    assert report.samples == sum(batch.table.num_rows for batch in batches)
    return Read(report, batches)


def column(batches: list[Samples], name: str, of: str) -> np.ndarray:
    """The values of one resource in time order."""
    ts, values = [], []
    for batch in batches:
        if of in batch.external_ids:
            mine = batch.table.filter(pc.equal(batch.table["resource"], batch.external_ids.index(of)))
            ts.append(mine["ts"].to_numpy())
            values.append(mine[name].to_numpy())
    order = np.argsort(np.concatenate(ts), kind="stable")
    return np.concatenate(values)[order]


def bitbrains(ts: int, cores: int = 2, cpu: object = 1.5, **more: object) -> str:
    """One line of a Bitbrains file; ``more`` overrides any of total, used, dr, dw, rx, tx."""
    v = {"total": 4194304.0, "used": 1048576.0, "dr": 0.0, "dw": 1.5, "rx": 10.0, "tx": 0.5, **more}
    cells = (ts, cores, 2600.0 * cores, 39.0, cpu, v["total"], v["used"], v["dr"], v["dw"], v["rx"], v["tx"])
    return ";\t".join(str(one) for one in cells)


def write(path: Path, *lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
    """A text file of these lines, each ended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode(encoding))
    return path
