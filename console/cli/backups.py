"""``guanjia backup`` and ``guanjia restore``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy.exc import OperationalError

from console.cli.terminal import (
    data_option,
    emit,
    in_use_said,
    json_option,
    progress_bars,
    refusals,
    settings_of,
    workbench_of,
)
from console.occupancy import InUse
from console.privacy import private_files
from console.settings import Settings
from quota import vault
from quota.errors import Refused

if TYPE_CHECKING:
    from console.backups import Made


class MakesByDefault(click.Group):
    """``backup PLACE`` is ``backup make PLACE``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["make", *args]
        return super().parse_args(ctx, args)


@click.group(cls=MakesByDefault, no_args_is_help=False)
def backup() -> None:
    """Book, lake and keys of one moment, kept elsewhere: `guanjia backup [PLACE]` makes one.

    PLACE is a folder (on another disk) or s3://bucket/folder?endpoint_override=…; default: the setting backup_place.
    """


def _address(settings: Settings, place: str | None) -> str:
    if found := place or settings.backup_place:
        return found
    raise click.UsageError("give PLACE, or set backup_place")


@backup.command()
@click.argument("place", required=False)
@data_option
@click.option("--every", type=click.IntRange(1, 24 * 31), metavar="HOURS", help="Go on, one every so many hours.")
@json_option
def make(place: str | None, data: str | None, every: int | None, as_json: bool) -> None:
    """Make a backup while the house goes on; exit 1 where none could be made. With --every one that fails is told, and the next
    is tried in its turn."""
    from console.backups import BackupPlace, runs
    from quota.actors import steward

    settings = settings_of(data)
    address = _address(settings, place)

    def one() -> None:
        with workbench_of(data) as workbench, progress_bars() as progress:
            made = runs.carry_out(settings, workbench.book, address, steward("backup"), progress)
        _tell(made, as_json)

    if every is None:
        with in_use_said(), refusals():
            one()
        return
    with refusals():
        BackupPlace(address)  # one that nobody could ever write to ends it before it begins
    while True:
        with left_for_the_next():
            one()
        time.sleep(every * 3600)


@contextmanager
def left_for_the_next() -> Iterator[None]:
    """What keeps one backup of a row from being made is a line on stderr, and no end: the next is tried in its turn."""
    try:
        yield
    except (Refused, InUse, OSError, OperationalError) as trouble:
        click.echo(f"refused: {trouble}; the next is tried in its turn", err=True)


def _tell(made: Made, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {
            "point": made.point.name,
            "files": made.point.count,
            "bytes": made.point.size,
            "added": made.added,
            "stored": made.stored,
            "keys": made.point.sealed,
            "gone": list(made.gone),
        }
        emit(told)
        return
    keys = "sealed" if made.point.sealed else "not in it: no backup_key is set"
    click.echo(
        f"{made.point.name}: {made.point.count} files, {made.point.size} bytes; {made.stored} bytes stored; "
        f"keys {keys}; {len(made.gone)} older let go"
    )


@backup.command(name="list")
@click.argument("place", required=False)
@data_option
@json_option
def list_(place: str | None, data: str | None, as_json: bool) -> None:
    """The backups at PLACE, oldest first."""
    from console import backups

    settings = settings_of(data)
    with refusals():
        at = backups.BackupPlace(_address(settings, place))
        found: list[dict[str, Any]] = []
        for name in backups.points.names(at):
            try:
                point = backups.points.read(at, name)
            except backups.points.DamagedPoint as damaged:
                found.append({"point": name, "error": str(damaged)})
                continue
            about = {"files": point.count, "bytes": point.size, "revision": point.book.revision, "keys": point.sealed}
            found.append({"point": name, "product": point.product, "database": point.book.dialect, **about})
    if as_json:
        emit({"points": found})
        return
    for one in found:
        click.echo("  ".join(f"{name} {value}" if name != "point" else str(value) for name, value in one.items()))


@backup.command()
@click.argument("place", required=False)
@data_option
@click.option("--at", "names", metavar="POINT", multiple=True, help="This one; may be repeated. Default: the newest.")
@click.option("--all", "every", is_flag=True, help="Every one that is there.")
@click.option("--drill", is_flag=True, help="Bring it back, too, beside the house, and verify it there.")
@click.option("--database", default="", help="An empty database for the drill of a book in PostgreSQL.")
@json_option
def verify(place: str | None, data: str | None, names: tuple[str, ...], every: bool, **options: Any) -> None:
    """Read every piece of a backup against its digest; exit 1 naming what does not fit."""
    from console import backups

    if names and every:
        raise click.UsageError("give --at or --all, not both")
    settings = settings_of(data)
    with refusals(), private_files(), progress_bars() as progress:
        at = backups.BackupPlace(_address(settings, place))
        chosen = backups.points.names(at) if every else list(names)
        drill, database = bool(options["drill"]), options["database"]
        found = backups.check(settings, at, chosen, drill=drill, database=database, progress=progress)
    if options["as_json"]:
        emit(found.to_json())
    else:
        for problem in found.problems:
            click.echo(problem)
        said = f"{len(found.problems)} problems" if found.problems else "clean"
        drilled = ", brought back and verified" if options["drill"] and not found.problems else ""
        click.echo(f"{said}: {len(found.points)} backups, {found.pieces} pieces, {found.bytes} bytes{drilled}")
    sys.exit(1 if found.problems else 0)


@backup.command(name="new-key")
def new_key() -> None:
    """A key for backup_key, to be kept outside the house: it alone opens the keys in backups."""
    click.echo(vault.new_key())


@click.command()
@click.argument("place", required=False)
@data_option
@click.option("--at", "name", default="", metavar="POINT", help="Default: the newest.")
@click.option("--without-keys", is_flag=True, help="Leave the keys that are sealed in it.")
@json_option
def restore(place: str | None, data: str | None, name: str, without_keys: bool, as_json: bool) -> None:
    """Bring a backup back into an empty data directory (and an empty database), and up to this release.

    Refused where anything is there already. What came back is held against what the backup says of itself; then run
    `guanjia verify`.
    """
    from console import backups

    settings = settings_of(data)
    with in_use_said(), refusals(), private_files(), progress_bars() as progress:
        at = backups.BackupPlace(_address(settings, place))
        settings.data.mkdir(parents=True, exist_ok=True)
        done = backups.restore(settings, at, name, keys=not without_keys, progress=progress)
    point = done.point
    if as_json:
        rows, head = sum(point.book.rows.values()), point.book.head[1]
        about = {"files": point.count, "bytes": point.size, "rows": rows, "audit_head": head}
        emit({"point": point.name, **about, "keys": done.keys, "revision": done.revision})
        return
    click.echo(f"{point.name}: {point.count} files, {sum(point.book.rows.values())} rows; book at {done.revision}")
    click.echo("keys: brought back" if done.keys else "keys: none; sessions end, and sealed secrets need their key")
    click.echo("next: guanjia verify; then compare with the clouds (docs/operators/backup.md)")
