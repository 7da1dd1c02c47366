"""``guanjia lake``: what the lake holds, whether it is whole, and what keeps it so."""

from __future__ import annotations

import sys
from datetime import date
from typing import Any

import click

from console.cli.terminal import data_option, emit, json_option, progress_bars, refusals, settings_of, workbench_of
from metering.lake import Damaged, Lake


@click.group()
def lake() -> None:
    """The lake of samples: status, closing, checking, keeping, mending."""


def register(main: click.Group) -> None:
    """Make ``lake`` a command of ``main``."""
    main.add_command(lake)


def _days(lake: Lake, today: date) -> list[date]:
    return [day for day in lake.hot_days() if day < today]


@lake.command()
@data_option
@json_option
def status(data: str | None, as_json: bool) -> None:
    """Days, files, sizes, sources and when each last reported."""
    from metering.intake import reporters

    with workbench_of(data) as workbench:
        found, sources = workbench.lake.status(), reporters.reporting(workbench)
        report: dict[str, Any] = {
            "days": found.days,
            "first": found.first,
            "last": found.last,
            "files": found.files,
            "bytes": found.bytes,
            "values": found.values,
            "bytes_per_value": round(found.bytes_per_value, 3) if found.values else None,
            "hot_days": found.hot,
            "hot_files": found.hot_files,
            "corrections": found.corrections,
            "sealed": list(found.sealed),
            "samples_from": found.kept_from,
            "rolled_at": found.rolled_at,
            "imports": [
                {
                    "pool": one.pool,
                    "state": one.state,
                    "begun": one.begun,
                    "files": one.files,
                    "taken": one.done,
                    "named": list(one.named),
                }
                for one in workbench.lake.landings()
            ],
            "sources": {
                one.name: {"last": one.last, "silent": one.silent, "rows": one.rows, "hot_files": one.hot_files}
                for one in sources
            },
        }
    if as_json:
        emit(report)
        return
    for name, value in report.items():
        if name not in ("sources", "imports"):
            click.echo(f"{name:<16} {'—' if value is None else value}")
    for one in report["imports"]:
        click.echo(f"{'import':<16} {told(one)}")
    for one in sources:
        click.echo(f"{'silent' if one.silent else 'reporting':<16} {one.name}  last {one.last:%Y-%m-%d %H:%M} UTC")


def told(landing: dict[str, Any]) -> str:
    """What became of an import that is under way, or was when its process died."""
    names = ", ".join(landing["named"][:3]) + (", …" if landing["files"] > 3 else "")
    said = {
        "under_way": "under way",
        "broken_off": "broken off: the other files count nowhere; import them again, nothing is taken twice",
        "unentered": "taken whole, what was refused is not entered; import again, nothing is taken twice",
    }
    begun = f"{landing['begun']:%Y-%m-%d %H:%M} UTC"
    return (
        f"{landing['taken']} of {landing['files']} files into {landing['pool']}, begun {begun} ({names}): "
        f"{said[landing['state']]}"
    )


@lake.command()
@data_option
@click.option("--today", is_flag=True, help="Lay together what waits, without closing any day.")
@json_option
def compact(data: str | None, today: bool, as_json: bool) -> None:
    """Close the days that are over; lay together what waits of today."""
    from metering.intake import late_figures
    from metering.statements import settling

    settings = settings_of(data)
    with workbench_of(data) as workbench, refusals(), progress_bars() as progress:
        settling.seal(workbench)
        now = workbench.book.clock().astimezone(settings.zone).date()
        closed: list[date] = []
        if not today:
            closed = workbench.lake.roll(_days(workbench.lake, now), lambda done, of: progress("close", done, of))
        late = late_figures.enter(workbench)
        gone = workbench.lake.compact()
    if as_json:
        emit({"closed": closed, "laid_together": gone, "late_figures": late})
    else:
        click.echo(f"{len(closed)} days closed, {gone} files laid together, {late} figures of settled months entered")


@lake.command()
@data_option
@json_option
def verify(data: str | None, as_json: bool) -> None:
    """Read every file against its checksums and recompute every rollup; exit 1 naming what does not fit."""
    with workbench_of(data) as workbench:
        problems = workbench.lake.verify()
        files = workbench.lake.status().files
    if as_json:
        emit({"clean": not problems, "files": files, "problems": [{"path": p.path, "why": p.why} for p in problems]})
    else:
        for problem in problems:
            click.echo(str(problem))
        click.echo(f"{'clean' if not problems else f'{len(problems)} problems'}: {files} files")
    sys.exit(1 if problems else 0)


@lake.command()
@data_option
@click.option("--days", "raw", default=400, show_default=True, type=click.IntRange(62), help="Keep samples so long.")
@click.option("--hours", default=1096, show_default=True, type=click.IntRange(62), help="Keep hourly figures so long.")
@json_option
def retain(data: str | None, raw: int, hours: int, as_json: bool) -> None:
    """Delete samples and hourly figures older than the rule says; daily rollups stay for ever."""
    from metering.intake import keeping
    from metering.lake import Keep

    settings = settings_of(data)
    try:
        rule = Keep(raw, hours)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with workbench_of(data) as workbench, refusals():
        gone = keeping.retain(workbench, workbench.book.clock().astimezone(settings.zone).date(), rule)
    if as_json:
        emit({"files": list(gone.files), "bytes": gone.bytes, "samples_from": gone.days, "hours_from": gone.hours})
    else:
        for path in gone.files:
            click.echo(str(path))
        click.echo(f"{len(gone.files)} files, {gone.bytes} bytes; samples from {gone.days}, hours from {gone.hours}")


@lake.command()
@data_option
@json_option
def rebuild(data: str | None, as_json: bool) -> None:
    """Put damaged files into quarantine and write anew what can be; exit 1 naming what was lost."""
    with workbench_of(data) as workbench, refusals():
        done = workbench.lake.repair()
    if as_json:
        fields = ("path", "why", "quarantined", "rebuilt", "lost")
        emit({"repairs": [{name: getattr(one, name) for name in fields} for one in done]})
    else:
        for one in done:
            end = f"lost: {one.lost}" if one.lost else "rebuilt" if one.rebuilt else "not rebuilt"
            click.echo(f"{one.path}: {one.why} — {end}")
        click.echo(f"{len(done)} files")
    sys.exit(1 if any(one.lost or not one.rebuilt for one in done) else 0)


@lake.command()
@data_option
@json_option
def reconcile(data: str | None, as_json: bool) -> None:
    """Where book and lake are of different moments: set aside samples of machines that the book does not have, collect
    again what the lake does not have; exit 1 naming what is left."""
    from console.verification import agreement

    with workbench_of(data) as workbench, refusals():
        done = agreement.reconcile(workbench)
        left = list(agreement.compare(workbench).lines())
    if as_json:
        emit({"aside": list(done.aside), "again": done.again, "left": left})
    else:
        for path in done.aside:
            click.echo(f"{path}: rows set aside (quarantine)")
        for code, since in done.again.items():
            click.echo(f"{code}: is collected again from {since:%Y-%m-%d %H:%M} UTC")
        for line in left:
            click.echo(line)
        click.echo(f"{len(done.aside)} files, {len(done.again)} sources; {len(left)} left")
    sys.exit(1 if left else 0)


@lake.command()
@data_option
@click.argument("place")
@json_option
def publish(data: str | None, place: str, as_json: bool) -> None:
    """Copy closed days to PLACE (a path, s3://…, hdfs://…), for `guanjia assess --lake PLACE`."""
    from metering.lake import closed_days

    with workbench_of(data) as workbench, refusals():
        try:
            done = closed_days.publish(workbench.lake, place)
        except (OSError, ValueError) as error:
            click.echo(f"{place}: {error}", err=True)
            sys.exit(1)
    if as_json:
        emit({"copied": done.copied, "bytes": done.bytes, "there": done.there})
    else:
        click.echo(f"{done.copied} files copied, {done.bytes} bytes; {done.there} were there")


@lake.command()
@data_option
@click.argument("query")
@json_option
def sql(data: str | None, query: str, as_json: bool) -> None:
    """Ask QUERY (one SELECT, by DuckDB) of the tables samples, hours, daily; reading only."""
    from metering.lake import sql as lake_sql

    with workbench_of(data) as workbench, refusals():
        try:
            names, rows = lake_sql.query(workbench.lake, query)
        except Damaged as damage:
            click.echo(f"damaged: {damage}", err=True)
            sys.exit(1)
    if as_json:
        emit({"columns": names, "rows": rows})
    else:
        click.echo("\t".join(names))
        for row in rows:
            click.echo("\t".join("" if value is None else str(value) for value in row))


@lake.command()
@data_option
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 400), help="The last closed days.")
@click.option(
    "--near", is_flag=True, help="From daily histograms: quantiles within half a point, several times faster."
)
@click.option("--engine", default="local", show_default=True, metavar="local|workers|spark|spark://HOST:PORT")
@click.option("--workers", type=click.IntRange(1, 1024))
@click.option("--lake", "where", metavar="PLACE", help="Read closed days there (a path or s3://…), not in the lake.")
@click.option("--write", "target", required=True, type=click.Path(dir_okay=False), help="A .parquet or .csv file.")
def report(data: str | None, target: str, **options: Any) -> None:
    """Use of every resource: P50, P95, P99, maximum, mean, samples over and under, working days, weekends, trend."""
    from datetime import timedelta

    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    from metering.judging import engines
    from metering.overview import usage_reports
    from quota import calendar

    if not target.endswith((".parquet", ".csv")):
        raise click.UsageError("--write names a .parquet or a .csv file")
    try:
        engine = engines.named(options["engine"], options["workers"])
    except (ValueError, LookupError) as error:
        raise click.UsageError(str(error)) from None
    with workbench_of(data) as workbench, refusals():
        days = workbench.lake.days()
        if not days:
            click.echo("no day is closed yet", err=True)
            sys.exit(1)
        with workbench.book.reading() as tx:
            worked = calendar.working_days(tx)
        function = usage_reports.near if options["near"] else usage_reports.exact
        first = days[-1] - timedelta(days=options["days"] - 1)
        found = usage_reports.table(
            function(options["where"] or str(workbench.lake.root), first, days[-1], worked, engine)
        )
    (csv.write_csv if target.endswith(".csv") else pq.write_table)(found, target)
    click.echo(f"{len(found)} resources, {first} – {days[-1]}: {target}")
