"""Settled months: what comes for them later lies beside, as a correction, and never changes them in place.

Once a month has been invoiced its days stay as they were. Late deliveries are kept under `corrections/`, in the order
in which they came; what they would change is computed from both, and becomes rows of its own (metering.statements.closings).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from metering.lake import rollup
from metering.lake.closing import CHUNK, outline, parts_of, settled
from metering.lake.dayblock import DayBlock, Edges, freeze, lay
from metering.lake.files import dated, hot_names

if TYPE_CHECKING:
    from metering.lake.places import Places


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


def corrections(lake: Places) -> list[Late]:
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


def corrected(lake: Places, day: date, up_to: int | None = None) -> tuple[pa.Table, pa.Table]:
    """Daily rollups (see rollup.daily) of the resources that a day's corrections touch: as settled, as corrected.

    `up_to`: only deliveries with numbers up to this one. The second table has a row for each touched resource; the
    first none for those that had no sample on the day when it was settled. Its frozen states are those settled.
    """
    sides = [
        (rollup.daily(one.before, one.edges), rollup.daily(one.after, one.edges_after))
        for one in _touched(lake, day, up_to)
    ]
    if not sides:
        nobody = lay([], lake.slots)
        nothing = rollup.daily(nobody, Edges.none(nobody.resource))
        return nothing, nothing
    return pa.concat_tables(one for one, _ in sides), pa.concat_tables(one for _, one in sides)


def corrected_hours(lake: Places, day: date) -> Iterator[pa.Table]:
    """Hours (see rollup.hours) of the resources that a day's corrections touch, as corrected."""
    return (rollup.hours(one.after) for one in _touched(lake, day, None))


@dataclass(frozen=True, slots=True)
class _Touched:
    """Some resources of a day as settled and as corrected."""

    before: DayBlock
    edges: Edges
    after: DayBlock
    edges_after: Edges


def _touched(lake: Places, day: date, up_to: int | None) -> Iterator[_Touched]:
    """A chunk of ids at a time, like the closing of a day: a company that hands in a whole day needs no more memory."""
    paths = [one.path for one in corrections(lake) if one.day == day and (up_to is None or one.number <= up_to)]
    lows, columns, lagging = outline(paths)
    closed = [path for path in (lake.path("days", day),) if path.exists()]
    for path in closed:  # so that all chunks have the same columns
        _, more, later = outline([path])
        columns, lagging = columns | more, lagging | later
    sides = [lake.edges(day + timedelta(days=step)) for step in (-1, 1)]
    for low in lows:
        parts = list(parts_of(paths, low, low + CHUNK))
        ids = np.unique(np.concatenate([np.zeros(0, np.int32), *(part.resource for part in parts)]))
        if len(ids):
            known = [part.take(np.isin(part.resource, ids)) for part in parts_of(closed, low, low + CHUNK)]
            before = lay(known, lake.slots, columns, lagging)
            edges = settled(before, known, sides, keep_states=True)
            after = lay([*known, *parts], lake.slots, columns, lagging)
            yield _Touched(before, edges, after, freeze(after, *sides))
