"""``guanjia found``: a city out of one workbook; ``guanjia found template`` writes the workbook to fill in.

Exit codes: 0 entered, or nothing was wrong; 1 something is wrong, and nothing was entered; 2 the call's words are wrong; 3
there is no such house.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from console import founding, workbooks
from console.cli.terminal import data_option, emit, json_option, refusals, settings_of, workbench_of
from console.founding import entering, sheets, template
from quota.actors import steward


class OrFile(click.Group):
    """A group whose first word may be a file, too: then it is ``enter`` that is meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["enter", *args]
        return super().parse_args(ctx, args)


@click.group("found", cls=OrFile)
def found_group() -> None:
    """A city out of one workbook: `guanjia found FILE`; `guanjia found template` writes one to fill in."""


@found_group.command("template")
@click.option("-o", "--output", "path", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--blank", is_flag=True, help="The sheets without the example city's rows.")
def template_command(path: Path, blank: bool) -> None:
    """Write the workbook: a small whole example city, or blank sheets."""
    with refusals():
        template.write(path, blank=blank)
    click.echo(path)


@found_group.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Only tell what would come of it.")
@data_option
@json_option
def enter(path: Path, check: bool, data: str | None, as_json: bool) -> None:
    """Enter a workbook: all of it, or nothing where anything is wrong."""
    with workbench_of(data) as workbench, refusals():
        demo = founding.known(settings_of(data)).demo
        workbook, actor = workbooks.load(path, sheets.SHEETS), steward("found")
        if check:
            outcome = entering.check(workbench.book, workbook, actor, demo=demo)
        else:
            outcome = entering.enter(workbench.book, workbook, actor, workbench.home, demo=demo)
    if as_json:
        emit(_plain(outcome))
    else:
        _tell(outcome, check)
    sys.exit(0 if outcome.whole else 1)


def _plain(outcome: entering.EntryOutcome) -> dict[str, Any]:
    return {
        "whole": outcome.whole,
        "added": dict(outcome.added),
        "changed": dict(outcome.changed),
        "same": dict(outcome.same),
        "faults": [asdict(one) for one in outcome.faults],
        "first_passwords": [str(one) for one in outcome.handed],
    }


def _tell(outcome: entering.EntryOutcome, check: bool) -> None:
    for place, sentence in workbooks.told(outcome.faults):
        click.echo(f"{place}: {sentence}", err=True)
    if not outcome.whole:
        click.echo(f"{len(outcome.faults)} faults; nothing was entered", err=True)
        return
    for title in dict.fromkeys([*outcome.added, *outcome.changed, *outcome.same]):
        counts = (outcome.added[title], outcome.changed[title], outcome.same[title])
        click.echo("{}: {} new, {} changed, {} the same".format(title, *counts))
    if check:
        click.echo("nothing was entered: only checked")
    for one in outcome.handed:
        click.echo(f"first password: {one}")
