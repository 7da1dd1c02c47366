"""From a statement to a settled dispute, a corrected tariff and a closed month, over HTTP, by the people who do it.

web (4 vCPU, 市教育局) and db (2 vCPU, 市水务局) run on 甲云 since before May; db's samples stop half-way through the month.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from sqlalchemy import select, update

from metering.intake import late_figures
from metering.lake.store import Lake
from metering.statements import reconciliation, statements, tariffs
from metering.statements.disputes import Dispute
from metering.statements.reconciliation_tables import FourWayLine
from metering.statements.tables import CORRECTION, StatementLine
from metering.workbench import Workbench
from providers import base, observation
from providers.assessment import cards
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from providers.billing import bills
from providers.billing.bills import month_bounds
from quota import inventory
from quota.actors import Actor, Role, steward
from quota.directory.pools import Pool
from quota.units import VCPU, Arch
from tests.console.conftest import _catalog, app, city, client_of, founded, house, settings  # noqa: F401 - fixtures

MONTH = "2026-05"
START, END = month_bounds(MONTH)
HOURS = 744


@pytest.fixture
def works(house, city, settings, clock):  # noqa: F811
    clock.now = datetime(2026, 6, 3, 2, tzinfo=UTC)
    with house.transaction(steward()) as tx:
        pool = Pool(code="p1", name="政务外网区", provider_id=city.provider.id, arch="x86_64", zone="政务外网",
                    adapter="files")  # fmt: skip
        tx.add(pool)
        tx.flush()
        facts = [
            ResourceFact(name, name, ServiceKind.VM, Arch.X86_64, {VCPU: size}, ResourceState.RUNNING, department,
                         created_at=START - timedelta(days=9))
            for name, size, department in (("web", 4, "A01"), ("db", 2, "A02"))
        ]  # fmt: skip
        observation.observe(tx, pool, Inventory(START - timedelta(hours=1), facts, True))
        tx.execute(update(inventory.Resource).values(basis="adopted"))
    with house.transaction(Actor("authority1", "主", Role.AUTHORITY)) as tx:
        tariffs.enter(tx, VCPU, Decimal(46), date(2026, 1, 1), label="示例")
    found = Workbench(house, Lake(settings.lake_dir), settings.data)
    report(found, "web", range(HOURS))
    report(found, "db", range(HOURS // 2))
    with house.transaction(steward()) as tx:
        lines = [
            base.BillFact(MONTH, name, ServiceKind.VM, VCPU, Arch.X86_64, Decimal(size * HOURS), START, END)
            for name, size in (("web", 8), ("db", 2))
        ]
        bills.take(tx, tx.scalars(select(Pool)).one(), MONTH, lines, source="test")
    return found


def report(works, name, hours):
    with works.book.reading() as tx:
        one = tx.scalar(select(inventory.Resource.id).where(inventory.Resource.external_id == name))
    moments = [int((START + timedelta(hours=hour)).timestamp()) for hour in hours]
    works.lake.append(
        "agent",
        pa.table(
            {
                "resource": pa.array([one] * len(moments), pa.int32()),
                "ts": pa.array(moments, pa.int64()),
                "cpu_pct": pa.array([5.0 + n % 9 for n in range(len(moments))], pa.float64()),
            }
        ),
    )
    works.lake.roll()


def text(answer, status=200):
    assert answer.status_code == status, answer.get_data(as_text=True)[:800]
    return answer.get_data(as_text=True)


def test_a_month_from_statement_to_settlement(works, client_of, house, clock, posted):  # noqa: F811
    supervisor, authority = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    assert "还没有对账单" in text(supervisor.get("/reports/statements/"))
    assert supervisor.send("/reports/statements/make", {"month": MONTH}).status_code == 302
    page = text(supervisor.get("/reports/statements/"))
    assert "230.00" in page  # 184 for web, and 46 of the 92 for db
    assert "46.00" in page
    assert "示例单价" in page

    # each sees its own, down to the days
    mine = text(client_of("tenant1").get("/reports/statements/lines"))
    assert "web" in mine
    assert "184.00" in mine
    assert ">db<" not in mine
    with house.reading() as tx:
        run = statements.latest(tx, MONTH)
        db = tx.scalars(select(StatementLine).where(StatementLine.cost_fen == 4600)).one()
    assert "372.0" not in text(client_of("tenant1").get(f"/reports/statements/lines/{db.id}"), 404)
    days = text(client_of("tenant2").get(f"/reports/statements/lines/{db.id}"))
    assert "1,488.0" in days
    assert "744.0" in days
    drilled = text(supervisor.get(f"/reports/statements/?by=resource&department={db.department_id}"))
    assert "db" in drilled
    assert "web" not in drilled.split('id="results"')[1]
    answer = supervisor.get(f"/reports/statements/{run.id}/focus.csv")
    assert answer.get_data(as_text=True).startswith("BilledCost,")
    assert client_of("tenant1").get(f"/reports/statements/{run.id}/focus.parquet").data[:4] == b"PAR1"

    # bill → four-way line → dispute → settled
    page = text(supervisor.get("/reports/reconciliation/?cause=all"))
    assert "计费规格大于实际规格" in page
    with house.reading() as tx:
        (dispute,) = tx.scalars(select(Dispute)).all()
        bill = bills.current(tx, dispute.pool_id, MONTH)
    assert f"/bills/{bill.id}" in page
    page = text(supervisor.get(f"/bills/{bill.id}"))
    assert f"/reports/reconciliation/?month={MONTH}&amp;pool={bill.pool_id}&amp;cause=all" in page
    assert f"/reports/statements/?month={MONTH}" in page
    address = f"/reports/disputes/{dispute.id}"
    provider = client_of(Role.PROVIDER)
    text(provider.get(address), 404)
    text(supervisor.get(address))
    assert supervisor.send(f"{address}/claim", {"generation": 1, "text": "按 8 核计费"}).status_code == 302
    text(supervisor.send(f"{address}/claim", {"generation": 1}), 409)
    line = f"争议 {dispute.id} 账单有争议，请答复 · 时限 "
    told = posted()
    assert set(told) == {"provider1", "provider2"}
    assert all(line in said and f"https://city.example{address}" in said for said in told.values())
    assert "按 8 核计费" in text(provider.get(address))
    assert "web" in text(provider.get("/"))
    assert provider.send(f"{address}/answer", {"generation": 2, "answer": "accept", "text": "认"}).status_code == 302
    told = posted()
    assert set(told) == {"authority1", "authority2", "supervisor2"}, "who claimed it may not settle it"
    assert "争议已答复，待了结" in told["authority1"]
    assert address in text(authority.get("/"))
    assert address not in text(supervisor.get("/"))
    text(supervisor.send(f"{address}/settle", {"generation": 3, "amount": "184", "text": "核减"}), 403)
    text(authority.get(address))
    text(authority.send(f"{address}/settle", {"generation": 3, "amount": "x", "text": "核减"}), 422)
    assert authority.send(f"{address}/settle", {"generation": 3, "amount": "184.00", "text": "核减"}).status_code == 302
    assert "已了结" in text(provider.get(address))

    # a corrected tariff: shown first, then entered; the next run shows the difference
    fields = {"kind": "vcpu", "arch": "", "provider": "0", "item": "0", "price": "40", "per": "month",
              "stopped_share": "100", "effective_from": "2026-01-01", "label": "示例", "reason": "录入有误"}  # fmt: skip
    text(authority.get("/reports/tariffs/new"))
    page = text(authority.send("/reports/tariffs/new", fields))
    assert "46 元" in page
    with house.reading() as tx:
        assert len(tariffs.entered(tx)) == 1
    assert authority.send("/reports/tariffs/new", {**fields, "sure": "1"}).status_code == 302
    text(authority.send("/reports/tariffs/new", {**fields, "reason": ""}), 422)
    supervisor.send("/reports/statements/make", {"month": MONTH, "reason": "价目更正"})
    with house.reading() as tx:
        second = statements.latest(tx, MONTH)
    assert second.revision == 2
    assert "-30.00" in text(supervisor.get(f"/reports/statements/{second.id}/differences"))

    # closing, and what comes late
    assert "200.00" in text(authority.get(f"/reports/statements/{second.id}/close"))
    text(supervisor.send(f"/reports/statements/{second.id}/close"), 403)
    text(authority.send(f"/reports/statements/{run.id}/close"), 422)
    assert authority.send(f"/reports/statements/{second.id}/close", {"reason": "无误"}).status_code == 302
    report(works, "db", range(HOURS // 2, HOURS))
    supervisor.send("/reports/statements/make", {"month": MONTH})
    with house.reading() as tx:
        assert statements.latest(tx, MONTH).id == second.id
    clock.now = datetime(2026, 7, 2, tzinfo=UTC)
    june = statements.make(works, "2026-06")
    with house.reading() as tx:
        corrections = tx.scalars(
            select(StatementLine).where(StatementLine.run_id == june.id, StatementLine.charge == CORRECTION)
        ).all()
    assert [(one.corrects, one.cost_fen) for one in corrections] == [(MONTH, 4000)]

    # what came late, figure by figure, beside the line that bills it, each way a link
    days = -(-(HOURS - HOURS // 2) // 24)
    assert (late_figures.enter(works), late_figures.enter(works)) == (2 * days, 0)  # of samples and of CPU
    supervisor = client_of(Role.SUPERVISOR)  # a month later
    page = text(supervisor.get("/reports/corrections/"))
    assert "db" in page
    assert "/reports/statements/lines?month=2026-06&amp;charge=correction&amp;q=" in page
    assert "40.00" in page
    page = text(supervisor.get(f"/reports/statements/lines/{corrections[0].id}"))
    assert f"/reports/corrections/?month={MONTH}&amp;q=" in page
    sheet = supervisor.get(f"/reports/corrections/?month={MONTH}&metric=samples&export=csv").get_data(as_text=True)
    assert len(sheet.splitlines()) == 1 + days
    assert ",0,24," in sheet
    source = '<option value="agent"'
    assert source in text(supervisor.get("/reports/corrections/"))
    stranger = text(client_of("tenant1").get("/reports/corrections/"))
    assert "没有月结后到达的数据" in stranger
    assert source not in stranger, "nor who delivered for others"
    text(client_of(Role.SYSADMIN).get("/reports/corrections/"), 403)
    assert "月结后更正" in text(supervisor.get("/resources/lake/"))
    assert "运营月报" in text(client_of(Role.AUTHORITY).get(f"/reports/monthly/?month={MONTH}"))


def test_the_card_the_bill_and_the_four_way_line_say_the_same(works, client_of, house):  # noqa: F811
    supervisor = client_of(Role.SUPERVISOR)
    with house.reading() as tx:
        bill = bills.current(tx, tx.scalars(select(Pool.id)).one(), MONTH)
    page = text(supervisor.get(f"/bills/{bill.id}"))
    assert "尚未比对" in page
    answer = supervisor.send("/scorecards/new", {"provider": bill.provider_id, "period": MONTH})  # compares it first
    assert answer.status_code == 302
    with house.reading() as tx:
        (run,) = reconciliation.standing(tx, MONTH)
        lines = tx.scalars(select(FourWayLine).where(FourWayLine.run_id == run.id).order_by(FourWayLine.id)).all()
        card = cards.current(tx, bill.provider_id, MONTH)
        rows = cards.evidence_of(tx, card, "metering")
    assert [(row.facts["billed"], row.facts["metered"]) for row in rows] == [
        (str(one.billed), str(one.metered)) for one in lines
    ]
    assert sum(Decimal(row.facts["disputed"]) for row in rows) == 4 * HOURS  # web was billed as 8 cores
    metered, wrong = 4 * HOURS + HOURS, 4 * HOURS
    page = text(supervisor.get(f"/bills/{bill.id}"))
    assert f"{metered:,}" in page
    assert f"{wrong / metered:.1%}"[:2] in page
    bills_card = text(supervisor.get(f"{answer.location}/metering"))
    assert "web" in bills_card
    assert "尚未比对" not in text(supervisor.get(f"/reports/reconciliation/?month={MONTH}"))
    with house.transaction(steward()) as tx:
        fact = base.BillFact(MONTH, "web", ServiceKind.VM, VCPU, Arch.X86_64, Decimal(4 * HOURS), START, END)
        bills.take(tx, tx.scalars(select(Pool)).one(), MONTH, [fact], source="test")
    page = text(supervisor.get(f"/reports/reconciliation/?month={MONTH}"))
    with house.reading() as tx:
        second = bills.current(tx, bill.pool_id, MONTH)
    assert f'href="/bills/{bill.id}">第 1 版</a><br><a href="/bills/{second.id}">第 2 版已提交，尚未比对</a>' in page, (
        "the figures beside it are those of what was compared, which is not the bill that stands"
    )


def test_who_may_not(works, client_of):  # noqa: F811
    statements.make(works, MONTH)
    reconciliation.all_pools(works, MONTH)
    for who in (Role.SYSADMIN, Role.SECADMIN, Role.AUDADMIN):
        assert client_of(who).get("/reports/statements/").status_code == 403
    tenant = client_of(Role.TENANT)
    assert tenant.get("/reports/disputes/").status_code == 403
    assert tenant.get("/reports/tariffs/new").status_code == 403
    assert tenant.send("/reports/statements/make", {"month": MONTH}).status_code == 403
    page = text(tenant.get("/reports/reconciliation/?cause=all"))
    assert "db" not in page.split('id="results"')[1]
