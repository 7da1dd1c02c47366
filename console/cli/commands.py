"""``guanjia``: the steward from the command line.

Exit codes: 0 done; 1 something was found or refused (a damaged row, refused input, a failed stage); 2 the call's words
are wrong; 3 there is no such house (not initialised, or of another version).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.cli import lake, providers
from console.cli.agent import agent_group
from console.cli.anchors import anchor
from console.cli.backups import backup, restore
from console.cli.enacted import formula_group, rules_group
from console.cli.forecasts import forecast_group
from console.cli.found import found_group
from console.cli.health import doctor, support_bundle
from console.cli.imports import importing
from console.cli.orders import orders_group
from console.cli.reference import reference
from console.cli.rehearse import rehearse
from console.cli.reports import report_group
from console.cli.request_sheets import requests_group
from console.cli.secrets import secret_group
from console.cli.statements import statements_group
from console.cli.terminal import (
    data_option,
    emit,
    in_use,
    json_option,
    progress_bars,
    refusals,
    settings_of,
    usage_of_port,
    workbench_of,
)
from console.occupancy import HousePart
from console.privacy import private_files
from metering.workbench import Workbench

if TYPE_CHECKING:
    from quota.db import Tx
    from quota.directory import Person


def backtest_names() -> tuple[str, ...]:
    """Every policy that has a name."""
    from metering.sizing import NAMES

    return tuple(NAMES)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="guanjia", prog_name="guanjia")
def main() -> None:
    """运营监督管家: the independent steward of a city's government cloud."""


@main.command()
@data_option
@click.option("--empty", is_flag=True, help="No demo city: an empty book with one account per administrator.")
def init(data: str | None, empty: bool) -> None:
    """Create the book and the lake, or bring them up to date; seed the demo city into a new one."""
    from console import founding

    settings = settings_of(data)
    with refusals(), progress_bars() as progress:
        founding.found(settings, demo=not empty, progress=progress)
    for line in founding.accounts_text(settings):
        click.echo(line)


@main.command()
@data_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--empty", is_flag=True, help="No demo city.")
def run(data: str | None, host: str, port: int, workers: int, empty: bool) -> None:
    """Everything in one: create what is missing, then web and jobs until Ctrl-C."""
    from console import founding
    from console.service import processes

    settings = settings_of(data)
    with private_files(), in_use(settings.data, HousePart.WEB, HousePart.JOBS) as held, usage_of_port():
        processes.check_port(host, port)  # before a city is founded, which takes a while
        with refusals(), progress_bars() as progress:
            settings = founding.found(settings, demo=not empty, progress=progress)
        for line in founding.accounts_text(settings):
            click.echo(line)
        with processes.listen(host, port) as door:
            click.echo(f"http://{host}:{port}/")
            sys.stdout.flush()
            sys.exit(processes.keep_house(settings, door, workers, jobs=True, held=held))


@main.command()
@data_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64))
def serve(data: str | None, host: str, port: int, workers: int) -> None:
    """The web server alone (waitress, several processes on one port)."""
    from console.service import processes

    settings = settings_of(data)
    with workbench_of(data):
        pass
    with (
        private_files(),
        in_use(settings.data, HousePart.WEB) as held,
        usage_of_port(),
        processes.listen(host, port) as door,
    ):
        sys.exit(processes.keep_house(settings, door, workers, jobs=False, held=held))


@main.command()
@data_option
@click.option("--once", metavar="JOB", help="Run this job now and end.")
@click.option("--lane", "lanes", metavar="LANE", multiple=True, help="Only the jobs of this lane; may be repeated.")
def jobs(data: str | None, once: str | None, lanes: tuple[str, ...]) -> None:
    """The jobs alone: collect, roll, assess, remind, expire, score, verify by the clock, each lane by itself."""
    from console import worklist
    from console.jobs import timetable
    from console.service import logs, processes

    if strange := [one for one in lanes if one not in timetable.LANES]:
        raise click.UsageError(f"there is no lane {strange[0]}; there are {', '.join(timetable.LANES)}")
    if once and once not in (known := [plan.name for plan in timetable.PLAN]):
        raise click.UsageError(f"there is no job {once}; there are {', '.join(known)}")
    settings = settings_of(data)
    with workbench_of(data) as workbench:
        if once:
            state = worklist.run_once(workbench, settings, once)
            click.echo(state)
            sys.exit(0 if state == "done" else 1)
        logs.configure(settings)
        _tell_apart(workbench)
        # Started by `guanjia run`, this process holds the house with its parent.
        with nullcontext() if processes.follow_parent() else in_use(settings.data, HousePart.JOBS, shared=True):
            worklist.run_forever(workbench, settings, lanes)


def _tell_apart(workbench: Workbench) -> None:
    """Say at the start where a book or a lake was restored without the other; what is damaged keeps nobody from starting."""
    from console.verification import agreement

    try:
        for line in agreement.compare(workbench).lines():
            click.echo(f"{line}: guanjia lake reconcile", err=True)
    except Exception as error:
        click.echo(f"book and lake could not be compared ({type(error).__name__}): guanjia verify", err=True)


@main.group()
def account() -> None:
    """Accounts, for who has the machine itself: the way back in where no administrator can open the door."""


@account.command()
@click.argument("login")
@data_option
def reset(login: str, data: str | None) -> None:
    """Give LOGIN a new first password, shown once and to be changed at the next login; its rights stay."""
    from console.accounts import accounts

    with _somebody(login, data, "account reset") as (tx, who):
        first = accounts.reset_password(tx, who)
    click.echo(first)


@account.command()
@click.argument("login")
@data_option
def unlock(login: str, data: str | None) -> None:
    """Let LOGIN be tried anew from everywhere, before the waits after wrong passwords are over."""
    from console.accounts import accounts

    with _somebody(login, data, "account unlock") as (tx, who):
        accounts.unlock(tx, who)


@account.command("forget-factor")
@click.argument("login")
@data_option
def forget_factor(login: str, data: str | None) -> None:
    """Take LOGIN's second factor and recovery codes away, so that they can be enrolled anew at the next login."""
    from console.accounts import factors

    with _somebody(login, data, "account forget-factor") as (tx, who):
        factors.forget_on_machine(tx, who)


@account.command("open-networks")
@data_option
def open_networks(data: str | None) -> None:
    """Let every role log in from anywhere again, where the networks of the rules keep everybody out."""
    from console.accounts import access_rules
    from quota.actors import steward

    with workbench_of(data) as workbench, refusals(), workbench.book.transaction(steward("account networks")) as tx:
        access_rules.open_networks(tx)


@contextmanager
def _somebody(login: str, data: str | None, task: str) -> Iterator[tuple[Tx, Person]]:
    """A transaction of the machine itself about the account ``login``."""
    from sqlalchemy import select

    from quota.actors import steward
    from quota.directory import Person

    with workbench_of(data) as workbench, refusals(), workbench.book.transaction(steward(task)) as tx:
        who = tx.scalar(select(Person).where(Person.login == login))
        if who is None:
            raise click.ClickException(f"nobody is called {login}")
        yield tx, who


@main.command()
@data_option
@click.option(
    "--anchor",
    "anchored",
    metavar="FILE|DIR",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Hold the book against these anchors, kept elsewhere; may be repeated. Default: the house's own copies.",
)
@click.option(
    "--anchor-key", "trusted", metavar="ID", default="", help="The id of the key that signed the oldest of them."
)
@click.option("--resume", is_flag=True, help="Go on with one that was interrupted, believing what it had read.")
@json_option
def verify(data: str | None, anchored: tuple[Path, ...], trusted: str, resume: bool, as_json: bool) -> None:
    """Check seals, anchors, balances and guards of the book, and the lake's files; exit 1 naming what does not fit.

    Everything is read again, part after part, however often it was before. One that was interrupted is gone on with by --resume;
    without it nothing is believed that was written down by another.
    """
    from console import anchors, verification

    settings = settings_of(data)
    path = settings.data / verification.LOGS / verification.BY_HAND
    left = verification.interrupted(path)
    if left is not None:
        then = "gone on with" if resume else "begun anew; --resume goes on with it"
        click.echo(f"interrupted at {left[1]:%Y-%m-%d %H:%M} after {left[0]} parts: {then}", err=True)
    with workbench_of(data) as workbench, progress_bars() as progress:
        log = verification.Log(path, resume=resume)
        found = verification.examine(
            workbench, progress, anchored=anchored or anchors.copies(settings), trusted=trusted, log=log
        )
    if as_json:
        emit(found.to_json())
    else:
        for line in found.lines():
            click.echo(line)
    sys.exit(0 if found.clean else 1)


@main.command()
@data_option
@click.option(
    "--engine",
    default="local",
    show_default=True,
    metavar="local|workers|spark|spark://HOST:PORT",
    help="Who measures: threads of this process, worker processes, or a Spark cluster. The findings are the same.",
)
@click.option("--workers", type=click.IntRange(1, 1024), help="How many threads or processes; default: one a core.")
@click.option("--lake", "where", metavar="PLACE", help="Read closed days there (a path or s3://…), not in the lake.")
@json_option
def assess(data: str | None, engine: str, workers: int | None, where: str | None, as_json: bool) -> None:
    """Judge every resource this morning by the policy in force, after closing the days that wait."""
    from metering.cases import openings
    from metering.judging import engines, findings, pipeline, policies, prospects
    from metering.statements import settling

    settings = settings_of(data)
    try:
        doing = engines.named(engine, workers)
    except (ValueError, LookupError) as error:
        raise click.UsageError(str(error)) from None
    with workbench_of(data) as workbench, refusals(), progress_bars() as progress:
        today = workbench.book.clock().astimezone(settings.zone).date()
        settling.seal(workbench)
        workbench.lake.roll([day for day in workbench.lake.hot_days() if day < today])
        run = pipeline.judge(workbench, today, engine=doing, where=where, progress=progress)
        with workbench.book.reading() as tx:
            policy = policies.in_force(tx, today).policy()
            shadow = openings.shadow(tx, findings.assessment(tx, run.id))
        ahead = prospects.prospect(policy, today, {*workbench.lake.days(), *workbench.lake.hot_days()})
    if as_json:
        told = {"assessment": run.id, "as_of": run.as_of, "resources": run.resources, "classes": run.counts}
        due = {"days": ahead.days, "needed": ahead.needed, "due": ahead.due}
        summed = {"cases": shadow.cases, "takes": shadow.takes, "worth": round(shadow.worth, 1), "gives": shadow.gives}
        held = {"shadow": {**summed, "needs": round(shadow.needs, 1)}} if shadow.cases else {}
        emit({**told, **held, **({"first_verdict": due} if prospects.silent(run.counts) else {})})
    else:
        click.echo(f"looked at {run.resources} resources, {run.first_day} to {run.last_day}")
        for verdict, count in sorted(run.counts.items()):
            click.echo(f"{verdict:<12} {count}")
        if shadow.cases:
            would = f"{shadow.cases} cases would be opened; none is until the authority opens enforcement"
            taken = f"{shadow.takes} take something, to recover what comes to {shadow.worth:.1f} vCPU"
            click.echo(f"in the shadow: {would}")
            click.echo(f"of these {taken}; {shadow.gives} give, which needs {shadow.needs:.1f} vCPU")
        if prospects.silent(run.counts):
            when = f"first verdict due on the morning of {ahead.due}" if ahead.due else "no sample has come yet"
            click.echo(f"no verdict yet: coverage {ahead.days} of {ahead.needed} days, {when}")


@main.command()
@data_option
@click.option("--finding", "finding_id", type=int, help="This finding alone; default: the latest assessment.")
@click.option("--assessment", "assessment_id", type=int, help="Every finding of this assessment.")
@json_option
def recompute(data: str | None, finding_id: int | None, assessment_id: int | None, as_json: bool) -> None:
    """Make findings again from the lake by the policy version they name; exit 1 naming what comes out otherwise."""
    from metering.archive import recompute
    from metering.judging import findings

    if finding_id is not None and assessment_id is not None:
        raise click.UsageError("give --finding or --assessment, not both")
    with workbench_of(data) as workbench, refusals(), progress_bars() as progress:
        if finding_id is not None:
            told = recompute.finding(workbench, finding_id)
        else:
            if assessment_id is None:
                with workbench.book.reading() as tx:
                    latest = findings.last_run(tx)
                    assessment_id = latest.id if latest else 0
            told = recompute.run(workbench, assessment_id, progress)
    if as_json:
        emit(told.to_json())
    else:
        for one in told.differences:
            click.echo(f"finding {one.finding_id}: {one.what} ({one.days} d): {one.before} → {one.now}")
        click.echo(f"{told.findings} findings, {len(told.differences)} differences")
    sys.exit(0 if told.same else 1)


@main.command()
@click.argument("path", required=False)
@data_option
@click.option("--policy", "names", default=",".join(backtest_names()), help="Names, separated by commas.")
@click.option("--shapes", type=click.Path(exists=True, dir_okay=False), help="Catalogue shapes (JSON or CSV).")
@click.option("--days", default=90, show_default=True, type=click.IntRange(4), help="Of the lake: days back.")
@click.option("--detail", is_flag=True, help="In JSON: every mark, by department and system, the worst drawn.")
@click.option("--all", "folder", type=click.Path(exists=True, file_okay=False), help="All traces of a folder.")
@click.option("--write", type=click.Path(dir_okay=False), help="With --all: this Markdown file, charts beside it.")
@json_option
def backtest(path: str | None, data: str | None, names: str, as_json: bool, **options: Any) -> None:
    """What each policy would have done: on a trace (Parquet), or with PATH `lake` on the city's own lake.

    Sized from what was known at the time, judged on the second half of each machine's samples.
    """
    from console.cli import backtests

    chosen = [name.strip() for name in names.split(",") if name.strip()]
    folder, write = options["folder"], options["write"]
    if not chosen:
        raise click.UsageError("--policy names no policy")
    if bool(path) == bool(folder) or bool(write) != bool(folder):
        raise click.UsageError("give PATH (or lake), or --all DIR with --write FILE")
    try:
        if folder:
            with progress_bars() as progress:
                backtests.document(folder, write, progress)
            return
        if path == "lake":
            with workbench_of(data) as workbench, refusals(), progress_bars() as progress:
                report = backtests.of_lake(workbench, chosen, options["shapes"], options["days"], progress)
        else:
            report = backtests.of_trace(str(path), chosen, options["shapes"], options["detail"])
    except (ValueError, KeyError, OSError) as error:
        raise click.UsageError(str(error.args[0] if isinstance(error, KeyError) else error)) from None
    if as_json:
        emit(report if options["detail"] else backtests.plain(report, caused=bool(options["shapes"])))
    else:
        for line in backtests.lines(report):
            click.echo(line)


@main.command()
@click.argument("path")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@data_option
@click.option("--count", default=1000, show_default=True, type=click.IntRange(1, 100_000), help="Settings to try.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--days", default=90, show_default=True, type=click.IntRange(4), help="Of the lake: days back.")
@click.option("--shapes", type=click.Path(exists=True, dir_okay=False), help="Catalogue shapes (JSON or CSV).")
@json_option
def search(path: str, folder: Path, data: str | None, as_json: bool, **options: Any) -> None:
    """Try many settings on a trace (Parquet), or with PATH `lake` on the city's own lake, as they would be carried out.

    FOLDER keeps the past that they are tried on, each result, and the drawing of the frontier. Stopped, the same command goes on
    where it was; more of them are the same and more.
    """
    from console.cli import backtests
    from metering.simulation import history
    from metering.sizing import traces

    given = options["count"], options["workers"], options["shapes"]
    try:
        with refusals(), progress_bars() as progress:
            if (folder / "whole").exists():
                found = backtests.searched(None, folder, *given, progress)
            elif path == "lake":
                with workbench_of(data) as workbench:
                    past = history.parts(workbench, history.past(workbench, options["days"]))
                    found = backtests.searched(past, folder, *given, progress)
            else:
                found = backtests.searched(iter([traces.load(path)]), folder, *given, progress)
    except (ValueError, KeyError, OSError) as error:
        raise click.UsageError(str(error.args[0] if isinstance(error, KeyError) else error)) from None
    if as_json:
        emit(found)
        return
    for one in found["frontier"]:
        click.echo(
            f"{one['name']:<36} violations {one['violation_rate']:.4%}  saved {one['net_cores_saved_share']:.2%}"
        )
    click.echo(f"{found['settings']} settings: {found['drawing']}")


lake.register(main)
main.add_command(rehearse)
main.add_command(rehearse, "replay")  # its name in 0.1.0, when a backtest was called a replay, too
main.add_command(found_group)
main.add_command(importing)
main.add_command(reference)
main.add_command(forecast_group)
main.add_command(providers.rescore)
main.add_command(providers.scorecard_group)
main.add_command(formula_group)
main.add_command(statements_group)
main.add_command(rules_group)
main.add_command(requests_group)
main.add_command(report_group)
main.add_command(secret_group)
main.add_command(agent_group)
main.add_command(orders_group)
main.add_command(backup)
main.add_command(anchor)
main.add_command(restore)
main.add_command(doctor)
main.add_command(support_bundle)

if __name__ == "__main__":
    main()
