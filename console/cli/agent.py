"""``guanjia agent``: the agent that runs beside a cloud which the console cannot reach. It needs no book."""

from __future__ import annotations

import fcntl
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from console.cli.terminal import refusals
from console.privacy import private_files
from providers.agents import AgentConfig, BesideCloud, configured
from providers.base import ProviderFault
from providers.connection import FAULTS
from quota.errors import Refused

log = logging.getLogger("guanjia.agent")


@click.group(name="agent")
def agent_group() -> None:
    """The agent beside a cloud that the console cannot reach."""


config_option = click.option(
    "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), default="agent.toml", show_default=True
)


@agent_group.command()
@config_option
def check(config: Path) -> None:
    """Speak once to the cloud and once to the console, and say what they answer. Exit 1 where one does not."""
    with private_files(), refusals(), _faults():
        found = configured(config)
        with _alone(found):
            cloud, pool = BesideCloud(found, _now).probe()
        click.echo(f"{found.adapter}: {cloud or 'opened; it has nothing to be asked'}")
        click.echo(f"{found.console}: pool {pool}")


@agent_group.command()
@config_option
@click.option("--once", is_flag=True, help="One round, then end: 1 where something of it failed.")
def run(config: Path, once: bool) -> None:
    """Call the console every minute until Ctrl-C: bring listings and samples, carry out orders."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with private_files(), refusals(), _faults():
        found = configured(config)
        with _alone(found):
            agent = BesideCloud(found, _now)
            if once:
                done = agent.round()
                click.echo(f"{done.orders} orders, {done.samples} samples, {'a' if done.listed else 'no'} listing")
                for part, why in done.wrong.items():
                    click.echo(f"{part}: {why}", err=True)
                sys.exit(1 if done.wrong else 0)
            while not ended.is_set():
                try:
                    done = agent.round()
                    log.info("%s orders, %s samples, listed: %s", done.orders, done.samples, done.listed)
                except (
                    ProviderFault,
                    Refused,
                ) as fault:  # the console is away: it says later from when on it has nothing
                    log.warning("no round: %s", fault)
                ended.wait(found.every_s)


def _now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def _alone(config: AgentConfig) -> Iterator[None]:
    """Hold the state folder: a second agent of the same configuration ends at once (2)."""
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (config.state / "lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise click.UsageError(f"an agent runs in {config.state} already") from None
        yield


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except ProviderFault as fault:
        click.echo(f"refused: {FAULTS.get(fault.code, '')} {fault}".replace("  ", " "), err=True)
        sys.exit(1)
