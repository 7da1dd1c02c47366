"""``guanjia forecast``: how good the forecasts are, on the held-back days of trace files."""

from __future__ import annotations

from pathlib import Path

import click

from console.cli.terminal import emit, json_option, progress_bars


@click.group("forecast")
def forecast_group() -> None:
    """Forecasts of use: how far off they are, and how often their interval holds."""


@forecast_group.command("test")
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("--write", type=click.Path(dir_okay=False), help="Write this Markdown file, drawings beside it.")
@json_option
def test_of(folder: str, write: str | None, as_json: bool) -> None:
    """Forecast held-back days of every trace (Parquet) in FOLDER, beside the same weekday of last week."""
    from metering.forecasting import report

    try:
        with progress_bars() as progress:
            if write:
                told = report.write(Path(folder), Path(write), progress)
            else:
                told = report.of_folder(Path(folder), progress)
    except (ValueError, KeyError, OSError) as error:
        raise click.UsageError(str(error.args[0] if isinstance(error, KeyError) else error)) from None
    if as_json:
        emit({"sets": [one.to_json() for one in told]})
    elif not write:
        for one in told:
            click.echo(f"{one.dataset}: {one.machines} machines, {one.days} days, {one.ahead} ahead")
            for m in one.marks:
                click.echo(
                    f"  {m.of:<12} {m.what:<11} ratio {m.ratio:.2f}  MASE ratio {m.mase:.2f}  better {m.better:.0%}"
                    f"  in interval {m.coverage:.1%} of {m.inside_of}"
                )
