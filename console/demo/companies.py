"""The demo city's companies: their bills and incidents as they report them, what the steward made of them, and scores.

By the same verbs that a real city uses; the time is now, since nobody dates a ruling back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

from sqlalchemy import select

from console import scoring
from console.demo import tickets
from metering.settlement import YearFinding, YearTerms, budgets, sheets, years
from metering.statements import closings
from metering.workbench import Workbench
from providers.assessment import (
    Appeal,
    AppealState,
    CardSubject,
    Fitness,
    ScorecardRecord,
    SubjectType,
    appeals,
    cards,
    compatibility,
    periods,
    records,
    rectifications,
    registry,
)
from providers.base import Responsibility
from providers.billing import Incident, incidents, maintenances
from providers.contracts import ContractBasis, ContractCoverage, ContractTerms, Instalment, contracts
from quota.actors import Actor, Role
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import CloudProvider, Department, Person, Pool
from quota.errors import Invalid
from quota.units import BLOCK

FRESH = timedelta(days=5)
"""Incidents younger than this still wait for their ruling."""

COMBINATIONS = (
    ("鲲鹏", "麒麟 V10", "达梦 8", "东方通 7", Fitness.CERTIFIED, True),
    ("鲲鹏", "openEuler 24.03", "", "", Fitness.ADAPTED, True),
    ("海光", "统信 V20", "人大金仓 V9", "", Fitness.ADAPTING, False),
    ("龙芯", "麒麟 V10", "", "", Fitness.UNTESTED, False),
)


def live(workbench: Workbench) -> None:
    """Collect, rule, record, score; and publish the past quarter."""
    scoring.collect(workbench)
    with workbench.book.reading() as tx:
        today = tx.now.astimezone(ZONE).date()
        supervisor, authority = _person(tx, Role.SUPERVISOR), _person(tx, Role.AUTHORITY)
        companies = list(tx.scalars(select(CloudProvider.id).order_by(CloudProvider.id)))
    with workbench.book.transaction(supervisor) as tx:
        _rule(tx)
        for number, company in enumerate(companies):
            _record(tx, CardSubject(SubjectType.COMPANY, company), today, careless=bool(number))
    shown: list[int] = []
    for subject, period in scoring.due(workbench):
        card = scoring.score(workbench, subject, period)
        if periods.is_quarter(period) and (card.scored_weight or card.veto):
            with workbench.book.transaction(authority) as tx:
                cards.publish(tx, card.id, card.generation)
            if subject.type is SubjectType.COMPANY:
                shown.append(card.id)
    _appeal(workbench, supervisor, shown)
    _rectify(workbench, supervisor, shown)
    _maintain(workbench, supervisor)
    _contract(workbench, supervisor)
    tickets.live(workbench)


def _contract(workbench: Workbench, supervisor: Actor) -> None:
    """Two lots of one tender: the first company is paid by use, its storage by a contract of its own, the second in instalments; the
    first's closed month is drafted under each of its contracts, to be confirmed by the authority."""
    with workbench.book.transaction(supervisor) as tx:
        year = tx.now.astimezone(ZONE).year
        closed = [one.month for one in closings.closings(tx)]
        companies = tx.scalars(select(CloudProvider).order_by(CloudProvider.id).limit(2)).all()
        common: dict[str, Any] = {
            "payer": "示例：市财政局", "first_day": date(year - 1, 1, 1), "last_day": date(year + 1, 12, 31),
            "ceiling_fen": 60_000_000_00, "retention_share": Decimal(5),
        }  # fmt: skip
        by_use, apart = (f"示例：政务云服务采购 {lot}" for lot in ("第一标段", "第二标段"))
        number, storage = f"示例-{year - 1}-政务云-01", ContractCoverage(classes=frozenset({BLOCK}))
        used = [
            contracts.enter(tx, companies[0].id, terms).id
            for terms in (
                ContractTerms(number=number, name=by_use, **common),
                ContractTerms(number=f"{number}/1", name=f"{by_use}（云存储）", coverage=storage, **common),
            )
        ]
        if len(companies) > 1:
            shares = tuple(
                Instalment(f"{year + part}-06", share)
                for part, share in ((-1, Decimal(30)), (0, Decimal(40)), (1, Decimal(30)))
            )
            contracts.enter(
                tx, companies[1].id,
                ContractTerms(
                    number=f"示例-{year - 1}-政务云-02", name=apart, basis=ContractBasis.INSTALMENTS, instalments=shares, **common
                ),
            )  # fmt: skip
        for month, contract_id in product(closed[-1:], used):
            sheets.draft(tx, contract_id, month)
    if closed:
        _settle_year(workbench, supervisor, closed)


def _settle_year(workbench: Workbench, supervisor: Actor, closed: Sequence[str]) -> None:
    """The closed months as a year of settlement, drawn up and waiting for the authority; a budget that is nearly used up."""
    with workbench.book.transaction(supervisor) as tx:
        authority, today = _person(tx, Role.AUTHORITY), tx.now.astimezone(ZONE).date()
        terms = YearTerms(
            name=f"示例：{closed[-1][:4]} 结算年度", first_month=max(closed[0], closed[-12:][0]), last_month=closed[-1],
            due_on=today + timedelta(days=20), paid_in=today.year + 1, basis="示例：市财政局关于年度结算的通知",
        )  # fmt: skip
        entered = years.enter(tx, terms)
    with workbench.book.transaction(authority) as tx:
        year = years.enact(tx, entered.id, entered.generation)
        spender = tx.scalar(select(Department.id).where(Department.active).order_by(Department.id).limit(1))
        if spender is not None:
            budgets.state(tx, spender, today.year, 300_000_00, "示例：当年部门预算批复")
    with workbench.book.transaction(supervisor) as tx:
        years.judge(
            tx, year.id, year.generation, YearFinding.REASONABLE, "示例：单价与价目一致，用量经计量核实，全年费用合理"
        )


def _maintain(workbench: Workbench, supervisor: Actor) -> None:
    """A window next week in each pool, of which the last was called off."""
    with workbench.book.transaction(supervisor) as tx:
        night = (tx.now.astimezone(ZONE) + timedelta(days=6)).replace(hour=1, minute=0, second=0, microsecond=0)
        for pool in tx.scalars(select(Pool).order_by(Pool.id)).all():
            told = maintenances.announce(
                tx,
                pool,
                night,
                night + timedelta(hours=3),
                "示例：存储固件升级",
                "示例：逐台迁移，业务不中断；可能有短时抖动",
            )
        maintenances.cancel(tx, told.id, told.generation, "示例：固件版本推迟发布")


def _worst(tx: Tx) -> Sequence[ScorecardRecord]:
    """The published card of a department with the lowest total."""
    rated = ScorecardRecord.total.is_not(None)
    query = select(ScorecardRecord).where(cards.newest(SubjectType.DEPARTMENT, published=True), rated)
    return tx.scalars(query.order_by(ScorecardRecord.total, ScorecardRecord.id).limit(1)).all()


def _rectify(workbench: Workbench, supervisor: Actor, shown: Sequence[int]) -> None:
    """What cost each company most in the quarter is to be put right, and what cost one department; the first company has planned
    it, and proven the second thing."""
    with workbench.book.transaction(supervisor) as tx:
        due = tx.now.astimezone(ZONE).date() + timedelta(days=14)
        ordered = []
        for card in (*(cards.scorecard(tx, one) for one in shown), *_worst(tx)):
            newest = cards.of(tx, card.subject, card.month) or card
            lost = sorted((mark for mark in newest.marks if mark.deduction), key=lambda one: -(one.deduction or 0))
            ordered += [
                rectifications.order(
                    tx, f"scorecard:{newest.id}/{mark.indicator}", f"示例：{newest.month} {registry.label(mark.indicator)}",
                    "示例：逐条查明扣分原因，提出措施并在期限前完成", due,
                )
                for mark in lost[:2]
            ]  # fmt: skip
        staff = {
            one.provider_id: Actor(one.login, one.name, Role.PROVIDER, provider_id=one.provider_id)
            for one in tx.scalars(select(Person).where(Person.role == Role.PROVIDER.value).order_by(Person.id.desc()))
        }
    for number, one in enumerate(ordered[:2]):
        if one.provider_id in staff:
            with workbench.book.transaction(staff[one.provider_id]) as tx:
                planned = rectifications.plan(tx, one.id, one.generation, "示例：由运维负责人牵头，两周内完成")
                if number:
                    rectifications.prove(tx, one.id, planned.generation, "示例：已完成，监测记录见附件")


def _appeal(workbench: Workbench, supervisor: Actor, shown: Sequence[int]) -> None:
    """Where the weeks before were too few for a ruling: what was appealed is dismissed, and the company with the lower mark of the
    quarter appeals against that."""
    with workbench.book.transaction(supervisor) as tx:
        if not shown or tx.scalar(select(Appeal.id).where(Appeal.state == AppealState.DISMISSED.value).limit(1)):
            return
        for one in tx.scalars(select(Appeal).where(Appeal.state == AppealState.FILED.value)).all():
            appeals.rule(tx, one.id, upheld=False, ruling="示例：依据与申诉不符，维持原评分")
        lowest = min((cards.scorecard(tx, one) for one in shown), key=lambda one: (one.total or 0, one.id))
        staff = tx.scalars(
            select(Person).where(Person.role == Role.PROVIDER.value, Person.provider_id == lowest.provider_id)
        ).first()
    if staff is not None:
        actor = Actor(staff.login, staff.name, Role.PROVIDER, provider_id=staff.provider_id)
        with workbench.book.transaction(actor) as tx:
            appeals.file(tx, lowest.id, "示例：缩容工单因使用单位要求延期执行，不应计入本公司逾期")


def _rule(tx: Tx) -> None:
    """Settle what is not fresh as the company itself says, where the rules allow it."""
    waiting = select(Incident).where(Incident.settled_at.is_(None), Incident.started_at < tx.now - FRESH)
    for one in tx.scalars(waiting.order_by(Incident.id)).all():
        try:
            incidents.settle(
                tx, one.id, one.generation, Responsibility(one.claimed), "示例：经核对监控与公告，与自述一致"
            )
        except Invalid:  # maintenance that was not announced in the house is the company's
            incidents.settle(tx, one.id, one.generation, Responsibility.PROVIDER, "示例：维护未在本系统公告")


def _record(tx: Tx, company: CardSubject, today: date, *, careless: bool) -> None:
    """Backups and a review a month, a drill a quarter, certificates, one thing amiss at the careless company."""
    month = today.replace(day=1)
    for _month in range(5):
        month = (month - timedelta(days=1)).replace(day=1)
        done = 1_178 if careless else 1_240
        records.enter(tx, company, "backups", month.replace(day=28), "示例：备份平台月报",
                      figures={"due": 1_240, "done": done})  # fmt: skip
        records.enter(tx, company, "review", month.replace(day=28), "示例：安全运营月报")
        if month.month % 3 == 0 and not careless:
            records.enter(tx, company, "drill", month.replace(day=20), "示例：恢复演练报告",
                          figures={"passed": True})  # fmt: skip
    if careless:
        records.enter(tx, company, "talk", month.replace(day=26), "示例：因高危漏洞逾期未改，约谈公司负责人",
                      figures={"manner": "talk"})  # fmt: skip
        records.enter(tx, company, "vulnerability", month.replace(day=25), "示例：漏洞扫描通报", figures={"count": 2})
    for certificate, days in (("mlps3", 200), ("crypto", 40), ("cloud_security", -20 if careless else 400)):
        until = today + timedelta(days=days)
        records.enter(tx, company, "certificate", min(until - timedelta(days=365), month), "示例：证书副本",
                      figures={"certificate": certificate}, valid_until=until)  # fmt: skip
    records.enter(tx, company, "year_end", date(today.year - 1, 12, 31), "示例：上年年终评审",
                  figures={"points": Decimal(84 if careless else 92)})  # fmt: skip
    for chip, system, database, middleware, fitness, required in COMBINATIONS:
        certified = fitness is Fitness.CERTIFIED
        compatibility.state(
            tx, company.id, chip, system, Fitness.ADAPTED if careless and certified else fitness, database=database,
            middleware=middleware, required=required, certificate="示例-证书-001" if certified else "",
            valid_until=today + timedelta(days=300) if certified else None, note="示例",
        )  # fmt: skip


def _person(tx: Tx, role: Role) -> Actor:
    who = tx.scalars(select(Person).where(Person.role == role.value).order_by(Person.id)).first()
    if who is None:
        raise LookupError(f"the demo has no {role}")
    return Actor(who.login, who.name, role)
