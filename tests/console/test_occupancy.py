"""One house, one ``guanjia run``: real processes on one data directory, started at once, beside each other, and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from console.occupancy import HousePart, InUse, occupied, occupy
from console.verification.checks import examine
from metering.lake.store import Lake
from metering.workbench import Workbench
from quota.db import Book
from tests.patience import A_WHILE_S, PATIENCE, free_port, until

GUANJIA = str(Path(sys.executable).with_name("guanjia"))


class Started:
    """Processes of a test, in groups of their own, all ended with it."""

    def __init__(self) -> None:
        self.all: list[subprocess.Popen[str]] = []

    def __call__(self, *words: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GUANJIA_")}
        one = subprocess.Popen(
            [GUANJIA, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.all.append(one)
        return one


@pytest.fixture
def start() -> Iterator[Started]:
    made = Started()
    yield made
    for one in made.all:
        with suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
        one.communicate(timeout=PATIENCE)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=A_WHILE_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(one) for one in found.split()]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_two_started_at_once_found_one_house(tmp_path: Path, start: Started) -> None:
    data, ports = tmp_path / "data", [free_port(), free_port()]
    alone = ("--workers", "1")  # each takes three seconds of a core to begin
    both = [start("run", "--empty", "--data", str(data), "--port", str(port), *alone) for port in ports]
    until(lambda: any(one.poll() is not None for one in both), "one of two that gives way")
    lost = next(number for number, one in enumerate(both) if one.poll() is not None)
    said, _none = both[lost].communicate(timeout=PATIENCE)
    assert both[lost].returncode == 2, said
    assert f"{data} is in use" in said
    assert "Traceback" not in said
    until(lambda: answers(ports[1 - lost]), "a house that answers")
    assert both[1 - lost].poll() is None

    third = start("run", "--data", str(data), "--port", str(free_port()))
    said, _none = third.communicate(timeout=PATIENCE)
    assert (third.returncode, "is in use" in said, f"(process {both[1 - lost].pid})" in said) == (2, True, True), said

    # Killed, it leaves nothing that keeps the next one out, and what it founded is whole.
    web = children(both[1 - lost].pid)
    both[1 - lost].kill()
    both[1 - lost].wait()
    until(lambda: not any(alive(one) for one in web), "the end of the web servers")
    port = free_port()
    next_one = start("run", "--data", str(data), "--port", str(port), *alone)
    until(lambda: answers(port), "a house that answers")
    next_one.terminate()
    assert next_one.wait(timeout=PATIENCE) == 0
    book = Book(f"sqlite:///{data / 'book.db'}")
    assert examine(Workbench(book, Lake(data / "lake"), data)).problems == []
    book.dispose()


def test_two_foundings_at_once(tmp_path: Path, start: Started) -> None:
    both = [start("init", "--empty", "--data", str(tmp_path / "data")) for _ in range(2)]
    said = [one.communicate(timeout=PATIENCE)[0] for one in both]
    codes = sorted(one.returncode for one in both)
    assert codes in ([0, 0], [0, 1]), said
    if codes == [0, 1]:
        assert any("house.founding" in one for one in said)
    assert sum("sysadmin" in one for one in said) == 1, "first passwords are shown once"


def test_web_and_jobs_stand_beside_each_other(tmp_path: Path, start: Started) -> None:
    data = str(tmp_path / "data")
    assert start("init", "--empty", "--data", data).wait(timeout=PATIENCE) == 0
    port = free_port()
    jobs = [start("jobs", "--data", data) for _ in range(2)]
    web = start("serve", "--data", data, "--port", str(port), "--workers", "1")
    until(lambda: answers(port), "a house that answers")
    for words in (("run", "--port", str(free_port())), ("serve", "--port", str(free_port()))):
        refused = start(*words, "--data", data)
        said, _none = refused.communicate(timeout=PATIENCE)
        assert (refused.returncode, "is in use" in said) == (2, True), said
    assert start("jobs", "--once", "settle", "--data", data).wait(timeout=PATIENCE) == 0
    # A web process that dies is replaced.
    (only,) = children(web.pid)
    os.kill(only, signal.SIGKILL)
    until(lambda: children(web.pid) not in ([], [only]) and answers(port), "a house that answers")
    for one in (web, *jobs):
        assert one.poll() is None
        one.terminate()
        assert one.wait(timeout=PATIENCE) == 0


def test_a_part_is_held_alone_or_shared(tmp_path: Path) -> None:
    with occupied(tmp_path, HousePart.WEB, HousePart.JOBS):
        for part, shared in ((HousePart.WEB, False), (HousePart.JOBS, True)):
            with pytest.raises(InUse, match=f"process {os.getpid()}"):
                occupy(tmp_path, part, shared=shared)
        os.close(occupy(tmp_path, HousePart.FOUNDING))
    handles = [occupy(tmp_path, HousePart.JOBS, shared=True) for _ in range(2)]
    with pytest.raises(InUse), occupied(tmp_path, HousePart.WEB, HousePart.JOBS):
        raise AssertionError
    os.close(occupy(tmp_path, HousePart.WEB))  # what was held before the refusal is let go
    for one in handles:
        os.close(one)
