"""``guanjia anchor``: sign where the book's chains end now, and publish it."""

from __future__ import annotations

import sys

import click

from console.cli.terminal import data_option, emit, json_option, refusals, settings_of, workbench_of
from quota.actors import steward


@click.command()
@click.option("--rotate", is_flag=True, help="Put a new key in place of the old one, which signs last that it follows.")
@click.option("--next", "following", metavar="KEY", help="Sign that KEY follows: a module's (pkcs11:…) or a PEM file.")
@data_option
@json_option
def anchor(data: str | None, rotate: bool, following: str | None, as_json: bool) -> None:
    """Make an anchor now and publish it; exit 1 where it did not get everywhere (the job tries again)."""
    from console import anchors

    settings, who = settings_of(data), steward("anchor")
    with workbench_of(data) as workbench, refusals():
        if following:
            number = anchors.name_next(workbench.book, settings, who, following)
        elif rotate:
            number = anchors.rotate(workbench.book, settings, who)
        else:
            number = anchors.make(workbench.book, settings, anchors.signer(settings), who)
        done = anchors.publish(workbench.book, settings)
        with workbench.book.reading(who) as tx:
            made = tx.get_one(anchors.Anchor, number)
    said = anchors.opened(made.token)
    if as_json:
        emit(
            {
                "anchor": number,
                "fingerprint": anchors.short(made.token),
                "key": made.key_id,
                "records": made.records,
                "sealings": made.sealings,
                "next_key": None if said.next_key is None else anchors.thumbprint(said.next_key),
                "sent": done.sent,
                "waiting": done.waiting,
                "said": list(done.said),
            }
        )
    else:
        click.echo(
            f"anchor {number} {anchors.short(made.token)}: {made.records} audit records, {made.sealings} sealings"
        )
        click.echo(f"key {made.key_id}")
        if said.next_key is not None:
            click.echo(f"next key {anchors.thumbprint(said.next_key)}")
        click.echo(f"sent to {done.sent} places, {done.waiting} waiting")
        for one in done.said:
            click.echo(one, err=True)
    sys.exit(1 if done.said else 0)
