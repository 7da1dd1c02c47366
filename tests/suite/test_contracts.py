"""The contracts of tests/contracts.py bite: a made-up house that goes round a door, and one that only says that it is pure."""

from __future__ import annotations

from pathlib import Path

import grimp
import pytest

from tests.contracts import DoorsContract, PureContract

HOUSE = {
    "made/__init__.py": "",
    "made/hall.py": "from made.room import verb\nfrom made.room import subject\n",
    "made/thief.py": "from made.room.drawer import secret\n",
    "made/sneak.py": "from made.room import drawer\n",
    "made/room/__init__.py": "from made.room import subject\nfrom made.room.drawer import verb\n__all__ = ['subject', 'verb']\n",
    "made/room/drawer.py": "secret = 1\n\n\ndef verb() -> None: ...\n",
    "made/room/subject.py": '"""Sums. Pure."""\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sqlite3\n',
    "made/sums.py": '"""More sums. Pure."""\nfrom made.room import verb\n',
    "made/liar.py": '"""Even more. Pure."""\nfrom made import ground\n',
    "made/ground.py": "import sqlite3\n",
}


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> grimp.ImportGraph:
    for name, text in HOUSE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return grimp.build_graph("made", include_external_packages=True, cache_dir=None)


def contract(kind: type, **options: object) -> object:
    return kind(name="", session_options={}, contract_options={"roots": ["made"], **options})


def test_a_door_cannot_be_gone_round(graph: grimp.ImportGraph) -> None:
    found = contract(DoorsContract).check(graph, verbose=False)
    assert [line.split(",")[0] for line in found.metadata["broken"]] == [
        "made.sneak names made.room.drawer",
        "made.thief names made.room.drawer",
    ]


def test_what_says_that_it_is_pure_is_held_to_it_through_doors_and_modules(graph: grimp.ImportGraph) -> None:
    found = contract(PureContract, forbidden_modules=["sqlite3"]).check(graph, verbose=False)
    assert found.metadata["broken"] == [
        "made.liar says that it is pure and reaches sqlite3: made.liar -> made.ground -> sqlite3"
    ]
