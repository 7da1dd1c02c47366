"""``guanjia doctor`` and ``guanjia support-bundle``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from console.cli.terminal import data_option, emit, json_option, refusals, settings_of, workbench_of
from console.privacy import private_files


@click.command()
@data_option
@json_option
def doctor(data: str | None, as_json: bool) -> None:
    """Look at the set-up: permissions, disk, clock, schema, lake, lanes, mail, keys, backups, anchors, the trail's export; exit 1
    where one is bad."""
    from console import health

    settings = settings_of(data)
    with workbench_of(data) as workbench:
        found = health.examine(settings, workbench.book)
    bad = sum(one.level == health.Level.BAD for one in found)
    if as_json:
        emit({"bad": bad, "findings": [asdict(one) for one in found]})
    else:
        for one in found:
            click.echo(f"{one.level:<5} {one.check:<12} {one.said}")
    sys.exit(1 if bad else 0)


@click.command(name="support-bundle")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@data_option
def support_bundle(file: Path, data: str | None) -> None:
    """Write FILE (tar.gz) for who helps: set-up, counts, runs of jobs, versions; no text of people, no secret."""
    from console import health

    if file.exists():
        raise click.UsageError(f"{file} is there already")
    settings = settings_of(data)
    with workbench_of(data) as workbench, refusals(), private_files():
        names = health.bundle(settings, workbench.book, file)
    click.echo(f"{file}: {', '.join(names)}")
