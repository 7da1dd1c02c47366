"""Tests are the same whenever they are collected: workers that collect in different seconds must find the same ones."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from pathlib import Path

from tests.patience import pause
from tests.suite import collected

ROOT = Path(__file__).resolve().parents[2]
APART_S = 2.1
"""A zip's clock ticks every two seconds, the coarsest that a parameter could hold."""


def collect(folder: Path, seed: int, zone: str, *words: str) -> tuple[subprocess.Popen[str], Path]:
    """A process that collects in ``folder`` and writes what it found to the file beside it."""
    target = folder / f"collected-{seed}"
    found = subprocess.Popen(
        [
            *(
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "--collect-only",
                "-p",
                collected.__name__,
                "-p",
                "no:cacheprovider",
            ),
            *("--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), *words),
        ],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONHASHSEED": str(seed), "TZ": zone, collected.TARGET: str(target), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return found, target


def twice(folder: Path, *words: str) -> list[str]:
    """What two collections, seconds apart, with other hashes and another zone, don't share: lines of either."""
    first = collect(folder, 1, "UTC", *words)
    pause(APART_S)
    second = collect(folder, 2, "Asia/Shanghai", *words)
    found = []
    for process, target in (first, second):
        said, _ = process.communicate()
        assert process.returncode == 0, said[-2000:]
        found.append(target.read_text(encoding="utf-8").splitlines())
    assert len(found[0]) > 1
    return [line for line in difflib.unified_diff(*found, n=0, lineterm="") if line[1:2] not in "+-@"]


def test_two_collections_seconds_apart_are_identical(tmp_path: Path) -> None:
    every = ("-m", "published or not published")
    assert [line[:300] for line in twice(tmp_path, *every)] == []


SUSPECT = """
import io, time, uuid, zipfile
import pytest
from tests.patience import pause

packed = io.BytesIO()
with zipfile.ZipFile(packed, "w") as made:
    made.writestr("a", "b")

class Odd:
    def __init__(self):
        self.held = hash("a")

@pytest.mark.parametrize("one", [time.time_ns()])
def test_clock(one): pass

@pytest.mark.parametrize("one", [packed.getvalue() + bytes(100)])
def test_zip(one): pass

@pytest.mark.parametrize("one", [uuid.uuid4().hex])
def test_chance(one): pass

@pytest.mark.parametrize("one", set("abcdefgh"))
def test_order(one): pass

@pytest.mark.parametrize("one", [str(object())])
def test_address(one): pass

@pytest.fixture(params=[Odd()])
def odd(request): pass

def test_fixture(odd): pass

@pytest.mark.parametrize("one", [{"a", "b", "c"}, Odd, {"a": len}, pytest.param])
def test_the_same(one): pass
"""


def test_what_differs_is_named(tmp_path: Path) -> None:
    """A clock, chance, the order of a set or an address, in an id or in a value that the id does not show."""
    suspect = tmp_path / "test_suspect.py"
    suspect.write_text(SUSPECT, encoding="utf-8")
    differing = {line.partition("::")[2].partition("[")[0] for line in twice(tmp_path, "--noconftest", str(suspect))}
    assert differing == {"test_clock", "test_zip", "test_chance", "test_order", "test_address", "test_fixture"}
