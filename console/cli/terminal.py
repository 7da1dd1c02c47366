"""What every command of the terminal shares: its options, the house it opens, refusals, progress bars, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from tqdm import tqdm

from console.occupancy import HousePart, InUse, occupied
from console.privacy import private_files, tighten
from console.schema import upgrade
from console.service import PortTaken
from console.settings import BadSetting, Settings, load
from metering.lake import Lake
from metering.workbench import Progress, Workbench
from quota.db import Book
from quota.errors import NoRoom, Refused, out_of_room

NO_HOUSE = 3
Command = TypeVar("Command", bound=Callable[..., Any])


def settings_of(data: str | None, **given: Any) -> Settings:
    """Settings for ``--data``; a bad one ends the command naming its place."""
    try:
        return load(data, **given)
    except BadSetting as error:
        raise click.UsageError(str(error)) from None


def data_option(command: Command) -> Command:
    return click.option("--data", type=click.Path(file_okay=False), envvar="GUANJIA_DATA", help="The data directory.")(
        command
    )


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout; progress on stderr.")(
        command
    )


@contextmanager
def in_use(data: Path, *parts: HousePart, shared: bool = False) -> Iterator[tuple[int, ...]]:
    """Hold parts of the house in ``data`` while the block runs; a house in use ends the command (2)."""
    with ExitStack() as stack:
        try:
            held = stack.enter_context(occupied(data, *parts, shared=shared))
        except InUse as error:
            raise click.UsageError(f"{error}; give another --data, or end it first") from None
        yield held


@contextmanager
def in_use_said() -> Iterator[None]:
    """What another process is at already ends the command (2)."""
    try:
        yield
    except InUse as error:
        raise click.UsageError(str(error)) from None


@contextmanager
def usage_of_port() -> Iterator[None]:
    """A port that is taken ends the command (2)."""
    try:
        yield
    except PortTaken as error:
        raise click.UsageError(f"{error}; give another --port") from None


@contextmanager
def workbench_of(data: str | None) -> Iterator[Workbench]:
    """The book and the lake of ``--data``; exits with 3 where there is none or it is of another version."""
    settings = settings_of(data)
    book = Book(settings.database_url)
    try:
        at = upgrade.current(book) if _exists(settings) else None
        if at is None:
            click.echo(f"no book at {settings.data}: run `guanjia init` first", err=True)
            sys.exit(NO_HOUSE)
        if at != upgrade.latest():
            click.echo(f"the book is at version {at}, this is {upgrade.latest()}: run `guanjia init`", err=True)
            sys.exit(NO_HOUSE)
        tighten(settings)
        with private_files():
            try:
                lake = Lake(settings.lake_dir)
            except ValueError as error:
                click.echo(f"refused: {error}", err=True)
                sys.exit(1)
            yield Workbench(book, lake, settings.data, caution=settings.caution, secrets=settings.secrets)
    finally:
        book.dispose()


def _exists(settings: Settings) -> bool:
    """A SQLite file is not created by asking for it."""
    return bool(settings.database) or (settings.data / "book.db").exists()


@contextmanager
def refusals() -> Iterator[None]:
    """A refusal is one line on stderr and exit code 1, not a traceback; so is a full disk."""
    try:
        yield
    except Refused as refused:
        click.echo(f"refused: {refused}", err=True)
        sys.exit(1)
    except OSError as error:
        if not out_of_room(error):
            raise
        click.echo(f"refused: {NoRoom(error)}", err=True)
        sys.exit(1)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Bars on stderr, one a stage; none where stderr is no terminal."""
    bars: dict[str, tqdm[Any]] = {}

    def show(stage: str, done: int, of: int) -> None:
        bar = bars.get(stage)
        if bar is None:
            bar = bars[stage] = tqdm(total=of, desc=stage, unit="", leave=False, file=sys.stderr, disable=None)
        bar.total = of
        bar.update(max(0, min(done, of) - bar.n))

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()


def emit(result: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(result, ensure_ascii=False, indent=2, default=str))
