"""Samples as exporters would have given them, laid into a real Prometheus: history of hours, there at once."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metering.intake import signals
from metering.intake.folding import fold
from metering.intake.signals import POINTS, Points
from tests.patience import answered, ended, free_port


@dataclass(slots=True)
class Series:
    """One series: its labels, its name among them, and (ms, value) in order."""

    labels: Mapping[str, str]
    points: list[tuple[int, float]] = field(default_factory=list)


def text(every: Sequence[Series]) -> Iterator[str]:
    """OpenMetrics, a family after the other. Counters are those that end in _total."""
    families: dict[str, list[Series]] = {}
    for one in every:
        families.setdefault(one.labels["__name__"], []).append(one)
    for name, members in families.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        yield f"# TYPE {name.removesuffix('_total')} {kind}\n"
        for one in members:
            labels = ",".join(f'{key}="{value}"' for key, value in one.labels.items() if key != "__name__")
            for ts, value in one.points:
                yield f"{name}{{{labels}}} {value!r} {ts / 1000:.3f}\n"
    yield "# EOF\n"


@contextmanager
def prometheus(folder: Path, every: Sequence[Series]) -> Iterator[str]:
    """The address of a Prometheus that holds these series."""
    file, store = folder / "exposition.txt", folder / "tsdb"
    with file.open("w") as out:
        out.writelines(text(every))
    # A block after the other it reads all of the file: one block for all of the time.
    command = [
        "promtool",
        "tsdb",
        "create-blocks-from",
        "--max-block-duration=504h",
        "openmetrics",
        str(file),
        str(store),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "empty.yml").write_text("{}")
    port = free_port()
    running = subprocess.Popen(
        [
            "prometheus", f"--config.file={folder / 'empty.yml'}", f"--storage.tsdb.path={store}",
            f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with ended(running):
        answered(f"http://127.0.0.1:{port}/-/ready")
        yield f"http://127.0.0.1:{port}"


Slots = dict[tuple[int, int], dict[str, float]]
"""(machine, start of the slot) → what is told of it."""


def pushed(
    every: Sequence[Series],
    machine: Callable[[Mapping[str, str]], int],
    begin: int,
    end: int,
    step: int,
    late: Callable[[Mapping[str, str], int], bool] | None = None,
) -> Slots:
    """What remote-write says of these samples, of the slots between ``begin`` and ``end`` (s). ``machine``: of labels;
    ``late``: of labels and a moment (ms), whether the sample comes when the others have been folded."""
    columns: dict[str, list[float]] = {name: [] for name in POINTS.names}
    after: list[bool] = []
    for one in every:
        signal = signals.recognise(one.labels)
        if signal is None:
            continue
        number = machine(one.labels)
        factor = signals.scale(one.labels, signal) or 1.0
        series = signals.number(json.dumps(dict(one.labels)))
        about = number, signal, series, signals.number(signals.place(one.labels))
        count = len(one.points)
        for name, cell in zip(POINTS.names, about, strict=False):
            columns[name] += [cell] * count
        columns["ts"] += [ts for ts, _value in one.points]
        columns["value"] += [value * factor for _ts, value in one.points]
        columns["folded"] += [False] * count
        after += [late is not None and late(one.labels, ts) for ts, _value in one.points]
    table = pa.table({name: pa.array(cells, POINTS.field(name).type) for name, cells in columns.items()}, schema=POINTS)
    which = pa.array(after, pa.bool_())
    first = fold(Points.of(table.filter(pc.invert(which))), step, end * 1000, begin * 1000, habits={})
    found = figures(first.samples, begin, end)
    if any(after):
        folded = first.points.table(np.ones(len(first.points), bool), first.points.folded)
        every_point = Points.of(pa.concat_tables([folded, table.filter(which)]))
        again = fold(every_point, step, end * 1000, end * 1000, habits=first.habits)
        found |= figures(again.samples, begin, end)
    return found


def figures(samples: pa.Table, begin: int, end: int) -> Slots:
    """What samples tell, of the slots between ``begin`` and ``end`` (s)."""
    return {
        (row["resource"], row["ts"]): {
            name: value
            for name, value in row.items()
            if name not in ("resource", "ts") and value is not None and not math.isnan(value)
        }
        for row in samples.to_pylist()
        if begin <= row["ts"] < end
    }
