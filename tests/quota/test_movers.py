"""What a reorganisation takes along: each storey registers it, and no table with a department is forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table

from console.schema import models  # noqa: F401 - every table, and every mover
from quota.actors import steward
from quota.audit import AuditRecord
from quota.base import Base
from quota.directory import Adjustment, departments, movers, reorganisations
from quota.directory.movers import Mover, Part, Parts, PartSummary, ReorganisationStep, Rows
from quota.errors import Conflict
from tests.city import City

STAYS = {
    "assessment_records.department_id": "what was recorded of a department remains of it",
    "authorisations.department_id": "binds who gave it and nobody else: the successor gives its own",
    "awaited_cases.department_id": "is told anew by every opening",
    "billing_year_units.department_id": "a year that was settled keeps whose it was",
    "business_periods.department_id": "is read through mergers: it holds for what came from who declared it",
    "department_budgets.department_id": "was given to that department; what its successor has is said anew",
    "headships.department_id": "who answered for that department; its successor has heads of its own",
    "judged_wholes.department_id": "says whose a machine was when it was judged, and is made anew every night",
    "demands.department_id": "what a department said it needs remains its word; what is granted for it goes to its successor",
    "letter_ceilings.department_id": "is a word on that department; what moved stands under what was said of its new one",
    "measured_uses.department_id": "says whose a machine was when it was judged, and is made anew every night",
    "notices.department_id": "a letter stays with whom it was written to, whom the successor sees as one below it",
    "ratings.department_id": "what a department said of its provider remains its word",
    "reconciliation_lines.department_id": "a month that was settled keeps whose it was",
    "rectifications.department_id": "an order stays with whom it was given to, whom the successor sees as one below it",
    "reorganisations.source_id": "the record of what moved",
    "reorganisations.target_id": "the record of what moved",
    "request_notices.department_id": "a notice stays with whom it was given to, whom the successor sees as one below it",
    "scope_decisions.department_id": "is a word on that department; what moved stands under what was said of its new one",
    "scorecard_appeals.department_id": "what a department appealed remains its word",
    "scorecards.department_id": "what a department was assessed to be remains its own",
    "supervision_alerts.department_id": "is about what that department had; it ends with it, and its successor is looked at anew",
    "surplus_months.department_id": "says what that department left idle in a month; its successor's months begin anew",
    "surplus_notices.department_id": "is about what that department had; its successor is measured, and reminded, anew",
    "survey_answers.department_id": "what a department was asked of its provider, and said, remains its own",
    "statement_lines.department_id": "a month that was settled keeps whose it was",
}
"""Columns of departments that no mover answers for, and why."""


def columns(metadata: MetaData) -> set[str]:
    return {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if any(key.target_fullname == "departments.id" for key in column.foreign_keys)
    }


def test_every_table_with_a_department_is_moved_or_stays_for_a_reason() -> None:
    moved = [column for mover in movers.movers() for column in mover.columns]
    assert len(moved) == len(set(moved)), "two movers answer for one column"
    assert columns(Base.metadata) == {*moved, *STAYS}
    assert not set(moved) & set(STAYS)


def test_a_table_that_nobody_registered_is_found() -> None:
    metadata = MetaData()
    Table("departments", metadata, Column("id", Integer, primary_key=True))
    Table("forgotten", metadata, Column("owner_id", ForeignKey("departments.id")), Column("n", Integer))
    assert columns(metadata) == {"forgotten.owner_id"}


class Toys(Mover):
    """A storey of its own, with things that lie with departments in no table."""

    name = "toys"

    def __init__(self, lying: dict[int, list[str]]) -> None:
        self.lying = lying
        self.seen: list[str] = []
        self.broken = False

    def find(self, tx: Any, step: ReorganisationStep, found: Parts) -> Part:
        self.seen = list(found)
        return Part(list(self.lying.get(step.source_id, [])))

    def told(self, part: Part) -> list[PartSummary]:
        return [PartSummary("玩具", len(part.rows))]

    def move(self, tx: Any, step: ReorganisationStep, part: Part) -> None:
        if self.broken:
            raise Conflict("toys.stuck", "玩具拿不走")
        for toy in part.rows:
            self.lying[step.source_id].remove(toy)
            self.lying.setdefault(step.target_id, []).append(toy)


@pytest.fixture
def toys(town: City, monkeypatch: pytest.MonkeyPatch) -> Toys:
    monkeypatch.setattr(movers, "_movers", dict(movers._movers))
    toys = Toys({town.bureau: ["ball"]})
    movers.register(toys, order=900)
    return toys


def merge(town: City, key: str = "one") -> reorganisations.Reorganisation:
    with town.book.transaction(town.people["chief"]) as tx:
        return reorganisations.reorganise(tx, Adjustment.MERGE, town.bureau, town.neighbour, reason="机构改革", key=key)


def undo(town: City, batch: reorganisations.Reorganisation) -> None:
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.undo(tx, batch.id, reason="方案调整")


def test_what_is_registered_is_told_moved_counted_and_brought_back(town: City, toys: Toys) -> None:
    with town.book.reading() as tx:
        told = reorganisations.preview(tx, Adjustment.MERGE, town.bureau, town.neighbour)
    assert (told[-1].label, told[-1].count) == ("玩具", 1)
    assert toys.lying == {town.bureau: ["ball"]}
    batch = merge(town)
    assert toys.lying == {town.bureau: [], town.neighbour: ["ball"]}
    assert toys.seen == [
        "children", "systems", "funded_projects", "outside_facilities", "dated_entries", "hosted_equipment", "people", "loans", "commitments", "quota_offers", "quota_claims", "quota_conversions", "cloud_projects", "resources", "requests", "orders", "cases", "quota", "allocations", "takeovers", "inquiries", "request_templates", "system_shutdowns", "request_steps", "labour_jobs", "tickets",
    ]  # fmt: skip
    assert batch.moved["toys"] == ["ball"]
    with town.book.reading() as tx:
        record = tx.query(AuditRecord).filter_by(action="department.reorganise").one()
        assert record.after["toys"] == 1
    undo(town, batch)
    assert toys.lying == {town.bureau: ["ball"], town.neighbour: []}


def test_where_one_cannot_move_nothing_has(town: City, toys: Toys) -> None:
    toys.broken = True
    with pytest.raises(Conflict, match=r"toys\.stuck"):
        merge(town)
    with town.book.reading() as tx:
        assert departments.department(tx, town.bureau).active
        assert departments.system(tx, town.system).department_id == town.bureau
        assert tx.query(reorganisations.Reorganisation).count() == 0


def test_a_batch_from_before_a_mover_came_comes_back_without_it(town: City, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = merge(town)
    monkeypatch.setattr(movers, "_movers", dict(movers._movers))
    toys = Toys({town.neighbour: ["ball"]})
    movers.register(toys, order=900)
    undo(town, batch)
    assert toys.lying == {town.neighbour: ["ball"]}
    with town.book.reading() as tx:
        assert departments.system(tx, town.system).department_id == town.bureau


def test_a_name_is_one_movers_alone(town: City, toys: Toys) -> None:
    for taken in ("toys", "states", "parent"):
        other = Toys({})
        other.name = taken
        with pytest.raises(ValueError, match=taken):
            movers.register(other, order=1)

    class Greedy(Toys):
        name = "greedy"

        def keep(self, part: Part) -> dict[str, Any]:
            return {"people": []}

    movers.register(Greedy({}), order=950)
    with pytest.raises(ValueError, match="people"):
        merge(town)


def test_what_somebody_gave_to_a_third_meanwhile_stays_there(town: City) -> None:
    batch = merge(town)
    with town.book.transaction(steward()) as tx:
        third = departments.register(tx, "third", "第三局").id
        departments.system(tx, town.system).department_id = third
        departments.department(tx, town.branch).parent_id = third
    undo(town, batch)
    with town.book.reading() as tx:
        assert departments.system(tx, town.system).department_id == third
        assert departments.department(tx, town.branch).parent_id == third


def test_rows_say_which_column_they_answer_for() -> None:
    found = {mover.name: mover.columns for mover in movers.movers() if isinstance(mover, Rows)}
    assert found["children"] == ("departments.parent_id",)
    assert found["loans"] == ("loans.lender_id", "loans.borrower_id")
    assert found["orders"] == ("work_orders.department_id",)
