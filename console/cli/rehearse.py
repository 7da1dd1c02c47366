"""``guanjia rehearse``: the whole loop on a recording of real machines, in a scratch house that is thrown away.

What it prints and writes depends on the recording alone: no clock on the wall, no random figure, no path of this machine.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from datetime import datetime, time
from pathlib import Path
from typing import Any

import click

from console.cli.terminal import emit, json_option, progress_bars, refusals
from console.schema import upgrade
from metering.judging import BUILT_IN
from metering.lake import Lake
from metering.simulation import rehearsal, rehearsal_report
from metering.workbench import Progress, Workbench
from providers.adapters.recorded import Recording
from providers.readers import PLAIN, Refusals, find_usage, read_usage_files, unusable
from quota.calendar import ZONE
from quota.db import Book


@click.command("rehearse")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--rule", type=click.Choice(sorted(BUILT_IN)), default="default", show_default=True)
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="This Markdown file, JSON beside it.")
@json_option
def rehearse(path: Path, rule: str, write: Path | None, as_json: bool) -> None:
    """The whole loop on a file or folder of usage: book, import, judge, hear, act, and see what came of it.

    In a scratch book and lake, on the recording's own clock. --rule reference judges the whole span by fixed bounds.
    """
    with refusals(), progress_bars() as progress:
        report = rehearsed(path, rule, progress)
    if write is not None:
        write.parent.mkdir(parents=True, exist_ok=True)
        write.write_text("\n".join(page(report)) + "\n", encoding="utf-8")
        write.with_suffix(".json").write_text(_spelled(report) + "\n", encoding="utf-8")
    if as_json:
        emit(report)
    else:
        for line in lines(report):
            click.echo(line)
    sys.exit(0 if report["conserved"] else 1)


def rehearsed(path: Path, rule: str, progress: Progress) -> dict[str, Any]:
    """The report of a rehearsal on ``path``. Raises Invalid where nothing in it can be used."""
    taken = Refusals()
    files = find_usage(path, taken)
    read = iter(range(1, len(files) + 1))
    recording = Recording(
        read_usage_files(files, taken, PLAIN, progress=lambda _file, _bytes: progress("read", next(read), len(files)))
    )
    if not len(recording):
        raise taken.failed[0].error if taken.failed and taken.failed[0].error else unusable("file.no_rows", path.name)
    first = datetime.combine(recording.span[0].astimezone(ZONE).date(), time(), ZONE)
    clock = rehearsal.RehearsalClock(first)
    with tempfile.TemporaryDirectory(prefix="guanjia-rehearsal-") as folder:
        home = Path(folder)
        book = Book(f"sqlite:///{home / 'book.db'}", clock=clock, lasting=False)
        try:
            upgrade.lay_scratch(book)
            workbench = Workbench(book, Lake(home / "lake"), home)
            done = rehearsal.rehearse(workbench, clock, recording, rule=rule, progress=progress)
            found = rehearsal_report.report(workbench, done)
        finally:
            book.dispose()
    return {"path": path.name, "rules": list(rehearsal.RULES), **found, "input": taken.as_json(5)}


def _spelled(report: dict[str, Any]) -> str:
    return json.dumps(report, ensure_ascii=False, indent=1, default=str)


def lines(report: dict[str, Any]) -> Iterator[str]:
    """A short account for a terminal."""
    yield f"{report['path']}: {report['vms']} machines, {report['samples']:,} samples, {' .. '.join(report['span'])}"
    for verdict, count in report["classes"].items():
        yield f"  {verdict:<12} {count}"
    yield f"recovered {report['recovered_vcpu']} vCPU, {report['recovered_memory_gb']:g} GB"
    yield f"expanded  {report['expanded_vcpu']} vCPU, {report['expanded_memory_gb']:g} GB"
    yield f"regret    {_percent(report['regret_rate'])} of {report['regret']['shrunk']} shrunk machines"
    yield f"ledger    {'conserved' if report['conserved'] else 'NOT CONSERVED'}, asked {report['ledger_checks']} times"


def page(report: dict[str, Any]) -> Iterator[str]:
    """The report as Markdown: the first page that a sceptic reads."""
    for section in (_intro, _in_short, _judged, _became, _ceilings, _scorecards, _read, _rules, _days):
        yield from section(report)


def _intro(report: dict[str, Any]) -> Iterator[str]:
    option = "" if report["rule"] == "default" else f" --rule {report['rule']}"
    yield "# The whole loop on real machines"
    yield ""
    yield (
        f"{report['vms']} machines, {report['samples']:,} samples, {report['span'][0]} to {report['span'][1]}. Made by "
        "one command, which gives the same page and figures again:"
    )
    yield ""
    yield "```"
    yield f"guanjia rehearse {report['path']}{option} --write docs/rehearsal.md"
    yield "```"
    yield ""
    yield "All figures are in [rehearsal.json](rehearsal.json). The book and the lake are scratch; the verbs are the product's."
    yield ""


def _in_short(report: dict[str, Any]) -> Iterator[str]:
    regret = report["regret"]
    yield "## In short"
    yield ""
    yield from _table(
        ("", ""),
        [
            ("Recovered", f"{report['recovered_vcpu']} vCPU, {report['recovered_memory_gb']:g} GB"),
            ("Expanded", f"{report['expanded_vcpu']} vCPU, {report['expanded_memory_gb']:g} GB"),
            (
                "Regret",
                f"{regret['hit_ceiling']} of {regret['shrunk']} shrunk machines ({_percent(report['regret_rate'])}) would "
                f"have reached their new ceiling at least once from {regret['since']} on",
            ),
            (
                "How badly",
                f"{regret['quarter_hour_at_ceiling']} for a quarter of an hour or longer; {_percent(regret['share_of_slots_at_ceiling'], 3)} "
                f"of all samples at the CPU ceiling; {regret['cpu_p95_above_80_percent']} with a CPU P95 over 80 %",
            ),
            (
                "Switched off, wanted back",
                f"{len(regret['restored'])} of {regret['stopped']}{': ' if regret['restored'] else ''}"
                f"{', '.join(regret['restored'])}",
            ),
            (
                "Ledger",
                f"{'conserved' if report['conserved'] else '**NOT conserved**'}: asked after every step, "
                f"{report['ledger_checks']} times",
            ),
            *(
                (
                    f"Policy suspended itself on {one['at'][:10]}",
                    f"{one['regretted']} of {one['acted']} taken were wanted back, more than {_percent(one['limit'])}",
                )
                for one in report["suspended"]
            ),
            ("Refused as unknown", f"{report['refused']['unknown']} of {report['vms']}"),
        ],
    )
    yield ""


def _judged(report: dict[str, Any]) -> Iterator[str]:
    yield "## What the machines were judged to be"
    yield ""
    yield from _table(
        ("As of", "Classes", "Why unknown"),
        [(one["as_of"], _counted(one["classes"]), _counted(one["why_unknown"]) or "—") for one in report["judged"]],
    )
    yield ""
    if report["opened_from"]:
        yield f"Cases were opened from the last of these, on data up to {report['opened_from']}:"
    else:
        yield "No judgement knew enough for cases to be opened. The last one:"
    yield ""
    yield from _table(
        ("Class", "Machines", "vCPU", "Memory (GB)", "Coverage, mean", "least"),
        [
            (
                verdict,
                of["machines"],
                of["vcpu"],
                f"{of['memory_gb']:g}",
                _percent(of["coverage_mean"]),
                _percent(of["coverage_least"]),
            )
            for verdict, of in report["resources"].items()
        ],
    )
    yield ""
    if "classes_when_opened" in report:
        yield f"By the same rule over the whole recording, as it was recorded: {_counted(report['classes'])}."
        yield ""


def _became(report: dict[str, Any]) -> Iterator[str]:
    yield "## What became of the cases"
    yield ""
    yield from _table(
        ("Kind", "Cases", "Ended"),
        [(kind, sum(of.values()), _counted(of)) for kind, of in report["cases"].items()],
    )
    yield ""
    yield from _table(
        ("Order", "Number", "State"), [(verb, sum(of.values()), _counted(of)) for verb, of in report["orders"].items()]
    )
    yield ""
    if report["refused"]["passed_over"]:
        yield f"Findings that opened no case: {_counted(report['refused']['passed_over'])}."
        yield ""


def _ceilings(report: dict[str, Any]) -> Iterator[str]:
    regret = report["regret"]
    yield "## Machines that would have reached their new ceiling"
    yield ""
    hit = [one for one in regret["machines"] if one["hit"]]
    if hit:
        yield from _table(
            ("Machine", "From", "To", "Samples at the ceiling (CPU, memory)", "Longest run", "CPU P95", "Rolled back"),
            [
                (
                    one["machine"],
                    _shape(one["from"]),
                    _shape(one["to"]),
                    f"{one['cpu_slots_at_ceiling']}, {one['memory_slots_at_ceiling']} of {one['slots']}",
                    f"{one['longest_slots_at_ceiling'] * 5} min",
                    "—" if one["cpu_p95"] is None else f"{one['cpu_p95']:g} %",
                    "yes" if one["rolled_back"] else "no",
                )
                for one in hit
            ],
        )
    else:
        yield "None."
    yield ""


def _scorecards(report: dict[str, Any]) -> Iterator[str]:
    yield "## Scorecards"
    yield ""
    yield "From rows of the scratch book alone; an indicator without evidence is not scored and not shown."
    yield ""
    yield from _table(
        ("Company", "Month", "Total", "Grade", "Scored weight", "Marks (figure, evidence rows)"),
        [
            (
                card["company"],
                card["month"],
                "—" if card["total"] is None else f"{card['total']:g}",
                card["grade"] or "not graded",
                f"{card['scored_weight']:g}",
                "; ".join(
                    f"{name} {mark['mark']:g} ({mark['figure']:g}, {mark['evidence_rows']})"
                    for name, mark in card["marks"].items()
                )
                or "—",
            )
            for card in report["scorecards"]
        ],
    )
    yield ""


def _read(report: dict[str, Any]) -> Iterator[str]:
    yield "## What was read"
    yield ""
    given = report["input"]
    yield from _table(
        ("Rows", "Taken", "Repeated", "Refused", "Values refused"),
        [tuple(f"{given[name]:,}" for name in ("rows", "taken", "duplicates", "refused", "values_refused"))],
    )
    yield ""


def _rules(report: dict[str, Any]) -> Iterator[str]:
    yield "## Rules of the rehearsal"
    yield ""
    yield "What a recording cannot tell is settled by these rules, not by chance:"
    yield ""
    for number, rule in enumerate(report["rules"], 1):
        yield f"{number}. {rule}"
    yield ""


def _days(report: dict[str, Any]) -> Iterator[str]:
    yield "## Day by day"
    yield ""
    told = ("at", "what", "conserved")
    yield from _table(
        ("When", "What", "", "Conserved"),
        [
            (
                step["at"][:16].replace("T", " "),
                step["what"],
                _counted({name: value for name, value in step.items() if name not in told}),
                "yes" if step["conserved"] else "**no**",
            )
            for step in report["steps"]
        ],
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    head = list(head)
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"


def _counted(of: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} ({_counted(value)})" if isinstance(value, dict) else f"{name} {value}"
        for name, value in of.items()
        if value != {}
    )


def _shape(what: dict[str, float]) -> str:
    return f"{what.get('vcpu', 0):g} vCPU, {what.get('memory_gb', 0):g} GB"


def _percent(share: float | None, places: int = 1) -> str:
    return "—" if share is None else f"{share * 100:.{places}f} %"
