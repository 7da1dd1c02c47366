"""``python -m benchmarks [--only NAME …] [--rounds N] [--json] [--write FILE]``: measure, and print the table.

``--beside CHECKOUT``: this build's figures beside those of another build of ours, instead of others' libraries.

``python -m benchmarks city --resources N --data FOLDER``: a city of any size (benchmarks/cities.py)."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks import cities, harness
from console.settings import Settings
from quota.errors import Refused


def main() -> int:
    if sys.argv[1:2] == ["city"]:
        return city(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=harness.__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these works alone")
    parser.add_argument("--list", action="store_true", help="the names of the works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, help="write the table to this Markdown file, too")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another build of ours, with its .venv")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for module in sorted(found.name for found in pkgutil.iter_modules(benchmarks.__path__)):
        if module.startswith("bench_"):
            importlib.import_module(f"benchmarks.{module}")
    if options.one:
        name, contender, home = options.one
        print(json.dumps(harness.one(name, contender, Path(home))))
        return 0
    if options.list:
        print("\n".join(f"{found.name:<24} {found.title}" for found in harness.WORKS.values()))
        return 0
    strangers = set(options.only or ()) - set(harness.WORKS)
    if strangers:
        parser.error(f"no such work: {', '.join(sorted(strangers))}; see --list")
    there = harness.known(options.beside.resolve()) if options.beside else set(harness.WORKS)
    rows: list[dict[str, Any]] = []
    broken: list[str] = []
    for found in harness.WORKS.values():
        if options.only and found.name not in options.only:
            continue
        if found.name not in there:
            say(f"{found.name}: the other build has no such work")
            continue
        try:
            if options.beside:
                figures = harness.measure_beside(found, options.beside.resolve(), options.rounds, say)
            else:
                figures = harness.measure(found, options.rounds, say)
        except harness.Broken as error:
            # The others are still worth an hour; but a table with a hole is not written, and the exit code says so.
            print(error, file=sys.stderr)
            broken.append(found.name)
            continue
        measured = [row for row in harness.rows(found, figures) if not (options.beside and "absent" in row)]
        say("\n".join(drawn(measured)))  # what was measured stays known whatever becomes of the rest
        rows += measured
    print(json.dumps(rows, ensure_ascii=False, indent=1) if options.json else table(rows))
    if broken:
        print(f"not measured: {', '.join(broken)}", file=sys.stderr)
        return 1
    if options.write:
        options.write.write_text(table(rows) + "\n", encoding="utf-8")
    return 0


def city(words: list[str]) -> int:
    """Found a city of so many resources."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks city", description=cities.__doc__)
    parser.add_argument("--resources", type=int, required=True, metavar="N")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="where its house is to stand")
    parser.add_argument("--database", default="", metavar="URL", help="an empty PostgreSQL database for its book")
    parser.add_argument("--months", type=int, default=cities.MONTHS, help="closed ones, each with a statement")
    parser.add_argument("--nights", type=int, default=cities.NIGHTS, help="judged mornings, the last is today's")
    parser.add_argument(
        "--bare", action="store_true", help="what there is alone: no samples, requests, statements, cases"
    )
    options = parser.parse_args(words)
    options.data.mkdir(parents=True, exist_ok=True)
    try:
        plan = cities.CityPlan(options.resources, options.months, options.nights, lived=not options.bare)
        cities.found(Settings(data=options.data.resolve(), database=options.database), plan, say=say)
    except (ValueError, Refused) as wrong:
        parser.error(str(wrong))
    return 0


def say(line: str) -> None:
    """A line of progress, beside the table."""
    print(line, file=sys.stderr)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, with the machine in words."""
    lines = [
        "# Measured",
        "",
        f"`make bench` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} shared cores ({platform.machine()}), "
        f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB, Python "
        f"{platform.python_version()}. Medians; each contender in a fresh process, in turn. «×» says how many times as "
        "much time (or size) a unit costs there as here: over 1, ours is better; «CPU ×» the same of processor time, "
        "getting ready included.",
        "",
        "| work | who | units | seconds | units/s | peak MB | × | CPU s | CPU × | reach | met |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|---|---|",
    ]
    return "\n".join([*lines, *drawn(rows)])


def drawn(rows: list[dict[str, Any]]) -> list[str]:
    """A line of the table for each row."""
    lines = []
    for row in rows:
        if "absent" in row:
            lines.append(f"|  | {row['contender']} | not run: {row['absent']} |  |  |  |  |  |  |  |  |")
            continue
        rate = "" if row["rate"] is None else f"{row['rate']:,.0f}"
        met = {True: "yes", False: "**no**", None: ""}[row["met"]]
        lines.append(
            f"| {row['title'] if row['ours'] else ''} | {row['contender']} | {row['units']:,.4g} {row['unit']} "
            f"| {row['seconds']:.3f} | {rate} | {row['megabytes']:,.0f} | {row['ratio']:.2f} "
            f"| {row['processor_s']:.1f} | {row['processor_ratio']:.2f} | {row['reach'] or ''} | {met} |"
        )
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
