"""No test has a time of its own to wait: how long, and that it waits for something, is said in tests/patience.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import patience
from tests.patience import pause, together, until

HERE = Path(__file__).resolve().parent
OWN = (Path(__file__).resolve(), Path(patience.__file__).resolve())
TIMES = re.compile(
    r"timeout\s*=\s*[\d.]"
    r"|\btime\.(?:sleep|monotonic|perf_counter)\b|\bfrom time import\b"
    r"|\.(?:wait|join|result|communicate|acquire)\(\s*[\d.]"
)


def test_no_test_has_a_bound_of_its_own() -> None:
    found = [
        f"{path.relative_to(HERE)}:{number}: {line.strip()}"
        for path in sorted(HERE.rglob("*.py"))
        if path not in OWN
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if TIMES.search(line)
    ]
    assert found == [], "PATIENCE is how long a test waits, until() what for, pause() where any time is right"


@pytest.mark.parametrize(
    "line",
    ["process.wait(timeout=60)", "time.sleep(1)", "done.wait(30)", "one.join(.5)", "urlopen(url, timeout=2)"],
)
def test_what_the_guard_is_for_is_found(line: str) -> None:
    assert TIMES.search(line)


@pytest.mark.parametrize("line", ['", ".join(names)', "process.wait(PATIENCE)", "page.wait_for_url(address)"])
def test_what_is_right_is_left_alone(line: str) -> None:
    assert not TIMES.search(line)


def test_what_never_comes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.05)
    with pytest.raises(AssertionError, match="never came to this: the moon is blue"):
        until(lambda: False, "the moon is blue")
    assert until(lambda: "now", "it is there at once") == "now"


def test_an_error_beside_is_an_error_here() -> None:
    done: list[int] = []

    def fails() -> None:
        raise ValueError("beside")

    def slow() -> None:
        pause(0.05)
        done.append(1)

    with pytest.raises(ValueError, match="beside"):
        together(fails, slow)
    assert done == [1]
