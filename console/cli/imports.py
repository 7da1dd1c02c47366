"""``guanjia import``: usage and inventory out of files, with a count of what was taken and a place for what was not.

Exit codes: 0 everything was taken; 1 something was refused, or a file could not be used; 2 the call's words are wrong;
3 there is no such house.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from console.cli.terminal import data_option, emit, json_option, progress_bars, refusals, workbench_of
from metering.intake import Imported, ListingReport, imports
from providers.observation import Drift
from providers.readers import FORMATS, NOTES, REASONS, UNMAPPED, Convention, Refusals
from quota.errors import Invalid

SHOWN = 10
"""Places shown of each reason."""


@click.group("import")
def importing() -> None:
    """Usage and inventory out of files."""


def pool_option(command: Any) -> Any:
    return click.option("--pool", "code", required=True, metavar="CODE", help="The resource pool that they are of.")(
        command
    )


@importing.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@pool_option
@data_option
@click.option("--format", "form", type=click.Choice(sorted(FORMATS)), help="Against recognition.")
@click.option("--utc-offset", type=float, help="Hours, of times that are written without a zone.")
@click.option("--metric", help="What the values of a file with times and values alone are.")
@click.option("--prefix", default="", help="Put before every machine's name.")
@click.option("--register", is_flag=True, help="Enter machines that no listing of the pool has shown.")
@click.option("--dry-run", is_flag=True, help="Only tell what would come of it.")
@json_option
def usage(paths: tuple[Path, ...], code: str, data: str | None, as_json: bool, **options: Any) -> None:
    """Samples of utilisation: files and folders of Bitbrains, PlanetLab, CloudWatch, Google or our own CSV and Parquet."""
    hours = options["utc_offset"]
    try:
        convention = Convention(
            options["form"], None if hours is None else round(hours * 3600), options["metric"], options["prefix"]
        )
    except Invalid as wrong:
        raise click.UsageError(str(wrong)) from None
    with workbench_of(data) as workbench, refusals(), progress_bars() as progress:
        with workbench.book.reading() as tx:
            pool = imports.pool_of(tx, code)
        found = imports.import_usage(
            workbench,
            pool,
            paths,
            convention,
            register=options["register"],
            write=not options["dry_run"],
            progress=progress,
        )
    if any(one.error is not None and one.error.code in UNMAPPED for one in found.report.files):
        click.echo("say what their columns mean once, in the console: /usage-files/new", err=True)
    if as_json:
        emit(found.to_json())
    else:
        for line in lines(found):
            click.echo(line)
    sys.exit(0 if found.whole else 1)


@importing.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@pool_option
@data_option
@click.option("--dry-run", is_flag=True, help="Only tell how it differs from the book.")
@click.option("--end-missing", is_flag=True, help="What it lacks is gone, however much of the pool that is.")
@json_option
def inventory(path: Path, code: str, data: str | None, dry_run: bool, end_missing: bool, as_json: bool) -> None:
    """A listing of what runs in a pool: CSV, XLSX, Parquet or JSON.

    A listing that lacks a large part of its pool (listing_machines and listing_percent of the settings) ends nothing until
    somebody has looked, on the console's page of listings or by --end-missing here; exit code 1 says so.
    """
    with workbench_of(data) as workbench, refusals():
        with workbench.book.reading() as tx:
            pool = imports.pool_of(tx, code)
        caution = None if end_missing else workbench.caution
        found = imports.import_inventory(workbench.book, pool, path, caution=caution, write=not dry_run)
        if found.error is not None and found.error.code in UNMAPPED:
            click.echo("say what its columns mean once, in the console: /inventories/new", err=True)
        if found.drift is None:
            raise found.error or RuntimeError("nothing was entered, and nothing says why")
        drift = found.drift
    if as_json:
        told = {
            "dry_run": dry_run,
            "again": found.again,
            "as_of": drift.as_of,
            "complete": drift.complete,
            "standing": drift.standing,
            **drift.summary(),
            "missing": found.missing,
        }
        emit({"pool": code, **found.report.as_json(), **told})
    else:
        for line in read(found.report):
            click.echo(line)
        for name, figure in drift.summary().items():
            if figure:
                click.echo(f"{name:<22} {figure}")
        for line in lacking(found, drift):
            click.echo(line)
        if dry_run:
            click.echo("dry run: nothing was entered")
    sys.exit(0 if found.whole else 1)


def lacking(found: ListingReport, drift: Drift) -> Iterator[str]:
    """What the listing lacks, by name, and whether it is gone."""
    for name in found.missing[:SHOWN]:
        yield f"  missing: {name}"
    lacks = len(drift.gone) + len(drift.held)
    if lacks > SHOWN:
        yield f"  … and {lacks - SHOWN} more"
    if drift.held:
        yield (
            f"held: it lacks {len(drift.held)} of the {drift.standing} machines that stand in the pool; none of them is gone "
            "until somebody has looked, on the console's page of listings or by --end-missing"
        )


def lines(found: Imported) -> Iterator[str]:
    """The report for a terminal."""
    yield from read(found.report)
    yield f"{found.pool}: {found.samples:,} samples in the lake" + ("" if found.written else ", nothing new")
    if found.registered:
        yield f"{found.registered} machines registered"
    for reason, count in sorted(found.refused.items()):
        yield f"refused by the lake: {reason} {count:,}"
    for name, count in found.unknown.most_common(SHOWN):
        yield f"unknown machine: {name}, {count:,} samples"
    if len(found.unknown) > SHOWN:
        yield f"… and {len(found.unknown) - SHOWN} more machines"


def read(report: Refusals) -> Iterator[str]:
    """What came of the files: a line each, then every reason with its places."""
    for one in report.files:
        yield (
            f"{one.file} ({one.format or '?'}): {one.rows:,} rows, {one.taken:,} taken, {one.duplicates:,} repeated, "
            f"{one.refused:,} refused, {one.values_refused:,} values refused"
        )
        if one.error is not None:
            yield f"  refused whole: {one.error}"
        for note in one.notes:
            yield f"  {NOTES[note.code] % note.params if note.params else NOTES[note.code]}"
        for reason, count in sorted(one.reasons.items()):
            yield f"  {reason} {REASONS.get(reason, '')}: {count:,}"
            for example in [each for each in one.examples if each.reason == reason][:SHOWN]:
                parts = (example.file, example.sheet or None, example.line, example.column)
                where = ":".join(str(part) for part in parts if part is not None)
                yield f"    {where} {example.header or ''} {example.text!r}"
