"""Samples as exporters would have given them, laid into a real Prometheus: history of hours, there at once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(file), str(store)]
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
