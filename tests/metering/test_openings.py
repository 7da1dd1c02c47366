"""Cases are opened one by one: what fails fails alone, a process that dies is resumed, and no ceiling is passed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import func, select

from metering import cases
from metering.cases import openings
from metering.judging import findings
from metering.judging.policy import Verdict
from metering.judging.procedure import Procedure
from quota.db import Tx
from tests.city import City
from tests.metering.cloud import Died
from tests.patience import together

MANY = 8


def judged(city: City, count: int = MANY) -> int:
    """An assessment that calls for so many reclaims (16 vCPU + 32 GB each: 24), and for one expansion."""
    idle = {city.machine(): Verdict.IDLE for _ in range(count)}
    return city.judge({**idle, city.machine(): Verdict.BUSY}, target={})


def opened(city: City) -> list[int]:
    """Ids of the resources that have a case, oldest first."""
    with city.book.reading() as tx:
        return list(tx.scalars(select(cases.Case.resource_id).order_by(cases.Case.id)))


def at_once(city: City, run: int, **ceilings: int) -> openings.Opening:
    with city.by() as tx:
        return cases.open_from(tx, findings.assessment(tx, run), **ceilings)


@pytest.mark.parametrize(
    ("rules", "takes", "why"),
    [
        ({"cases_per_run": 5}, 5, "run_ceiling"),
        ({"cases_per_department": 3}, 3, "department_ceiling"),
        ({"worth_per_run": 24.0 * 4 + 1}, 4, "run_ceiling"),
        ({"worth_per_department": 24.0 * 2 + 1}, 2, "department_ceiling"),
    ],
)
def test_one_by_one_opens_what_all_at_once_does(city_class, book, clock, rules: dict, takes: int, why: str) -> None:
    city = city_class(book, clock, Procedure(**rules))
    run = judged(city)
    one_by_one = openings.open_all(book, run)
    assert len(one_by_one.opened) == takes
    assert one_by_one.why()[why] == MANY - takes
    assert opened(city) == list(range(1, takes + 1)), "as they are ranked"
    assert openings.open_all(book, run).id == at_once(city, run).id == one_by_one.id, "once for each run"


def failing(monkeypatch: pytest.MonkeyPatch, fails: Callable[[int], BaseException | None]) -> list[int]:
    """Opening a case for a resource id raises what ``fails`` gives. Returns the ids that were tried."""
    tried: list[int] = []
    genuine = openings._open

    def open_(tx: Tx, run, one, procedure) -> cases.Case:
        tried.append(one.resource.id)
        case = genuine(tx, run, one, procedure)
        error = fails(one.resource.id)
        if error is not None:
            raise error
        return case

    monkeypatch.setattr(openings, "_open", open_)
    return tried


def test_what_fails_fails_alone_and_is_tried_once_more(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    run = judged(city)
    tried = failing(monkeypatch, lambda one: ZeroDivisionError() if one == 3 else None)
    found = openings.open_all(city.book, run)
    assert opened(city) == [1, 2, 4, 5, 6, 7, 8]
    assert tried.count(3) == 2
    assert [3, "failed"] in found.skipped
    assert len(found.opened) == MANY - 1


def test_a_second_try_may_succeed(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    run = judged(city)
    tried = failing(monkeypatch, lambda one: ConnectionError() if one == 3 and tried.count(3) == 1 else None)
    found = openings.open_all(city.book, run)
    assert opened(city) == [1, 2, 4, 5, 6, 7, 8, 3]
    assert "failed" not in found.why()


@pytest.mark.parametrize("at", [1, 4])
def test_a_process_that_dies_is_resumed_without_a_second_case_and_within_the_ceilings(
    city_class, book, clock, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    city = city_class(book, clock, Procedure(cases_per_run=5))
    run = judged(city)
    with monkeypatch.context() as dying:
        failing(dying, lambda one: Died() if one == at else None)
        with pytest.raises(Died):
            openings.open_all(book, run)
    assert opened(city) == list(range(1, at)), "the one it died in is not there"
    with book.reading() as tx:
        assert tx.scalar(select(func.count(openings.Opening.id))) == 0
    found = openings.open_all(book, run)
    assert opened(city) == [1, 2, 3, 4, 5]
    assert (len(found.opened), found.why()["run_ceiling"]) == (5, 3)


def test_two_at_once_pass_no_ceiling_and_open_nothing_twice(city_class, book, clock) -> None:
    city = city_class(book, clock, Procedure(cases_per_run=6, cases_per_department=5))
    run = judged(city)
    clock.advance(seconds=1)
    other = judged(city)  # another run, the same department
    start, found = threading.Barrier(3), []

    def work(which: int) -> None:
        start.wait()
        found.append(openings.open_all(book, which))

    together(*(partial(work, which) for which in (run, run, other)))
    assert len(found) == 3
    resources = opened(city)
    assert len(resources) == len(set(resources)) == 5
    assert len({one.id for one in found}) == 2
