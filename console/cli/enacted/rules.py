"""``guanjia rules``: the approval rules as a document, out of the book and, as a draft that two people sign, into it.

Exit codes: 0 done; 1 the document or a rule in it was refused, by its place; 2 the call's words are wrong; 3 there is no such house.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from console.cli.terminal import data_option, emit, json_option, refusals, workbench_of
from quota.actors import steward
from quota.calendar import ZONE
from quota.requests import proposals, rulebook, rules, trial

DAYS = 90


@click.group("rules")
def rules_group() -> None:
    """Approval rules as a document (JSON)."""


@rules_group.command("export")
@data_option
@click.option("--out", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A file; stdout without it.")
def export(data: str | None, out: Path | None) -> None:
    """The rules in force and those that are coming."""
    with workbench_of(data) as workbench, workbench.book.reading() as tx:
        text = rules.written(rulebook.standing(tx, tx.now.astimezone(ZONE).date()))
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


@rules_group.command("import")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_option
@click.option("--reason", required=True, help="What the rules rest on: the document that enacted them.")
@click.option("--check", "only", is_flag=True, help="Only tell what would come of it.")
@json_option
def read(path: Path, data: str | None, reason: str, only: bool, as_json: bool) -> None:
    """A document of rules becomes a draft. Two people of the authority sign it in the console before it holds."""
    with workbench_of(data) as workbench, refusals():
        texts = rules.read(path.read_bytes())
        with workbench.book.reading() as tx:
            tried = [one.rule(rulebook.newest(tx, one.code) + 1) for one in texts]
            found = trial(tx, tried, tx.now - timedelta(days=DAYS))
            told: dict[str, Any] = {
                "rules": [rule.named for rule in tried],
                "tried": found.tried,
                "changed": [one.request.number for one in found.changed],
                "unsigned": [kind.code for kind in found.unsigned],
                "draft": None,
            }
        if not only:
            with workbench.book.transaction(steward("rules")) as tx:
                told["draft"] = proposals.draft(tx, texts, reason=reason).id
    if as_json:
        emit(told)
        return
    click.echo(f"{len(texts)} rules: {', '.join(told['rules'])}")
    click.echo(f"{told['tried']} requests of the past {DAYS} days tried, {len(found.changed)} would go another way")
    for kind in found.unsigned:
        click.echo(f"nobody would sign requests of kind {kind.code}")
    click.echo(
        "checked: nothing was entered" if only else f"draft {told['draft']}: two people of the authority sign it"
    )
