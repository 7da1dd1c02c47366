"""Commands about companies and their assessment."""

from __future__ import annotations

import sys

import click
from sqlalchemy import select

from console.cli.terminal import data_option, emit, json_option, refusals, workbench_of
from providers.assessment import ScorecardRecord
from providers.assessment import cards as marks


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
