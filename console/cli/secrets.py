"""``guanjia secret``: the key of the encrypted store, and what is kept in it."""

from __future__ import annotations

import sys

import click

from console.cli.terminal import data_option, refusals, settings_of, workbench_of
from quota import vault
from quota.actors import steward


@click.group("secret")
def secret_group() -> None:
    """Secrets of clouds in the book's encrypted store."""


@secret_group.command("new-key")
def new_key() -> None:
    """A new key for GUANJIA_SECRETS_KEY. To change keys put the new one in front of the old one, with a comma."""
    click.echo(vault.new_key())


@secret_group.command("keep")
@data_option
@click.argument("name")
def keep(data: str | None, name: str) -> None:
    """Keep what stands on stdin under NAME, in place of what was there; prints its reference (store:NAME).

    An adapter reads it the next time that it speaks to its cloud: nothing has to be registered again."""
    settings = settings_of(data)
    told = click.prompt("secret", hide_input=True) if sys.stdin.isatty() else sys.stdin.read().rstrip("\r\n")
    with refusals(), workbench_of(data) as workbench, workbench.book.transaction(steward("init")) as tx:
        reference = vault.keep(tx, name, told, settings.secrets_key)
    click.echo(reference)
