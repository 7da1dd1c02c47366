"""``guanjia formula``: formulas that companies are scored by, as files: handed out, held against the house, drafted."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Any

import click
from sqlalchemy import select

from console import formula_sheets, workbooks
from console.cli.terminal import data_option, emit, json_option, refusals, workbench_of
from metering.workbench import Workbench
from providers.assessment import FormulaDocument, formula_documents, formula_drafts, formulas
from quota.actors import Actor
from quota.db import Tx
from quota.directory import CloudProvider, Person
from quota.errors import N_, Invalid, NotAllowed, NotFound

FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group("formula")
def formula_group() -> None:
    """Formulas that companies are scored by: what holds, files, drafts, past periods scored again."""


@formula_group.command("list")
@data_option
@json_option
def show(data: str | None, as_json: bool) -> None:
    """Every enacted version, with the day from which it holds."""
    with workbench_of(data) as workbench, refusals(), workbench.book.reading() as tx:
        rows = [
            {
                "version": one.label, "effective_from": one.effective_from.isoformat(), "name": one.name, "basis": one.basis,
                "provider": one.provider.code if one.provider else "", "contract": one.contract, "ends": one.ends,
                "enacted_by": one.enacted_by,
            }
            for one in formulas.enacted(tx).versions
        ]  # fmt: skip
    if as_json:
        emit({"formulas": rows})
    else:
        for row in rows:
            whom = row["provider"] or row["contract"] or "*"
            click.echo(f"{row['version']}  from {row['effective_from']}  for {whom}  {row['name']}")


@formula_group.command()
@click.argument("code", default=formulas.CITY)
@data_option
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write here instead of stdout.")
def export(code: str, data: str | None, output: Path | None) -> None:
    """Write the newest version of CODE as a file, to be changed and drafted; as a workbook where it is called .xlsx."""
    with workbench_of(data) as workbench, refusals(), workbench.book.reading() as tx:
        newest = formulas.newest(tx, code)
        if newest is None or newest.ends:
            raise NotFound("formula.unknown", N_("没有代码为 %(code)s 的考核公式"), code=code)
        document = newest.written()
    if output is None:
        click.echo(formula_documents.text(document), nl=False)
    elif output.suffix.lower() == ".xlsx":
        output.write_bytes(formula_sheets.workbook(document))
    else:
        output.write_text(formula_documents.text(document), encoding="utf-8")


@formula_group.command()
@FILE
@json_option
def check(file: Path, as_json: bool) -> None:
    """Hold a file against what this installation knows; exit 1 naming every place that is wrong. Needs no book."""
    with refusals():
        found = _problems(file.read_bytes())[1]
    if as_json:
        emit({"sound": not found, "problems": [{"code": one.code, **_plain(one.params)} for one in found]})
    else:
        for one in found:
            click.echo(str(one))
        click.echo(f"{len(found)} problems")
    sys.exit(1 if found else 0)


def _problems(sent: bytes) -> tuple[Any, list[Invalid]]:
    """What a file or a workbook says, and everything that is wrong with it."""
    if not formula_sheets.is_workbook(sent):
        raw = formula_documents.parsed(sent)
        return raw, formula_documents.problems(raw)
    found = formula_sheets.parsed(sent)
    told = workbooks.told(formula_sheets.faults_of(found))
    return found.raw, [formula_documents.wrong(place, why) for place, why in told]


def _plain(params: Any) -> dict[str, str]:
    return {name: str(value) for name, value in params.items() if name != "field"}


@formula_group.command()
@FILE
@data_option
@json_option
def rescore(file: Path, data: str | None, as_json: bool) -> None:
    """What past cards would have been by a file. Nothing is written."""
    with workbench_of(data) as workbench, refusals(), workbench.book.reading() as tx:
        names = _codes(tx)
        rows = [
            {**one.to_json(), "provider": names.get(one.card.provider_id or 0, one.card.whose_code)}
            for one in formula_drafts.rescored(tx, _read(file))
        ]
    if as_json:
        emit({"cards": rows})
    else:
        for row in rows:
            total, grade = row["total"], row["grade"]
            click.echo(f"{row['period']}  {row['provider']}  {total[0] or '-'} -> {total[1] or '-'}  {grade[0] or '-'} -> {grade[1] or '-'}")  # fmt: skip


@formula_group.command()
@FILE
@click.option(
    "--by", "login", required=True, help="The login of whoever drafts it: of the supervisor or the authority."
)
@click.option("--reason", required=True, help="Why; the document that it rests on.")
@click.option("--from", "since", type=click.DateTime(["%Y-%m-%d"]), help="From when it holds; else as the file says.")
@data_option
@json_option
def draft(file: Path, login: str, reason: str, since: Any, data: str | None, as_json: bool) -> None:
    """Draft a file; somebody of the authority signs it on its page."""
    with workbench_of(data) as workbench, refusals():
        document = _read(file)
        with workbench.book.transaction(_actor(workbench, login)) as tx:
            day = since.date() if since else document.effective_from or date.min
            row = formula_drafts.draft(tx, document, effective_from=day, reason=reason)
            told = {"draft": row.id, "code": row.code, "digest": row.digest}
    if as_json:
        emit(told)
    else:
        click.echo(f"draft {told['draft']} of {told['code']}")


def _read(file: Path) -> FormulaDocument:
    raw, found = _problems(file.read_bytes())
    for problem in found:
        raise problem
    return formula_documents.read(raw)


def _codes(tx: Tx) -> dict[int, str]:
    return dict(tx.execute(select(CloudProvider.id, CloudProvider.code)).all())


def _actor(workbench: Workbench, login: str) -> Actor:
    with workbench.book.reading() as tx:
        person = tx.scalar(select(Person).where(Person.login == login))
        if person is None or not person.active:
            raise NotAllowed("person.unknown", N_("没有这个账号,或已停用"))
        return person.actor()
