"""What is kept how long: samples for a while, hours for longer, days for ever. Nothing younger is ever deleted.

What was decided is written down (`retention.json`) before the first file goes, so that a crash half-way is no damage:
files before the line may be there or not, and the next run takes the rest. Deliveries for days whose samples are gone
are refused, since a day closed from them alone would replace its figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from metering.lake import closing
from metering.lake.files import dated, sync_folder, write_json
from metering.lake.places import cut

if TYPE_CHECKING:
    from metering.lake.places import Places


@dataclass(frozen=True, slots=True)
class Keep:
    """Days for which samples and hourly figures are kept; daily rollups and corrections stay for ever."""

    days: int = 400
    hours: int = 3 * 365 + 1

    def __post_init__(self) -> None:
        if self.days < 62 or self.hours < self.days:
            raise ValueError("samples are kept for two months at least, and hours no shorter than samples")


KEEP = Keep()


@dataclass(frozen=True, slots=True)
class Removed:
    """files, bytes: what went; days, hours: the first days whose samples and hours are still kept."""

    files: tuple[Path, ...]
    bytes: int
    days: date
    hours: date


def retain(lake: Places, today: date, keep: Keep = KEEP) -> Removed:
    """Delete what the rule no longer keeps. Under the roll's lock. A line once drawn never moves back."""
    lines = {}
    for kind, length in (("days", keep.days), ("hours", keep.hours)):
        drawn = cut(lake.root, kind)
        lines[kind] = max(today - timedelta(days=length), drawn or date.min)
    for day in lake.hot_days():
        if day < lines["days"]:  # taken, so it counts, before its samples go
            closing.close(lake, day)
    doomed = [
        lake.path(kind, day)
        for kind, line in lines.items()
        for day in dated(lake.root / kind, ".parquet")
        if day < line and (kind != "days" or lake.path("daily", day).exists())
    ]
    if doomed:
        write_json(lake.root / "retention.json", {kind: line.isoformat() for kind, line in lines.items()})
    size = 0
    for path in doomed:
        size += path.stat().st_size
        path.unlink()
    for kind in lines:
        if (lake.root / kind).is_dir():
            sync_folder(lake.root / kind)
    return Removed(tuple(doomed), size, lines["days"], lines["hours"])
