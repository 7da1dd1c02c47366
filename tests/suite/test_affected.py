"""The inner loop runs what a change may break: by the rooms that it lies in, and by what tests import."""

from __future__ import annotations

import pytest

from tests.suite import affected
from tests.suite.affected import ROOT


@pytest.mark.parametrize(
    ("path", "rooms"),
    [
        ("quota/ledger/entries.py", {"quota.ledger"}),
        ("quota/ledger/__init__.py", {"quota.ledger"}),
        ("quota/db.py", {"quota.db"}),
        ("console/pages/cases/cases.py", {"console.pages.cases"}),
        ("templates/bills/show.html", {"console.pages.statements"}),
        ("README.md", set()),
        ("console/static/app.css", set()),
    ],
)
def test_a_path_lies_in_a_room(path: str, rooms: set[str]) -> None:
    assert affected.rooms([path]) == rooms


def test_what_names_a_room_is_run_and_what_does_not_is_left() -> None:
    of = affected.rooms(["quota/ledger/lending.py"])
    names = {path.name for path in (ROOT / "tests" / "quota").glob("test_*.py") if affected.concerned(path, (), of)}
    assert {"test_ledger.py", "test_lending.py"} <= names
    assert "test_calendar.py" not in names


def test_a_changed_test_and_the_house_s_own_are_always_run() -> None:
    calendar, contracts = ROOT / "tests/quota/test_calendar.py", ROOT / "tests/suite/test_contracts.py"
    assert affected.concerned(calendar, {"tests/quota/test_calendar.py"}, ())
    assert affected.concerned(contracts, (), ())
    assert not affected.concerned(calendar, (), ())
