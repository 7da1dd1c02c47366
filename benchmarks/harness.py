"""How a claim is measured: every contender in a fresh process, in turn (A B A B …), medians and paired ratios.

A module ``benchmarks/bench_<part>.py`` calls ``work(…)`` once for each thing it measures:

    work(
        "ingest", "durable ingest, batches of 20,000 × 6", unit="values", reach=Rate(5e6),
        prepare=make_batches,
        contenders={"guanjia": ours, "PostgreSQL COPY": postgres, "SQLite": sqlite},
    )

The first contender is ours. A contender is ``run(home, watch) -> units``: it gets ready, does the work inside
``with watch:``, and returns how many units that was. ``prepare(home)`` runs once, in a process of its own; ``home`` is
an empty folder that all contenders of the work share. Peak memory is that of the contender's process (its largest
child beside it, where it has children). Processor seconds are those of the whole process and what it started, getting
ready included, less what a process needs that only reads the names of the works: on a machine that others use they say more
of two builds of ours than seconds on the clock do, and nothing of a server that ran before.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class Broken(Exception):
    """A contender failed; its work has no figures."""


class Watch:
    """Wall-clock seconds spent inside ``with watch:``, summed."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> Watch:
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._since


@dataclass(frozen=True, slots=True)
class Rate:
    """At least so many units a second."""

    at_least: float

    def met(self, figures: Figures) -> bool:
        return figures.rate >= self.at_least

    def __str__(self) -> str:
        return f"≥ {self.at_least:,.0f}/s"


@dataclass(frozen=True, slots=True)
class Within:
    """Done within so many seconds, and so much memory where given."""

    seconds: float
    megabytes: float | None = None

    def met(self, figures: Figures) -> bool:
        return figures.seconds <= self.seconds and (self.megabytes is None or figures.megabytes <= self.megabytes)

    def __str__(self) -> str:
        memory = "" if self.megabytes is None else f", ≤ {self.megabytes:,.0f} MB"
        return f"≤ {self.seconds:g} s{memory}"


@dataclass(frozen=True, slots=True)
class AtMost:
    """The count itself is what is measured (bytes a value, P95 of a page): at most so much."""

    units: float

    def met(self, figures: Figures) -> bool:
        return figures.units <= self.units

    def __str__(self) -> str:
        return f"≤ {self.units:g}"


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds of one contender."""

    units: float
    seconds: float
    megabytes: float
    runs: tuple[float, ...]  # what is compared, one a round: seconds a unit, or the count itself
    processor: tuple[float, ...]  # seconds a unit (of the whole where the count is compared), one a round

    @property
    def rate(self) -> float:
        return self.units / self.seconds if self.seconds else float("inf")


Reach = Rate | Within | AtMost
Run = Callable[[Path, Watch], float]


@dataclass(frozen=True, slots=True)
class Work:
    """One thing that is measured."""

    name: str
    title: str
    unit: str
    contenders: Mapping[str, Run]
    reach: Reach | None = None
    prepare: Callable[[Path], None] | None = None
    rounds: Mapping[str, int] = field(default_factory=dict)  # fewer for contenders that take minutes
    absent: Mapping[str, str] = field(default_factory=dict)  # who could not take part, and why: the table says it

    @property
    def counted(self) -> bool:
        """Whether the count is compared, not the time."""
        return isinstance(self.reach, AtMost)


WORKS: dict[str, Work] = {}


def work(name: str, title: str, *, unit: str, contenders: Mapping[str, Run], **rest: Any) -> None:
    """Enter a work; see the module's words."""
    if name in WORKS:
        raise ValueError(f"two works are called {name}")
    WORKS[name] = Work(name, title, unit, contenders, **rest)


def fresh(folder: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def one(name: str, contender: str, home: Path) -> dict[str, float]:
    """Run one contender of one work in this process; "prepare" prepares."""
    found = WORKS[name]
    if contender == "prepare":
        if found.prepare is not None:
            found.prepare(home)
        return {}
    gc.freeze()  # what is loaded is not walked again, as in our own processes (console.memory); for others, too
    watch = Watch()
    units = found.contenders[contender](home, watch)
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"units": float(units), "seconds": watch.seconds, "megabytes": (own + children) / 1024}


def measure(found: Work, rounds: int, say: Callable[[str], None]) -> dict[str, Figures]:
    """Every contender of a work, in turn, ``rounds`` times."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in found.contenders}
    with tempfile.TemporaryDirectory(prefix=f"guanjia-bench-{found.name}-") as folder:
        _apart(found.name, "prepare", folder)
        for number in range(rounds):
            for contender in found.contenders:
                if number < found.rounds.get(contender, rounds):
                    say(f"{found.name}: {contender}, round {number + 1}")
                    runs[contender].append(_apart(found.name, contender, folder))
    return _figures(found, runs)


def known(other: Path) -> set[str]:
    """The names of the works that another checkout has."""
    listed = subprocess.run(
        [other / ".venv/bin/python", "-m", "benchmarks", "--list"],
        cwd=other,
        env={**os.environ, "PYTHONPATH": str(other)},
        check=True,
        capture_output=True,
        text=True,
    )
    return {line.split()[0] for line in listed.stdout.splitlines() if line.strip()}


def measure_beside(found: Work, other: Path, rounds: int, say: Callable[[str], None]) -> dict[str, Figures]:
    """Ours of this checkout and ours of ``other`` (a checkout with a ``.venv``), in turn, ``rounds`` times each.

    Each prepares for itself, because what it prepares may be written differently; who begins changes from round to
    round, because the second of a pair finds the machine warm.
    """
    ours = next(iter(found.contenders))
    sides = {ours: ROOT, f"{ours} of {other.name}": other}
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory(prefix=f"guanjia-bench-{found.name}-") as folder:
        homes = {side: Path(folder, str(number)) for number, side in enumerate(sides)}
        for side, root in sides.items():
            homes[side].mkdir()
            _apart(found.name, "prepare", str(homes[side]), root)
        for number in range(rounds):
            for side in list(sides)[:: 1 if number % 2 == 0 else -1]:
                say(f"{found.name}: {side}, round {number + 1}")
                runs[side].append(_apart(found.name, ours, str(homes[side]), sides[side]))
    return _figures(found, runs)


def _figures(found: Work, runs: Mapping[str, list[dict[str, float]]]) -> dict[str, Figures]:
    return {
        contender: Figures(
            units=statistics.median(run["units"] for run in taken),
            seconds=statistics.median(run["seconds"] for run in taken),
            megabytes=max(run["megabytes"] for run in taken),
            runs=tuple(run["units"] if found.counted else run["seconds"] / run["units"] for run in taken),
            processor=tuple(run["processor"] / (1 if found.counted else run["units"]) for run in taken),
        )
        for contender, taken in runs.items()
    }


def _apart(name: str, contender: str, home: str, root: Path = ROOT) -> dict[str, float]:
    python = sys.executable if root == ROOT else str(root / ".venv" / "bin" / "python")
    command = [python, "-m", "benchmarks", "--one", name, contender, home]
    # A checkout's own modules, whatever is installed in the environment that runs them.
    environment = {**os.environ, "PYTHONPATH": str(root)}
    before = _processor_s()
    done = subprocess.run(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Broken(f"{name}: {contender} failed with exit code {done.returncode}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**result, "processor": max(_processor_s() - before - _reading_names_s(root), 0.01)}


def _processor_s() -> float:
    """What processes that were started and have ended used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@cache
def _reading_names_s(root: Path) -> float:
    """Processor seconds of a process of that checkout that does no work."""
    taken = []
    for _ in range(3):
        before = _processor_s()
        known(root)
        taken.append(_processor_s() - before)
    return min(taken)


def rows(found: Work, figures: Mapping[str, Figures]) -> Iterable[dict[str, Any]]:
    """One row a contender: figures, and how many times ours is better (the median of paired rounds)."""
    ours = next(iter(figures.values()))
    for contender, its in figures.items():
        pairs = zip(its.runs, ours.runs, strict=False)
        worked = zip(its.processor, ours.processor, strict=False)
        yield {
            "work": found.name,
            "title": found.title,
            "contender": contender,
            "ours": its is ours,
            "unit": found.unit,
            "units": its.units,
            "seconds": its.seconds,
            "rate": None if found.counted else its.rate,
            "megabytes": its.megabytes,
            "ratio": statistics.median(theirs / mine for theirs, mine in pairs),
            "processor_s": statistics.median(its.processor) * (1 if found.counted else its.units),
            "processor_ratio": statistics.median(theirs / mine for theirs, mine in worked),
            "reach": str(found.reach) if its is ours and found.reach else None,
            "met": found.reach.met(its) if its is ours and found.reach else None,
            "rounds": len(its.runs),
        }
    for contender, why in found.absent.items():
        yield {"work": found.name, "title": found.title, "contender": contender, "ours": False, "absent": why}
