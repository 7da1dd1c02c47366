"""A search over settings of the cost quantile on one past: which of a thousand would have kept most promises at which saving.

The past is laid down once beside the results, so that a search that goes on another day goes on on the same. Each setting is judged as it
would be carried out, by a process of its own, and written down when it is done: whoever is killed loses what was under way, and nothing else.
Settings come in an order of their own that does not hang on how many are wanted: more of them later are the same and more.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from metering import drawings
from metering.series import MachineSeries
from metering.sizing import MARKS, backtest
from metering.workbench import Progress, silent

AT_ONCE = 40
"""Settings that a process judges at a time, over each part of the past, side by side: some seconds of work, lost where it is killed."""

REGRETS = (1.0, 640.0)
HALF_LIVES = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
MARGINS = (1.0, 1.05, 1.1, 1.15, 1.2, 1.3)
SPEEDS = ("", "+fast", "+swift", "+prompt")

COLUMNS = ("starts", "slot", "cpu", "cores")


@dataclass(frozen=True, slots=True)
class Tried:
    """A setting by the name that a policy's sizing has, and its marks as carried out."""

    name: str
    marks: Mapping[str, float]

    @property
    def hurt(self) -> float:
        return float(self.marks["violation_rate"])

    @property
    def saved(self) -> float:
        return float(self.marks["net_cores_saved_share"])


def settings(count: int) -> list[str]:
    """The first ``count`` settings, all different: regrets evenly over their magnitudes, the others drawn."""
    draw, found = Random(20_261_130), dict[str, None]()  # noqa: S311 - settings, no secrets
    low, high = (float(np.log(one)) for one in REGRETS)
    while len(found) < count:
        regret = float(np.exp(draw.uniform(low, high)))
        told = f"{regret:.3g}" if regret < 100 else f"{regret:.0f}"
        half, margin, speed = draw.choice(HALF_LIVES), draw.choice(MARGINS), draw.choice(SPEEDS)
        found[f"steward-L{told}-h{half:g}-m{margin:g}{speed}"] = None
    return list(found)


def lay_down(folder: Path, parts: Iterable[MachineSeries]) -> None:
    """Keep a past in ``folder``, part by part; nothing where one is kept there. A past that was half kept is kept anew."""
    if (folder / "whole").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.npz"):
        old.unlink()
    told = hashlib.sha256()
    for number, part in enumerate(parts):
        columns = {name: getattr(part, name) for name in COLUMNS}
        names = np.array(part.names)
        np.savez(folder / f"{number:05d}.npz", names=names, dataset=np.array(part.dataset), **columns)
        for each in (names, *columns.values()):
            told.update(np.ascontiguousarray(each).tobytes())
    (folder / "whole").write_text(told.hexdigest(), "ascii")


def kept(folder: Path) -> Iterator[MachineSeries]:
    """The parts of a past that was laid down."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as part:
            columns = {name: part[name] for name in COLUMNS}
            yield MachineSeries(str(part["dataset"]), tuple(part["names"].tolist()), **columns)


def search(
    folder: Path, count: int, *, workers: int = 1, shapes: Sequence[float] | None = None, progress: Progress = silent
) -> list[Tried]:
    """Judge the first ``count`` settings on the past in ``folder``, those that were judged before not again. Raises ValueError for
    results of another past or of other shapes, and where no machine has samples enough."""
    wanted = settings(count)
    results = folder / "results.jsonl"
    head = {"past": (folder / "whole").read_text("ascii"), "shapes": list(shapes) if shapes else None}
    done = _read(results, head)
    left = [name for name in wanted if name not in done]
    size = max(1, min(AT_ONCE, -(-len(left) // workers)))
    chunks = [left[start : start + size] for start in range(0, len(left), size)]
    with results.open("a", encoding="utf-8") as out:
        if results.stat().st_size == 0:
            _write(out, head)
        for told in _judged(folder, chunks, shapes, workers):
            for name, marks in told.items():
                done[name] = marks
                _write(out, {"name": name, "marks": marks})
            progress("search", sum(name in done for name in wanted), count)
    return [Tried(name, done[name]) for name in wanted]


def _judged(
    folder: Path, chunks: Sequence[Sequence[str]], shapes: Sequence[float] | None, workers: int
) -> Iterator[dict[str, dict[str, float]]]:
    if workers <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            yield judge(folder, chunk, shapes)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(judge, [folder] * len(chunks), chunks, [shapes] * len(chunks))


def judge(folder: Path, names: Sequence[str], shapes: Sequence[float] | None) -> dict[str, dict[str, float]]:
    """Setting → its marks as carried out on the past in ``folder``."""
    carried = {name: backtest.carrying(backtest.policy(name)) for name in names}
    found = backtest.run_parts(kept(folder), list(carried.values()), shapes=shapes)
    marks = {name: found[one.name].summary() for name, one in carried.items()}
    return {name: {mark: float(each[mark]) for mark in (*MARKS, "caused_rate")} for name, each in marks.items()}


def _read(results: Path, head: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """What was judged before; a last line that was never finished is cut off."""
    if not results.exists():
        return {}
    raw = results.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) < len(raw):
        with results.open("r+b") as out:
            out.truncate(len(whole))
    rows = [json.loads(line) for line in whole.splitlines()]
    if rows and rows[0] != head:
        raise ValueError(f"{results} has the results of another past or of other shapes")
    return {row["name"]: row["marks"] for row in rows[1:]}


def _write(out: Any, row: Mapping[str, Any]) -> None:
    out.write(json.dumps(row) + "\n")
    out.flush()
    os.fsync(out.fileno())


def frontier(tried: Sequence[Tried]) -> list[Tried]:
    """Those that no other beats in both violations and saving, from safest to thriftiest; of equals the first."""
    best: list[Tried] = []
    for one in sorted(tried, key=lambda each: (each.hurt, -each.saved)):
        if not best or one.saved > best[-1].saved:
            best.append(one)
    return best


def drawn(title: str, tried: Sequence[Tried]) -> str:
    """Every setting as a point, the frontier joined and named, as SVG."""
    best = {one.name for one in frontier(tried)}
    points = [
        drawings.FrontierPoint(
            one.name if one.name in best else "",
            100 * one.hurt,
            100 * one.saved,
            ours=one.name in best,
            best=one.name in best,
        )
        for one in tried
    ]
    return drawings.frontier(title, points)


__all__ = ["Tried", "drawn", "frontier", "judge", "kept", "lay_down", "search", "settings"]
