"""``guanjia statements``: make, show, close, export and check the months' statements from the command line."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from console.cli.terminal import data_option, emit, json_option, refusals, workbench_of
from metering import statements
from metering.settlement import focus_datasets
from metering.statements import StatementRun, closings, focus, focus_files, reconciliation, yuan
from metering.workbench import Workbench
from quota.actors import Actor, Role, steward
from quota.errors import N_, Invalid, NotFound


@click.group("statements")
def statements_group() -> None:
    """Statements by month: what was held, by our own evidence, priced; closing; FOCUS 1.2 files."""


def _month(_context: Any, _parameter: Any, value: str) -> str:
    if not re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", value):
        raise click.BadParameter("a month is written 2026-10")
    return value


month_option = click.option("--month", required=True, callback=_month, help="The month, as 2026-10.")


@statements_group.command()
@month_option
@data_option
@json_option
@click.option("--reason", default="", help="Why it is made again.")
@click.option("--afresh", is_flag=True, help="Reckon the closed months again too of which nothing has changed.")
def make(month: str, data: str | None, as_json: bool, reason: str, afresh: bool) -> None:
    """Compute the month from the inventory and the lake, and keep it; then set every bill beside it."""
    with workbench_of(data) as workbench, refusals():
        run = statements.make(workbench, month, actor=steward("statements"), reason=reason, afresh=afresh)
        compared = reconciliation.all_pools(workbench, month)
    _tell(workbench, run, as_json, reconciliations=len(compared))


@statements_group.command()
@month_option
@data_option
@json_option
def show(month: str, data: str | None, as_json: bool) -> None:
    """The sums of the statement that stands."""
    with workbench_of(data) as workbench, refusals():
        _tell(workbench, _standing(workbench, month), as_json)


@statements_group.command()
@month_option
@data_option
@json_option
@click.option("--by", "login", required=True, help="Who of the authority closes it.")
@click.option("--reason", default="")
def close(month: str, data: str | None, as_json: bool, login: str, reason: str) -> None:
    """Close the month on the statement that stands. It is never opened again."""
    from sqlalchemy import select

    from quota.directory import Person

    with workbench_of(data) as workbench, refusals():
        run = _standing(workbench, month)
        with workbench.book.reading() as tx:
            who = tx.scalar(select(Person).where(Person.login == login, Person.active, Person.granted))
        if who is None or who.role != Role.AUTHORITY:
            raise Invalid("close.who", N_("月结须由主管部门人员办理"), field="by")
        actor = Actor(who.login, who.name, Role.AUTHORITY)
        statements.settle(workbench, month, run_id=run.id, actor=actor, reason=reason)
        _tell(workbench, run, as_json)


@statements_group.command()
@month_option
@data_option
@json_option
@click.option("--to", "path", required=True, type=click.Path(dir_okay=False, path_type=Path),
              help="FILE.csv or FILE.parquet (FOCUS), or FILE.xlsx.")  # fmt: skip
@click.option("--focus", "version", type=click.Choice(list(focus.VERSIONS)), default=focus.VERSION, show_default=True,
              help="The version of FOCUS.")  # fmt: skip
def export(month: str, data: str | None, as_json: bool, path: Path, version: str) -> None:
    """Write the statement that stands."""
    from console.pages.statements import statement_sheets

    with workbench_of(data) as workbench, refusals():
        run = _standing(workbench, month)
        with workbench.book.reading() as tx:
            if path.suffix == ".xlsx":
                count = statement_sheets.write(path, tx, run)
            else:
                count = focus_files.write(path, focus_files.rows_of(tx, run), version)
    if as_json:
        emit({"file": str(path), "rows": count, "left_out_unpriced": 0 if path.suffix == ".xlsx" else run.unpriced})
    else:
        click.echo(f"{count} rows" + (f", {run.unpriced} lines without a price left out" if run.unpriced else ""))


@statements_group.command()
@month_option
@data_option
@json_option
@click.option("--to", "folder", required=True, type=click.Path(file_okay=False, path_type=Path),
              help="The folder that the files are written into.")  # fmt: skip
def datasets(month: str, data: str | None, as_json: bool, folder: Path) -> None:
    """Write what FOCUS 1.4 has beside the charges: billing periods, invoices line by line, contract commitments; a CSV each."""
    with workbench_of(data) as workbench, refusals():
        run = _standing(workbench, month)
        with workbench.book.reading() as tx:
            found = {name: focus_datasets.csv_of(name, rows(tx, run)) for name, rows in focus_datasets.DATASETS.items()}
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in found.items():
            (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    counts = {name: text.count("\n") - 1 for name, text in found.items()}
    if as_json:
        emit({"folder": str(folder), "rows": counts})
    else:
        for name, count in counts.items():
            click.echo(f"{folder / f'{name}.csv'}: {count} rows")


@statements_group.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def check(path: Path, as_json: bool) -> None:
    """Hold a FOCUS file to the rules of FOCUS 1.2, or of 1.4 where it names the service's provider; exit 1 naming what does not fit."""
    with refusals():
        faults = focus_files.check(path)
    if as_json:
        emit({"file": str(path), "faults": [{"row": f.row, "column": f.column, "rule": f.rule} for f in faults]})
    else:
        for fault in faults:
            click.echo(str(fault))
        click.echo("clean" if not faults else f"{len(faults)} faults")
    sys.exit(1 if faults else 0)


def _standing(workbench: Workbench, month: str) -> StatementRun:
    with workbench.book.reading() as tx:
        closed = closings.closing(tx, month)
        run = statements.run(tx, closed.run_id) if closed is not None else statements.latest(tx, month)
    if run is None:
        raise NotFound("statement.none", N_("%(month)s 还没有对账单"), month=month)
    return run


def _tell(workbench: Workbench, run: StatementRun, as_json: bool, **more: Any) -> None:
    with workbench.book.reading() as tx:
        closed = closings.closing(tx, run.month)
    told = {
        "month": run.month,
        "revision": run.revision,
        "until": run.until,
        "resources": run.resources,
        "lines": run.lines,
        "unpriced": run.unpriced,
        "proven": yuan(run.proven_fen),
        "unmeasurable": yuan(run.unmeasured_fen),
        "corrections": yuan(run.correction_fen),
        "currency": "CNY",
        "digest": run.digest,
        "closed_at": closed.closed_at if closed else None,
        "invoices": {number: str(yuan(fen)) for number, fen in closed.invoices.items()} if closed else None,
        **more,
    }
    if as_json:
        emit(told)
    else:
        for name, value in told.items():
            click.echo(f"{name:<14} {value if value is not None else '-'}")
