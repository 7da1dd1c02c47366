"""Commands about companies and their assessment."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from sqlalchemy import select

from console.cli.terminal import data_option, emit, json_option, refusals, workbench_of
from providers.assessment import ScorecardRecord, SubjectType, bundles
from providers.assessment import cards as marks
from quota.errors import Refused


@click.group("scorecard")
def scorecard_group() -> None:
    """Scorecards as files that prove themselves without the book."""


@scorecard_group.command("bundle")
@click.argument("card_id", type=int)
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write."
)
@data_option
def bundle(card_id: int, output: Path, data: str | None) -> None:
    """Write card CARD_ID with its formula and every row that it rests on."""
    with workbench_of(data) as workbench, refusals():
        with workbench.book.reading() as tx:
            card = marks.scorecard(tx, card_id)
            made, digest = marks.bundled(tx, card), card.digest
        output.write_bytes(made)
    click.echo(f"{output}  {digest}")


@scorecard_group.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--digest", default="", help="The card's digest as it is known from elsewhere: its page, the audit trail."
)
@json_option
def verify(file: Path, digest: str, as_json: bool) -> None:
    """Do the sum of a bundle again, without any book: 0 where it is equal, 1 naming what is not, 2 where it is no bundle."""
    try:
        read = bundles.read(sent := file.read_bytes())
        faults = bundles.faults(sent, digest.strip().lower())
    except Refused as refused:
        click.echo(f"refused: {refused}", err=True)
        sys.exit(2)
    head = {
        name: read["head"].get(name)
        for name in ("provider", "subject", "subject_code", "period", "revision", "formula", "digest")
    }
    if head["provider"] is not None:
        head["subject"], head["subject_code"] = SubjectType.COMPANY.value, head["provider"]
    if as_json:
        emit({"equal": not faults, "problems": faults, **head})
    else:
        for line in faults:
            click.echo(line)
        whom = head["provider"] or " ".join(dict.fromkeys(str(head[one]) for one in ("subject", "subject_code")))
        click.echo(f"{whom} {head['period']} revision {head['revision']}: {'not equal' if faults else 'equal'}")
    sys.exit(1 if faults else 0)


@click.command()
@click.option("--card", "card_id", type=int, help="Only the card with this id.")
@data_option
@json_option
def rescore(card_id: int | None, data: str | None, as_json: bool) -> None:
    """Compute every scorecard again from its own formula and evidence rows; exit 1 naming what does not agree."""
    with workbench_of(data) as workbench, refusals(), workbench.book.reading() as tx:
        query = select(ScorecardRecord).order_by(ScorecardRecord.id)
        cards = [marks.scorecard(tx, card_id)] if card_id is not None else list(tx.scalars(query))
        faults = [line for card in cards for line in marks.agrees(tx, card)]
        count = len(cards)
    if as_json:
        emit({"cards": count, "agree": not faults, "problems": faults})
    else:
        for line in faults:
            click.echo(line)
        click.echo(f"{count} cards, {len(faults)} problems")
    sys.exit(1 if faults else 0)
