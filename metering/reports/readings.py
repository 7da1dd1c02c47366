"""What an edition rests on in the lake: how much its machines were used, kept as a file of the lake beside the edition.

Late samples change closed days, and a lake does not tell how a day stood before. Whoever makes an edition again, of what was known
by the same moment, has the figures from this file, so that it comes out the same also where the book has lost the edition itself.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from metering.lake import Damaged, make_folder, room, write_whole
from metering.overview import usage_reports
from quota.seals import sm3

if TYPE_CHECKING:
    from metering.reports.periods import ReportPeriod
    from metering.reports.scopes import ReportScope
    from quota.calendar import WorkingDays

FOLDER = "editions"
FIGURES = ("cpu_mean", "cpu_p95", "cpu_top", "mem_mean", "mem_p95")
COUNT = "cpu_n"
WINDOWS = b"windows"


@dataclass(frozen=True)
class MachineReadings:
    """Machines over some days: ``figures``, by name (``FIGURES``, per cent, NaN: not known; ``COUNT``: samples of CPU), in the
    order of ``ids``; ``step_s``: seconds of a sample."""

    ids: Any
    figures: Mapping[str, Any]
    step_s: int


@dataclass
class LakeReadings:
    """What one edition has from the lake: read there, or, where ``kept`` is given, what its file holds and nothing else.
    None stands for days of which the lake has no closed one."""

    lake: str
    path: Path
    kept: bytes | None = None
    windows: dict[tuple[date, date], MachineReadings | None] = field(default_factory=dict)

    def of(self, period: ReportPeriod, calendar: WorkingDays, ids: Iterable[int]) -> MachineReadings | None:
        """Those of the machines ``ids``. Raises Damaged where the file has nothing of these days."""
        key = period.first, period.last
        if key not in self.windows:
            if self.kept is not None:
                raise Damaged(self.path, f"nothing of {period.code}")
            self.windows[key] = _read(self.lake, period, calendar, ids)
        return self.windows[key]

    @cached_property
    def content(self) -> bytes:
        """The file; asked for when all of it was read."""
        return self.kept if self.kept is not None else _written(self.windows)

    def told(self) -> dict[str, Any]:
        """How the edition names it."""
        rows = sum(len(one.ids) for one in self.windows.values() if one is not None)
        return {"file": self.path.name, "rows": rows, "digest": sm3(self.content).hex()}

    def keep(self) -> None:
        """Write the file, durable before the book names it. Raises LakeFull."""
        if self.kept is None:
            with room():
                make_folder(self.path.parent)
                write_whole(self.path, self.content)


def readings(lake: str, scope: ReportScope, period: ReportPeriod, known_at: datetime) -> LakeReadings:
    """Of an edition of what was known at ``known_at``: from its file where there is one. Raises Damaged."""
    known = known_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    path = Path(lake) / FOLDER / f"{scope.kind.value}-{scope.id}-{period.first}-{period.last}-{known}.parquet"
    if not path.is_file():
        return LakeReadings(lake, path)
    try:
        content = path.read_bytes()
        return LakeReadings(lake, path, content, _parsed(content))
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise Damaged(path, str(error)) from error


def fault(lake: Path, told: Mapping[str, Any]) -> str | None:
    """What is wrong with a file that an edition names (``LakeReadings.told``); None where nothing is."""
    path = lake / FOLDER / Path(told["file"]).name
    if not path.is_file():
        return f"{FOLDER}/{path.name} is missing"
    return None if sm3(path.read_bytes()).hex() == told["digest"] else f"{FOLDER}/{path.name} does not match its digest"


def _read(lake: str, period: ReportPeriod, calendar: WorkingDays, ids: Iterable[int]) -> MachineReadings | None:
    try:
        found = usage_reports.near(lake, period.first, period.last, calendar)
    except (LookupError, FileNotFoundError):
        return None
    mine = np.isin(found.ids, np.fromiter(ids, np.int64))
    figures = {
        f"{name}_{figure}": np.asarray(getattr(usage, figure))[mine].astype(np.int64 if figure == "n" else np.float64)
        for name, usage, wanted in (
            ("cpu", found.cpu, ("mean", "p95", "top", "n")),
            ("mem", found.mem, ("mean", "p95")),
        )
        for figure in wanted
    }
    return MachineReadings(found.ids[mine], figures, usage_reports.step_s(lake))


def _written(windows: Mapping[tuple[date, date], MachineReadings | None]) -> bytes:
    order = sorted(windows.items())
    parts = [(at, one) for at, (_days, one) in enumerate(order) if one is not None]

    def column(kind: Any, values: Any) -> Any:
        return np.concatenate([np.zeros(0, kind), *values]).astype(kind)

    table = pa.table(
        {
            "window": column(np.int8, [np.full(len(one.ids), at) for at, one in parts]),
            "resource": column(np.int32, [one.ids for _at, one in parts]),
            **{name: column(np.float64, [one.figures[name] for _at, one in parts]) for name in FIGURES},
            COUNT: column(np.int64, [one.figures[COUNT] for _at, one in parts]),
        }
    )
    days = [[first.isoformat(), last.isoformat(), one.step_s if one else None] for (first, last), one in order]
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({WINDOWS: json.dumps(days)}), out, compression="zstd")
    return out.getvalue()


def _parsed(content: bytes) -> dict[tuple[date, date], MachineReadings | None]:
    table = pq.read_table(io.BytesIO(content))
    columns = {name: table.column(name).to_numpy() for name in ("window", "resource", *FIGURES, COUNT)}
    found: dict[tuple[date, date], MachineReadings | None] = {}
    for at, (first, last, step_s) in enumerate(json.loads(table.schema.metadata[WINDOWS])):
        mine = columns["window"] == at
        figures = {name: columns[name][mine] for name in (*FIGURES, COUNT)}
        key = date.fromisoformat(first), date.fromisoformat(last)
        found[key] = None if step_s is None else MachineReadings(columns["resource"][mine], figures, int(step_s))
    return found
