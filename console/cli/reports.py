"""``guanjia report``: editions of reports made, listed and written as files from the command line."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click
from sqlalchemy import select

from console.cli.terminal import data_option, emit, json_option, refusals, settings_of, workbench_of
from metering.reports import PeriodKind, ReportEdition, ReportPeriod, editions, periods
from quota.actors import steward
from quota.errors import N_, Invalid


@click.group("report")
def report_group() -> None:
    """Reports of the city, a department, a company or a system: as of their end, frozen, as files."""


def _chosen(month: str | None, period: str | None) -> ReportPeriod:
    if (month is None) == (period is None):
        raise click.UsageError("say --month 2026-10, or --period 2026Q3")
    found = periods.period(month or period or "")
    if month is not None and found.kind is not PeriodKind.MONTH:
        raise click.UsageError("a month is written 2026-10")
    return found


@report_group.command()
@click.option("--month", help="The month, as 2026-10.")
@click.option("--period", "days", help="2026-10, 2026Q3, 2026H1, 2026, or 2026-09-15..2026-10-14.")
@click.option("--for", "scope", default="city", show_default=True,
              help="city, department:CODE, provider:CODE or system:CODE.")  # fmt: skip
@click.option(
    "--format", "formats", default="pdf", show_default=True, help="Of pdf, docx, xlsx, html; several by commas."
)
@click.option("--out", "folder", type=click.Path(file_okay=False, path_type=Path), required=True,
              help="The folder that the files are written into.")  # fmt: skip
@click.option("--edition", "number", type=click.IntRange(min=1), help="An edition that there is, by its number.")
@click.option(
    "--anew", is_flag=True, help="Another edition, from what is known by now; none where nothing has changed."
)
@click.option("--reason", default="", help="Why there is another edition.")
@click.option("--known-until", "known", type=click.DateTime([f"%Y-%m-%dT%H:%M{one}%z" for one in ("", ":%S", ":%S.%f")]),
              help="What the book was told later does not count: 2026-11-09T06:30:00+0800. With the moment that an edition prints, "
              "it is made again from what was kept of it.")  # fmt: skip
@data_option
@json_option
def make(
    month: str | None,
    days: str | None,
    scope: str,
    formats: str,
    folder: Path,
    number: int | None,
    anew: bool,
    reason: str,
    known: datetime | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Write the newest edition's files, and make the first where there is none. The same edition is the same bytes, whenever
    and wherever it is written again."""
    from console import reports

    if number is not None and (anew or known is not None):
        raise click.UsageError("--edition names one that there is; --anew and --known-until are for making one")
    settings = settings_of(data)
    with workbench_of(data) as workbench, refusals():
        period, endings = _chosen(month, days), reports.chosen(formats)
        if number is None:
            made = reports.make(
                workbench, settings, scope, period, actor=steward("report"), reason=reason, anew=anew, known_at=known
            )
            number = made.number
        with workbench.book.reading() as tx:
            edition = editions.numbered(tx, scope, period, number)
            whole = reports.document(tx, edition, settings.zone)
        if folder.exists() and not folder.is_dir():
            raise Invalid("report.folder", N_("%(place)s 不是文件夹"), place=str(folder))
        code = scope.partition(":")[2]
        files = {
            reports.name(edition, ending, code): content for ending, content in reports.drawn(whole, endings).items()
        }
        written = reports.write(folder, files)
    told = {**_told(edition), "files": [str(one) for one in written]}
    if as_json:
        emit(told)
    else:
        click.echo(f"edition {edition.number} of {scope} {period.code}, inputs {edition.inputs_digest}")
        click.echo(f"known until {edition.known_at.isoformat()}")
        for one in written:
            click.echo(str(one))


@report_group.command("list")
@data_option
@json_option
def every(data: str | None, as_json: bool) -> None:
    """Every edition, the newest first."""
    with workbench_of(data) as workbench, refusals(), workbench.book.reading() as tx:
        rows = list(tx.scalars(select(ReportEdition).order_by(ReportEdition.id.desc())))
    if as_json:
        emit({"editions": [_told(one) for one in rows]})
    for one in [] if as_json else rows:
        click.echo(
            f"{one.period.code:<24} {one.scope:<11} {one.scope_id or '-':<6} {one.number:<4} {one.inputs_digest}"
        )


def _told(edition: ReportEdition) -> dict[str, Any]:
    return {
        "period": edition.period.code,
        "scope": edition.scope,
        "scope_id": edition.scope_id,
        "edition": edition.number,
        "known_at": edition.known_at,
        "made_at": edition.made_at,
        "inputs": edition.inputs_digest,
        "reason": edition.reason,
    }
