"""``guanjia requests``: many requests as one workbook, in the name of somebody of the department that asks.

Exit codes: 0 entered, or nothing was wrong; 1 something is wrong, and nothing was entered (with ``--sound``: what is wrong was not);
2 the call's words are wrong; 3 there is no such house.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console import request_sheets, workbooks
from console.cli.terminal import data_option, emit, json_option, refusals, workbench_of
from quota.actors import Actor, Role
from quota.errors import N_, Invalid
from quota.requests import together

if TYPE_CHECKING:
    from quota.db import Book

by_option = click.option("--by", "login", required=True, help="Who of the department files them.")


@click.group("requests")
def requests_group() -> None:
    """Many requests as one workbook: a sheet a kind, a row a request."""


@requests_group.command("template")
@click.option("-o", "--output", "path", required=True, type=click.Path(dir_okay=False, path_type=Path))
@by_option
@data_option
def template(path: Path, login: str, data: str | None) -> None:
    """Write the workbook to fill in, with what there is to choose from."""
    with workbench_of(data) as workbench, refusals(), workbench.book.reading(_clerk(workbench.book, login)) as tx:
        request_sheets.write(tx, path)
    click.echo(path)


@requests_group.command("file")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@by_option
@click.option("--check", is_flag=True, help="Only tell what would come of it.")
@click.option("--sound", is_flag=True, help="Enter what nothing is wrong with, whatever is wrong with the rest.")
@click.option("--kind", default="", help="Of a CSV file: the kind (code) of its requests.")
@click.option("--submit", is_flag=True, help="Hand the drafts in, too.")
@data_option
@json_option
def file(
    path: Path, login: str, check: bool, sound: bool, kind: str, submit: bool, data: str | None, as_json: bool
) -> None:
    """Enter a workbook as drafts: all of it, or nothing where anything is wrong."""
    with workbench_of(data) as workbench, refusals():
        book, actor = workbench.book, _clerk(workbench.book, login)
        with book.reading(actor) as tx:
            workbook = workbooks.load(path, request_sheets.sheets(tx), kind)
        found = request_sheets.check(book, workbook, actor) if check else request_sheets.enter(
            book, workbook, actor, sound_only=sound
        )  # fmt: skip
        became = _hand_in(book, actor, found.drafts) if submit and found.entered else []
    left = [one for one in became if one.outcome is not together.SignedOutcome.DONE]
    if as_json:
        emit({
            "entered": found.entered, "added": dict(found.added), "changed": dict(found.changed), "same": dict(found.same),
            "faults": [asdict(one) for one in found.faults], "submitted": len(became) - len(left),
            "not_submitted": [{"number": one.number, "why": str(one.refused)} for one in left],
        })  # fmt: skip
    else:
        _tell(found)
        for one in left:
            click.echo(f"{one.number}: {one.refused}", err=True)
        if submit:
            click.echo(f"{len(became) - len(left)} submitted, {len(left)} left as drafts")
    sys.exit(1 if found.faults or left else 0)


def _hand_in(book: Book, actor: Actor, drafts: Sequence[int]) -> list[together.Signed]:
    """Hand in the drafts of the workbook, as many at once as one act takes, and say what became of each."""
    became: list[together.Signed] = []
    for low in range(0, len(drafts), together.MOST):
        with book.reading(actor) as tx:
            shown = together.generations(tx, drafts[low : low + together.MOST])
        became += together.submit_all(book, actor, shown) if shown else []
    return became


def _tell(found: request_sheets.FiledOutcome) -> None:
    for place, sentence in workbooks.told(found.faults):
        click.echo(f"{place}: {sentence}", err=True)
    for title in dict.fromkeys([*found.added, *found.changed, *found.same]):
        counts = (found.added[title], found.changed[title], found.same[title])
        click.echo("{}: {} new, {} changed, {} the same".format(title, *counts))
    if found.faults:
        click.echo(f"{len(found.faults)} faults; {'the rest' if found.entered else 'nothing'} was entered", err=True)
    elif not found.entered:
        click.echo("nothing was entered: only checked")


def _clerk(book: Book, login: str) -> Actor:
    """Who files. Raises Invalid for who is not of a department, or may not come in."""
    from sqlalchemy import select

    from quota.directory import Person

    with book.reading() as tx:
        who = tx.scalar(select(Person).where(Person.login == login, Person.active, Person.granted))
        if who is None or who.role != Role.TENANT:
            raise Invalid("sheet.who", N_("申请须由使用单位人员提出"), field="by")
        return who.actor()
