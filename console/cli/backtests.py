"""Backtests for the command line: of a trace file, of the city's own lake, of every published trace as a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metering.judging import default, policies
from metering.simulation import growth_replays, history, search
from metering.sizing import MARKS, backtest, report, shapes, traces
from metering.workbench import Progress, Workbench
from quota.actors import steward
from quota.calendar import ZONE

ALWAYS = (*MARKS, "caused_rate")


def of_trace(path: str, names: Sequence[str], catalogue: str | None = None, detail: bool = False) -> dict[str, Any]:
    """What ``names`` would have done on a trace file. Raises ValueError, KeyError or OSError naming what is wrong."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    series = traces.load(file)
    cores = _cores(catalogue)
    if cores and not series.cores_known:
        raise ValueError(f"{file.name} does not say how many cores a machine has: shapes can't be tried on it")
    carried = {name: backtest.carrying(backtest.policy(name)) for name in names}
    results = backtest.run(series, [*names, *carried.values()], shapes=cores)
    told = report(
        series.dataset,
        {name: results[name] for name in names},
        worst=10 if detail else 0,
        detail=detail,
        caused=cores is not None,
        carried={name: results[one.name] for name, one in carried.items()},
    )
    return _with_growths(told, growth_replays.of_series(series, default()))


def _with_growths(told: dict[str, Any], growths: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Beside the policies' sizes what grows within the day besides CPU, whichever of them holds, by gauge (`GrowthReplay.to_json`); where that
    is known."""
    return {**told, "growths": growths} if growths else told


def of_lake(
    workbench: Workbench, names: Sequence[str], catalogue: str | None, days: int, progress: Progress
) -> dict[str, Any]:
    """What ``names`` would have done in the city's own past, beside the sizing in force, by department and system."""
    with workbench.book.reading(steward("replay")) as tx:
        today = workbench.book.clock().astimezone(ZONE).date()
        policy = policies.in_force(tx, today).policy()
    against = policy.sizing
    past = history.past(workbench, days)
    chosen = list(dict.fromkeys([*names, against]))
    cores = _cores(catalogue)
    carried = {name: backtest.carrying(backtest.policy(name)) for name in chosen}
    results = backtest.run_parts(
        history.parts(workbench, past),
        [*chosen, *carried.values()],
        shapes=cores,
        utc_offset_s=workbench.lake.utc_offset_s,
        progress=lambda done: progress("replay", done, len(past.cores)),
    )
    first = next(iter(results.values()))
    told = report(
        "lake",
        {name: results[name] for name in chosen},
        past.grouped(first.names),
        worst=10,
        detail=True,
        caused=cores is not None,
        against=against,
        carried={name: results[one.name] for name, one in carried.items()},
    )
    return _with_growths(told, growth_replays.of_policy(workbench, policy, past))


def searched(
    past: Iterator[Any] | None, folder: Path, count: int, workers: int, catalogue: str | None, progress: Progress
) -> dict[str, Any]:
    """The first ``count`` settings judged on the past that is kept in ``folder``, laid down there first where it is not; the drawing beside
    it. Raises ValueError for results of another past."""
    if past is not None:
        search.lay_down(folder, past)
    tried = search.search(folder, count, workers=workers, shapes=_cores(catalogue), progress=progress)
    best = search.frontier(tried)
    drawing = folder / "frontier.svg"
    drawing.write_text(search.drawn(f"{len(tried)} settings: saved against violations, as carried out", tried), "utf-8")
    return {
        "settings": len(tried),
        "drawing": str(drawing),
        "frontier": [{"name": one.name, **one.marks} for one in best],
    }


def _cores(catalogue: str | None) -> list[float] | None:
    return sorted({float(one.vcpu) for one in shapes.read(catalogue)}) if catalogue else None


def plain(told: dict[str, Any], *, caused: bool) -> dict[str, Any]:
    """Of a report, what every backtest says: {"dataset", "vms", "policies": {name: marks and "as_carried_out": marks}}; caused: on
    whole shapes."""
    kept = ALWAYS if caused else MARKS

    def marks(all_marks: dict[str, Any]) -> dict[str, Any]:
        return {mark: all_marks[mark] for mark in kept if mark in all_marks}

    return {
        "dataset": told["dataset"],
        "vms": told["vms"],
        "policies": {
            name: {**marks(one), "as_carried_out": marks(one["as_carried_out"])}
            for name, one in told["policies"].items()
        },
    }


def lines(told: dict[str, Any]) -> Iterator[str]:
    """Two lines a policy, for a terminal: as it is carried out, and as if demand were seen in full; the one in force is marked."""
    yield f"{told['dataset']}: {told['vms']} machines"
    for name, marks in told["policies"].items():
        against = marks.get("against_in_force")
        beside = f"  {against['net_cores_saved_share']:+.2%} to the one in force" if against else ""
        yield f"{'* ' if name == told.get('in_force') else '  '}{name:<24} {_line(marks['as_carried_out'])}"
        yield f"  {'  demand seen in full':<24} {_line(marks)}{beside}"
    for gauge, marks in told.get("growths", {}).items():
        yield (
            f"  {gauge + ' within the day':<24} {marks['resources']} resources  at the line {marks['full_share']:.4%}, with growth "
            f"{marks['left_share']:.4%}  grown {marks['growths']}  returned {marks['returned']}  lent {marks['lent_share']:.2%}"
        )


def _line(marks: dict[str, Any]) -> str:
    caused = f"  caused {marks['caused_rate']:.4%}" if "caused_rate" in marks else ""
    return (
        f"violations {marks['violation_rate']:.4%}{caused}"
        f"  saved {marks['net_cores_saved_share']:.2%}  unserved {marks['unserved_share_of_demand']:.4%}"
        f"  over 1 % {marks['vms_violating_over_1pct']}  over 5 % {marks['vms_violating_over_5pct']}"
        f"  changes/30d {marks['changes_per_vm_30d']:.2f}  moves/30d {marks['moves_per_vm_30d']:.2f}"
    )


def document(folder: str, write: str, progress: Progress) -> None:
    """Every trace of ``folder`` backtested, written as Markdown to ``write`` with its charts beside it."""
    from metering.simulation import judgement_report

    judgement_report.write(Path(folder), Path(write), progress)
