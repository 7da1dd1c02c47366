"""The whole loop on real input, from the command line and by the reference rule."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from console.cli import rehearse
from console.schema import upgrade
from metering.lake.store import Lake
from metering.simulation import rehearsal, rehearsal_report
from metering.workbench import Workbench
from providers.adapters.recorded.cloud import Recording
from providers.readers.refusals import Refusals
from providers.readers.usage_files import read_usage
from quota import audit
from quota.calendar import ZONE
from quota.db import Book
from quota.ledger import entries
from tests.recordings.folder import recording

DOCS = Path(__file__).parents[2] / "docs"


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("guanjia"), "replay", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_folder_of_raw_files_goes_through_the_loop(traces: Path, tmp_path: Path) -> None:
    page = tmp_path / "replay.md"
    run = command(traces / "raw" / "bitbrains_rnd", "--json", "--write", page)
    assert run.returncode == 0, run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    assert report == json.loads(page.with_suffix(".json").read_text("utf-8"))
    machines = len({one.stem for one in (traces / "raw" / "bitbrains_rnd").rglob("*.csv")})
    assert report["vms"] == machines
    assert sum(report["classes"].values()) == machines
    assert report["conserved"] is True
    assert report["ledger_checks"] >= len(report["steps"]) > 20
    assert all(step["conserved"] for step in report["steps"])
    assert report["recovered_vcpu"] >= 1
    assert report["regret"]["shrunk"] == sum(
        report["cases"].get("shrink", {}).get(one, 0) for one in ("shrunk", "rolled_back")
    )
    assert (
        report["input"]["rows"] == report["input"]["taken"] + report["input"]["duplicates"] + report["input"]["refused"]
    )
    assert report["judged"][0]["as_of"] == "2013-09-01"
    text = page.read_text("utf-8")
    assert "guanjia rehearse bitbrains_rnd" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("content", [b"", b"nothing,that\nis,usage\n"])
def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(content)
    run = command(path)
    assert (run.returncode, run.stdout) == (1, "")
    assert "odd.csv" in run.stderr


def classes_by_the_loop(trace: Path, tmp_path: Path) -> dict[str, int]:
    """Class → machines after the loop's judgement by the reference rule, its ledger and its records checked."""
    recorded = Recording(read_usage(trace, Refusals()))
    clock = rehearsal.RehearsalClock(recorded.span[0].astimezone(ZONE).replace(hour=0, minute=0, second=0))
    book = Book(f"sqlite:///{tmp_path / 'book.db'}", clock=clock)
    upgrade.migrate(book)
    works = Workbench(book, Lake(tmp_path / "lake"), tmp_path)
    loop = rehearsal._Loop(works, clock, recorded, "reference", lambda *_: None)
    loop.found()
    loop.read_history()
    loop.judge()
    with book.reading() as tx:
        assert entries.conserved(tx)
        assert list(entries.check(tx)) == []
        assert list(audit.check(tx)) == []
    found = rehearsal_report.whole_span(works, loop.done)
    book.dispose()
    return found


def test_the_reference_rule_gives_the_classes_that_machines_were_made_for(recordings: Path, tmp_path: Path) -> None:
    made = Counter(one.verdict for one in recording("bitbrains_rnd").machines)
    assert classes_by_the_loop(recordings / "bitbrains_rnd.parquet", tmp_path) == made
    assert set(made) == {"idle", "normal", "busy"}


def test_the_reference_rule_gives_the_reference_classes(published: Path, tmp_path: Path) -> None:
    known = json.loads((published / "reference_open.json").read_text())["datasets"]["bitbrains_rnd"]["class_whole_span"]
    found = classes_by_the_loop(published / "bitbrains_rnd.parquet", tmp_path)
    assert found == known == {"idle": 148, "normal": 69, "busy": 26}


def test_the_page_in_the_docs_is_what_its_figures_give() -> None:
    report = json.loads((DOCS / "rehearsal.json").read_text("utf-8"))
    assert "\n".join(rehearse.page(report)) + "\n" == (DOCS / "rehearsal.md").read_text("utf-8")
    assert report["vms"] == 243
    assert report["conserved"] is True
