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
        ("templates/_macros.html", {"console.frame", "console.forms", "console.lists"}),
        ("console/translations/en/LC_MESSAGES/messages.po", {"console.i18n", "console.words"}),
        ("tests/city/cases.py", {"tests.city", "tests.city.cases"}),
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


def chosen(path: str) -> set[str]:
    """The files of tests that are run after a change of ``path`` alone, but for those that always are."""
    of, tests = affected.rooms([path]), sorted((ROOT / "tests").rglob("test_*.py"))
    found = {str(one.relative_to(ROOT)) for one in tests if affected.concerned(one, {path}, of)}
    return {one for one in found if not one.startswith("tests/suite/")}


def test_what_tests_share_concerns_all_who_share_it() -> None:
    every = {str(one.relative_to(ROOT)) for one in (ROOT / "tests").rglob("test_*.py")}
    assert chosen("tests/conftest.py") == {one for one in every if not one.startswith("tests/suite/")}
    quotas = chosen("tests/quota/conftest.py")
    assert {one for one in every if one.startswith("tests/quota/")} <= quotas
    assert "tests/console/test_lists.py" not in quotas
    city = chosen("tests/city/plans.py")
    assert {"tests/quota/test_ledger.py", "tests/console/test_api.py", "tests/metering/test_cases.py"} <= city
    assert "tests/quota/test_vault.py" in city, "its conftest founds a town"
    assert "tests/test_patience.py" not in city


def test_what_is_no_module_concerns_who_uses_it() -> None:
    assert "tests/console/test_i18n.py" in chosen("console/translations/en/LC_MESSAGES/messages.po")
    assert "tests/console/test_schema.py" in chosen("console/migrations/versions/0001_house.py")
    static = chosen("console/static/app.css")
    assert "tests/console/test_security.py" in static
    assert "tests/quota/test_ledger.py" not in static
    assert "tests/console/test_forms.py" in chosen("templates/_macros.html")
