"""Findings in the order of their list: what is short first, then what recovers most; by an index, on both databases."""

from __future__ import annotations

from datetime import date

from sqlalchemy import select

from metering.judging import Assessment, Finding, findings, policies
from metering.judging.policy import Verdict
from quota.actors import steward
from quota.units import VCPU, Amount
from tests.city import CASES, City

GIVEN = [
    (Verdict.NORMAL, 0), (Verdict.IDLE, 2), (Verdict.UNDERUSED, 64), (Verdict.OVERLOADED, 0), (Verdict.UNATTACHED, 0),
    (Verdict.STOPPED, 8), (Verdict.IDLE, 32), (Verdict.BUSY, 0), (Verdict.UNKNOWN, 0), (Verdict.UNDERUSED, 2),
]  # fmt: skip
IN_ORDER = [3, 7, 6, 5, 1, 4, 2, 9, 8, 0]


def test_what_is_urgent_comes_first_by_an_index(book, clock, tmp_path):
    city = City(book, clock, CASES, tmp_path)
    machines = [city.standing_machine(Amount({VCPU: 64}), name=f"m{n}") for n in range(len(GIVEN))]
    with book.transaction(steward()) as tx:
        found = [
            findings.Judged(
                machine, verdict, 1.0, {}, [], Amount({VCPU: 64}), None, Amount({VCPU: vcpu} if vcpu else {})
            )
            for machine, (verdict, vcpu) in zip(machines, GIVEN, strict=True)
        ]
        day = date(2026, 5, 1)
        run = findings.record(tx, policies.in_force(tx, tx.now.date()), day, day, tx.now, "local", found)
        assert isinstance(run, Assessment)
    query = select(Finding.resource_id).where(Finding.assessment_id == run.id).order_by(findings.URGENT, Finding.id)
    with book.reading() as tx:
        assert [machines.index(one) for one in tx.scalars(query)] == IN_ORDER
        if tx.dialect == "sqlite":
            plan = str(tx.connection().exec_driver_sql("EXPLAIN QUERY PLAN " + str(query.compile(
                tx.get_bind(), compile_kwargs={"literal_binds": True}))).fetchall())  # fmt: skip
        else:
            for setting in ("enable_seqscan", "enable_sort", "enable_bitmapscan"):
                tx.connection().exec_driver_sql(f"SET LOCAL {setting} = off")
            plan = str(tx.connection().exec_driver_sql("EXPLAIN " + str(query.compile(
                tx.get_bind(), compile_kwargs={"literal_binds": True}))).fetchall())  # fmt: skip
    assert "ix_findings_assessment_id_urgency_id" in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan
