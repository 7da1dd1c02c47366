"""Settled months: what comes for them later lies beside, as a correction, and never changes them in place.

Once a month has been invoiced its days stay as they were. Late deliveries are kept under `corrections/`, in the order
in which they came; what they would change is computed from both, and becomes rows of its own (metering.closings).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from metering import rollup
from metering.dayblock import freeze, lay
from metering.lake_closing import settled
from metering.lake_files import Reader, dated, hot_names, write_json

if TYPE_CHECKING:
    from metering.lake import Lake

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Late:
    """One delivery for one day of a sealed month. number: nanoseconds since 1970 at which it came, its order;
    first, last: seconds since 1970 of its samples."""

    day: date
    source: str
    number: int
    first: int
    last: int
    digest: str
    path: Path


def sealed(root: Path) -> frozenset[str]:
    """Months ("2026-10") that are settled."""
    try:
        return frozenset(json.loads((root / "sealed.json").read_text()))
    except FileNotFoundError:
        return frozenset()


def seal(root: Path, month: str) -> None:
    """Under the roll's lock. ValueError for what is no month."""
    if not _MONTH.fullmatch(month):
        raise ValueError(f"a month is written 2026-10, not {month!r}")
    write_json(root / "sealed.json", sorted(sealed(root) | {month}))


def corrections(lake: Lake) -> list[Late]:
    """Everything that came for settled days, by day and order of delivery."""
    return [
        Late(
            day,
            name.source,
            name.number,
            name.first,
            name.last,
            name.digest,
            lake.correction_folder(day) / name.source / str(name),
        )
        for day in dated(lake.root / "corrections", "")
        for name in hot_names(lake.correction_folder(day))
    ]


def corrected(lake: Lake, day: date, up_to: int | None = None) -> tuple[pa.Table, pa.Table]:
    """Daily rollups (see rollup.daily) of the resources that a day's corrections touch: as settled, as corrected.

    `up_to`: only deliveries with numbers up to this one. The second table has a row for each touched resource; the
    first none for those that had no sample on the day when it was settled. Its frozen states are those settled.
    """
    late = [one for one in corrections(lake) if one.day == day and (up_to is None or one.number <= up_to)]
    parts = []
    for one in late:
        with Reader(one.path) as reader:
            parts.append(reader.cells())
    touched = lay(parts, lake.slots).resource
    sides = [lake.edges(day + timedelta(days=step)) for step in (-1, 1)]
    closed = []
    if len(touched) and lake.path("days", day).exists():
        with Reader(lake.path("days", day)) as reader:
            cells = reader.cells(int(touched[0]), int(touched[-1]) + 1)
            closed = [cells.take(np.isin(cells.resource, touched))]
    before = lay(closed, lake.slots)
    edges = settled(before, closed, sides, keep_states=True)
    after = lay([*closed, *parts], lake.slots)
    return rollup.daily(before, edges), rollup.daily(after, freeze(after, *sides))
