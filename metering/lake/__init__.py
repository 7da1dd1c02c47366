"""The lake: samples in, once; closed days, rollups, charts and windows out.

``Lake`` has the verbs; ``places`` are its files, ``files`` how they are written and read, ``closed_days`` a lake read from
wherever its days lie.
"""

from __future__ import annotations

from metering.lake import closed_days, health, moments, recent, sql
from metering.lake.closed_days import ClosedDays
from metering.lake.closing import CHUNK
from metering.lake.corrections import Late
from metering.lake.dayblock import Edges, freeze, lay
from metering.lake.files import BLOCK, Damaged, Reader, check_source, make_folder, number_of, room, write_whole
from metering.lake.landing import Landing
from metering.lake.readings import SampleMatrix
from metering.lake.recent import deliveries
from metering.lake.retention import KEEP, Keep, Removed
from metering.lake.samples import CAPACITIES, natural, nothing
from metering.lake.store import Lake, Receipt

__all__ = [
    "BLOCK",
    "CAPACITIES",
    "CHUNK",
    "KEEP",
    "ClosedDays",
    "Damaged",
    "Edges",
    "Keep",
    "Lake",
    "Landing",
    "Late",
    "Reader",
    "Receipt",
    "Removed",
    "SampleMatrix",
    "check_source",
    "closed_days",
    "deliveries",
    "freeze",
    "health",
    "lay",
    "make_folder",
    "moments",
    "natural",
    "nothing",
    "number_of",
    "recent",
    "room",
    "sql",
    "write_whole",
]
