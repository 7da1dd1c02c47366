"""The ledgers of departments and information systems: what makes no sense is refused, what changes is audited."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from sqlalchemy import select

from quota.actors import steward
from quota.audit import AuditRecord
from quota.directory import departments
from quota.errors import Conflict, Invalid
from tests.city import City


def test_a_system_is_registered_and_only_what_differs_is_written(town: City) -> None:
    with town.book.transaction(steward()) as tx:
        one = departments.enter(
            tx, " s2 ", town.bureau, {"name": " 办件 ", "mlps_level": 3, "online_on": date(2026, 1, 5)}
        )
        assert (one.code, one.name, one.active) == ("s2", "办件", True)
    with town.book.transaction(steward()) as tx:
        departments.amend(tx, departments.system(tx, one.id), {"name": "办件", "rto_minutes": 30})
    with town.book.transaction(steward()) as tx:
        departments.amend(tx, departments.system(tx, one.id), {"name": "办件", "rto_minutes": 30})
    with town.book.reading() as tx:
        rows = list(tx.scalars(select(AuditRecord).where(AuditRecord.subject == f"system:{one.id}")))
        assert [row.action for row in rows] == ["system.register", "system.amend"]
        assert (rows[1].before, rows[1].after) == ({"rto_minutes": None}, {"rto_minutes": 30})
    town.prove()


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"name": " "}, "system.empty"),
        ({"name": "x", "mlps_level": 6}, "system.level"),
        ({"name": "x", "mlps_level": None}, "system.level"),
        ({"name": "x", "crypto_level": 0}, "system.level"),
        ({"name": "x", "rpo_minutes": -1}, "system.negative"),
        ({"name": "x", "arch": "z80"}, "system.arch"),
        ({"name": "x", "online_on": date(2026, 2, 1), "offline_on": date(2026, 1, 1)}, "system.dates"),
        ({"name": "x", "registered_users": 1, "monthly_active_users": 2}, "system.users"),
        ({"name": "x", "colour": "red"}, "system.field"),
    ],
)
def test_what_makes_no_sense_is_refused(town: City, facts: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as refusal, town.book.transaction(steward()) as tx:
        departments.enter(tx, "s2", town.bureau, facts)
    assert refusal.value.code == code


def test_codes_are_taken_once_and_closed_departments_get_nothing(town: City) -> None:
    with pytest.raises(Conflict), town.book.transaction(steward()) as tx:
        departments.enter(tx, "s", town.bureau, {"name": "x"})
    with pytest.raises(Conflict), town.book.transaction(steward()) as tx:
        departments.register(tx, "b", "另一个局")
    with town.book.transaction(steward()) as tx:
        departments.department(tx, town.neighbour).active = False
    with pytest.raises(Invalid), town.book.transaction(steward()) as tx:
        departments.enter(tx, "s2", town.neighbour, {"name": "x"})


def test_a_department_is_renamed(town: City) -> None:
    with town.book.transaction(steward()) as tx:
        departments.rename(tx, departments.department(tx, town.bureau), " 某某局 ")
    with pytest.raises(Invalid), town.book.transaction(steward()) as tx:
        departments.rename(tx, departments.department(tx, town.bureau), " ")
    with town.book.reading() as tx:
        assert departments.department(tx, town.bureau).name == "某某局"
