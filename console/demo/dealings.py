"""What departments have with each other and with the steward in the demo city: quota lent, shared out and offered on the market, a
system that changed hands, a department that was split, cards in slices, equipment that a company keeps, a verification that the auditor asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import select

from console.demo import supervision
from console.verification import runs
from metering.workbench import Workbench
from providers import labour
from providers.adapters.simulated import city
from quota import resource_classes
from quota.actors import Actor, Role
from quota.calendar import ZONE
from quota.directory import (
    Adjustment,
    DatedKind,
    Department,
    Division,
    HostedKind,
    Person,
    Pool,
    System,
    dated,
    delegations,
    funded_projects,
    hosted,
    outside,
    reorganisations,
)
from quota.errors import Refused
from quota.exchange import (
    ConversionTerms,
    ExchangeSubject,
    MarketScope,
    MarketTerms,
    OfferWay,
    conversions,
    market,
    rules,
)
from quota.inventory import Resource
from quota.ledger import Account, Act, Allotment, Holder, Loan, allotments, lending, slicing
from quota.requests import (
    Ask,
    Decision,
    Line,
    Request,
    RequestState,
    approvals,
    copies,
    declared,
    draft,
    kinds,
    lock,
    submit,
)
from quota.units import ACCELERATOR, VCPU, Arch, ClassCode, Commodity, Group

LENT, OFFERED = 8, 4
"""vCPU that one department lends to another, and that it offers besides."""

WEIGHTS = {Arch.X86_64: 100, Arch.AARCH64: 80}
"""What a vCPU is worth; of other architectures as much as of x86_64."""

CREDIT = 10
"""By how many per cent a unit outside 信创 is worth more."""

CONVERTED = 25
"""vCPU that a department asks to be converted; none where it has less."""

PROJECT_DAYS = (240, 20)
"""Days until projects are to be accepted."""

RATES = (("MD-1", "高级工程师", "人天", "1500"), ("MOVE", "系统迁移", "次", "8000"))
"""Services of people: code, name, unit, an invented price."""

PROMISED, PROMISED_DAYS = 64, 90
"""vCPU beyond what a pool has left that a department is promised, and in how many days."""

SLICES = ("vnpu4", "加速卡切片（四分之一卡）", "quarter of an accelerator", 4, "vir05_1c_16g\nvir06_1c_16g")
"""A class of slices: code, name, name in English, how many a card makes, what clouds call one."""

CUT, GRANTED_SLICES = 3, 5
"""Cards of a pool that are given out in slices, and slices that a department is granted."""

HOSTED = (("加密机", HostedKind.SECURITY, 50, 2, 600), ("档案磁带库", HostedKind.STORAGE, 700, 6, 1500))
"""What a department has kept for it: what it is, for how many days, its units of height, watts."""

AWAY_DAYS = 5
"""For how long a supervisor is away."""

SHARED = (24, 16, 24)
"""vCPU that a district shares out to two of its bureaus, and that it keeps."""


def live(workbench: Workbench) -> None:
    """Deal, all of it this morning."""
    with workbench.book.reading() as tx:
        people = tx.scalars(select(Person).order_by(Person.id)).all()
        clerks = [
            Actor(one.login, one.name, Role.TENANT, one.department_id) for one in people if one.role == Role.TENANT
        ]
        auditor = next(Actor(one.login, one.name, Role.AUDITOR) for one in people if one.role == Role.AUDITOR)
        authorities = [Actor(one.login, one.name, Role.AUTHORITY) for one in people if one.role == Role.AUTHORITY]
    _lend(workbench, clerks)
    _share_out(workbench, authorities[0])
    _hand_over(workbench, authorities[0], clerks[0])
    _exchange(workbench, authorities, clerks)
    _projects(workbench, clerks[0])
    _serve(workbench, authorities[0], clerks[0])
    _promise(workbench, people, clerks[0])
    _cut(workbench, authorities[0], clerks[0])
    _split(workbench, authorities[0], {one.department_id for one in clerks})
    _stand_in(workbench, [one.actor() for one in people if one.role == Role.SUPERVISOR], clerks[0])
    _host(workbench, clerks[0], next(one.actor() for one in people if one.role == Role.PROVIDER))
    supervision.live(workbench, authorities, clerks[0])
    with workbench.book.transaction(auditor) as tx:
        runs.ask(tx, night=tx.now.astimezone(ZONE).date())
    runs.carry_out(workbench)


def _stand_in(workbench: Workbench, supervisors: list[Actor], clerk: Actor) -> None:
    """One supervisor is away for some days and named a deputy, who has taken on the most urgent of what waits; a department keeps a
    request that it files again and again."""
    deputy, absent = supervisors[0], supervisors[-1]
    with workbench.book.transaction(absent) as tx:
        ids = dict(tx.execute(select(Person.login, Person.id)).all())
        today = tx.now.astimezone(ZONE).date()
        delegations.delegate(
            tx, ids[absent.login], ids[deputy.login], today, today + timedelta(days=AWAY_DAYS - 1), "参加信创培训"
        )
    with workbench.book.transaction(deputy) as tx:
        waits = approvals.queue(tx)
        if waits:
            approvals.assign(tx, waits[0], waits[0].generation, deputy.login)
    with workbench.book.transaction(clerk) as tx:
        own = tx.scalars(
            select(Request)
            .where(
                Request.department_id == clerk.department_id,
                Request.kind == kinds.CREATE.code,
                Request.decided_at.is_not(None),
            )
            .order_by(Request.id)
        ).first()
        if own is not None:
            copies.keep(tx, own, "办公系统云主机")


def _host(workbench: Workbench, clerk: Actor, company: Actor) -> None:
    """A company keeps two things for a department in its rooms: one stands, the other is to be placed."""
    with workbench.book.transaction(clerk) as tx:
        today = tx.now.astimezone(ZONE).date()
        made: list[int] = []
        for name, kind, days, height_u, power_w in HOSTED:
            facts = {
                "name": f"示例：{name}", "kind": kind, "height_u": height_u, "power_w": power_w,
                "agreement": f"示例-托管-{today.year}-{len(made) + 1:02}", "ends_on": today + timedelta(days=days),
            }  # fmt: skip
            made.append(hosted.enter(tx, clerk.department_id or 0, company.provider_id or 0, facts).id)
    with workbench.book.transaction(company) as tx:
        hosted.place(tx, made[0], "示例：一号机房", "A01", 12, generation=1)


def _lend(workbench: Workbench, clerks: list[Actor]) -> None:
    """Who was granted more quota than it uses yet lends some of it, has a part back, and offers more."""
    with workbench.book.reading() as tx:
        granted = tx.scalars(
            select(Request).where(Request.kind == kinds.QUOTA.code, Request.state == RequestState.DONE.value)
        ).first()
        if granted is None:
            raise LookupError("nobody in the demo was granted quota")
        pool_id, arch, lender = granted.pool_id, granted.pool.arch, granted.department_id
    own = next(one for one in clerks if one.department_id == lender)
    others = [one for one in clerks if one.department_id != lender]
    cls = Commodity.of(VCPU, Arch(arch))
    for number, (amount, borrower) in enumerate(zip((LENT, OFFERED), others, strict=False)):
        with workbench.book.transaction(own) as tx:
            loan = lending.offer(
                tx, pool_id, cls, amount, lender, int(borrower.department_id or 0), days=90, guaranteed_days=30,
                notice_days=7, reason="专题上线推迟，先借给年终集中业务使用", key=f"demo:loan:{number}",
            )  # fmt: skip
            loan_id, generation = loan.id, loan.generation
        if number == 0:
            with workbench.book.transaction(borrower) as tx:
                generation = lending.accept(tx, loan_id, generation=generation).generation
            with workbench.book.transaction(borrower) as tx:
                lending.give_back(tx, loan_id, amount // 4, generation=generation)


def _share_out(workbench: Workbench, authority: Actor) -> None:
    """A district is granted quota for the year, shares it out to its bureaus, and moves some of it from one to the other."""
    with workbench.book.reading() as tx:
        manager = tx.scalars(select(Person).where(Person.quota_manager)).first()
        if manager is None:
            raise LookupError("nobody in the demo manages quota")
        actor = Actor(manager.login, manager.name, Role.TENANT, manager.department_id)
        district = manager.department_id or 0
        below = select(Department.id).where(Department.parent_id == district).order_by(Department.id).limit(2)
        first, second = tx.scalars(below)
        free = select(Account).where(Account.kind == VCPU, Account.holder == Holder.FREE.value)
        widest = tx.scalars(free.order_by(Account.balance.desc(), Account.id)).first()
        if widest is None or widest.balance < sum(SHARED):
            raise LookupError("no pool of the demo has as much to give")
        pool_id, cls = widest.pool_id, widest.commodity
    for number, (who, act, node, target, amount, reason) in enumerate(
        (
            (authority, Act.GRANT, district, None, sum(SHARED), "年度配额，由区统筹使用"),
            (actor, Act.SHARE, district, first, SHARED[0], "按年度计划下拨"),
            (actor, Act.SHARE, district, second, SHARED[1], "按年度计划下拨"),
            (actor, Act.REALLOT, first, second, SHARED[0] // 3, "项目推迟，调给先开工的单位"),
        )
    ):
        with workbench.book.transaction(who) as tx:
            allotments.carry_out(
                tx, Allotment(act, pool_id, cls, node, amount, reason, target), key=f"demo:tree:{number}"
            )


def _hand_over(workbench: Workbench, authority: Actor, clerk: Actor) -> None:
    """A system comes to the department of ``clerk``, by order of the authority: the first in which nothing is under way."""
    target = int(clerk.department_id or 0)
    with workbench.book.reading() as tx:
        found = (
            select(System.id, System.department_id)
            .where(System.department_id != target, System.id.in_(select(Resource.system_id)))
            .order_by(System.id.desc())
        )
        systems = [(int(row.id), int(row.department_id)) for row in tx.execute(found)]
    for system, source in systems:
        try:
            with workbench.book.transaction(authority) as tx:
                reorganisations.reorganise(
                    tx, Adjustment.SYSTEMS, source, target, reason="职责划转，系统随业务移交",
                    key="demo:reorganisation", system_ids=[system],
                )  # fmt: skip
        except Refused:
            continue
        return


def _cut(workbench: Workbench, authority: Actor, clerk: Actor) -> None:
    """Some cards of the pool that has most left are given out in slices, a few of these to a department that serves small models."""
    code, name, english, parts, profiles = SLICES
    with workbench.book.transaction(authority) as tx:
        row = resource_classes.add(
            tx, code, name, Group.AI, "片", name_en=english, whole=ACCELERATOR, parts=parts, recyclable=True
        )
        resource_classes.name_profiles(tx, row, profiles)
    with workbench.book.reading() as tx:
        free = select(Account).where(Account.kind == ACCELERATOR, Account.holder == Holder.FREE.value)
        most = tx.scalars(free.order_by(Account.balance.desc(), Account.id)).first()
        if most is None or most.balance < CUT:
            raise LookupError("no pool of the demo has cards left to cut")
        pool_id, arch = most.pool_id, Arch(most.arch)
    with workbench.book.transaction(authority) as tx:
        slicing.cut(tx, pool_id, code, CUT, key="demo:slices", reason="小模型推理按切片供给")
        what = Allotment(
            Act.GRANT,
            pool_id,
            Commodity.of(ClassCode(code), arch),
            clerk.department_id or 0,
            GRANTED_SLICES,
            "政务问答推理服务",
        )
        allotments.carry_out(tx, what, key="demo:slices:grant")


def _split(workbench: Workbench, authority: Actor, heard: Collection[int | None]) -> None:
    """A new department takes a system out of another, with all that is about it, and a tenth of what is unused there: out of one that has
    several, and no account (``heard`` have one), where that can be."""
    with workbench.book.reading() as tx:
        found = (
            select(System.id, System.department_id, Department.parent_id)
            .join(Department, Department.id == System.department_id)
            .where(System.id.in_(select(Resource.system_id)), Department.active)
            .order_by(System.id.desc())
        )
        rows = tx.execute(found).all()
    many = Counter(row.department_id for row in rows)
    systems = sorted(rows, key=lambda row: (row.department_id in heard, many[row.department_id] < 2))
    for system, source, parent in systems:
        division = Division(share=10, code="SZ-SJZX", name=f"{city.CITY}数据资源服务中心", parent_id=parent)
        try:
            with workbench.book.transaction(authority) as tx:
                reorganisations.reorganise(
                    tx, Adjustment.SPLIT, source, None, reason="机构改革，分设数据资源服务中心", key="demo:split",
                    system_ids=[system], division=division,
                )  # fmt: skip
        except Refused:
            continue
        return
    raise LookupError("no department of the demo can be split")


def _exchange(workbench: Workbench, people: Sequence[Actor], clerks: Sequence[Actor]) -> None:
    """A market that is open to the whole city: an offer that is partly lent, one of it still asked for; weights, and a conversion."""
    first, second = people[:2]
    with workbench.book.reading() as tx:
        today = tx.now.astimezone(ZONE).date()
        loan = tx.scalars(select(Loan).where(Loan.key == "demo:loan:0")).one()
        pool_id, cls, own = (
            loan.pool_id,
            loan.commodity,
            next(one for one in clerks if one.department_id == loan.lender_id),
        )
        there = tx.scalars(
            select(Pool).where(Pool.active, Pool.arch != cls.arch.value, Pool.zone == loan.pool.zone).order_by(Pool.id)
        ).first()
        archs = sorted(set(tx.scalars(select(Pool.arch).where(Pool.active))))
    weights = {Commodity(VCPU, Arch(arch)): WEIGHTS.get(Arch(arch), 100) for arch in archs}
    terms: tuple[tuple[ExchangeSubject, MarketTerms | ConversionTerms], ...] = (
        (ExchangeSubject.MARKET, MarketTerms(MarketScope.CITY, 180, True)),
        (ExchangeSubject.CONVERSION, ConversionTerms(weights, CREDIT)),
    )
    for subject, said in terms:
        with workbench.book.transaction(first) as tx:
            rule = rules.draft(tx, subject, said, effective_from=today, reason="政务云资源统筹管理办法").id
        with workbench.book.transaction(second) as tx:
            rules.sign(tx, rule)
    with workbench.book.transaction(own) as tx:
        offer = market.publish(
            tx, OfferWay.LEND, loan.lender_id, pool_id, cls, OFFERED, until=today + timedelta(days=89),
            open_until=today + timedelta(days=30), guaranteed_days=30, notice_days=7,
            reason="专题上线推迟，先供急需单位使用", key="demo:offer",
        ).id  # fmt: skip
    askers = [one for one in clerks if one.department_id != loan.lender_id][:2]
    for number, one in enumerate(askers):
        with workbench.book.transaction(one) as tx:
            claim = market.ask(
                tx, offer, one.department_id or 0, 1, reason="年终集中业务并发增加", key=f"demo:claim:{number}"
            ).id
        if number == 0:
            with workbench.book.transaction(own) as tx:
                market.agree(tx, claim, generation=1)
    with workbench.book.reading() as tx:
        unused = lending.spare(tx, pool_id, loan.lender_id, {cls: CONVERTED}).get(cls, 0)
    if there is not None and unused:
        with workbench.book.transaction(own) as tx:
            conversions.ask(
                tx, own.department_id or 0, (pool_id, cls), there.id, CONVERTED, reason="业务软件只支持该架构",
                key="demo:conversion",
            )  # fmt: skip


ENDING = (
    (DatedKind.CERTIFICATE, "门户网站证书", 18, ""),
    (DatedKind.DOMAIN, "portal.example.gov.cn", 140, ""),
    (DatedKind.LICENCE, "数据库许可", -12, "4 路企业版"),
)
"""What of a department ends: kind, name, in how many days, what it is."""


def _serve(workbench: Workbench, authority: Actor, clerk: Actor) -> None:
    """A department has the company's people watch during a key period: asked for, granted, reported, and to be confirmed."""
    with workbench.book.transaction(authority) as tx:
        today = tx.now.astimezone(ZONE).date()
        for code, name, unit, price in RATES:
            labour.rates.enter(tx, code, name, unit, Decimal(price), today, reason="示例")
        people = tx.scalars(select(Person).order_by(Person.id)).all()
        pool = tx.scalars(select(Pool).where(Pool.active, Pool.xinchuang).order_by(Pool.id)).first()
        if pool is None:
            return
        pool_id, provider_id = pool.id, pool.provider_id
    ask = Ask(
        declared("labour"), clerk.department_id or 0, pool_id, justification="高考志愿填报期间需要驻场值守，按两班三人测算",
        fields={"service": RATES[0][0], "quantity": "12", "content": "驻场值守，故障十分钟内响应"},
    )  # fmt: skip
    request_id = _granted(workbench, people, clerk, ask)
    with workbench.book.reading() as tx:
        job = tx.scalars(select(labour.LabourJob).where(labour.LabourJob.request_id == request_id)).first()
        company = next((one for one in people if one.role == Role.PROVIDER and one.provider_id == provider_id), None)
    if job is None or company is None:
        raise LookupError("nobody in the demo granted the service, or does it")
    who = Actor(company.login, company.name, Role.PROVIDER, provider_id=provider_id)
    with workbench.book.transaction(who) as tx:
        labour.jobs.report(tx, job.id, Decimal(11), today, "值守十一个人天，无故障", generation=job.generation)


def _granted(workbench: Workbench, people: Sequence[Person], clerk: Actor, ask: Ask) -> int:
    """File ``ask`` and have everybody whose turn it is sign; the request's number."""
    with workbench.book.transaction(clerk) as tx:
        made = draft(tx, ask)
        request_id = submit(tx, made, generation=made.generation).id
    signers = [one.actor() for role in (Role.SUPERVISOR, Role.AUTHORITY) for one in people if one.role == role]
    for signer in signers:
        with workbench.book.transaction(signer) as tx:
            request = lock(tx, request_id)
            if approvals.may_sign(tx, request):
                approvals.sign(tx, request, decision=Decision.APPROVE, generation=request.generation)
    return request_id


def _promise(workbench: Workbench, people: Sequence[Person], clerk: Actor) -> None:
    """A department is promised for next quarter more than the pool has left: it waits for capacity."""
    with workbench.book.reading() as tx:
        free = select(Account).where(Account.kind == VCPU, Account.holder == Holder.FREE.value)
        least = tx.scalars(free.order_by(Account.balance, Account.id)).first()
        if least is None:
            return
        pool_id, vcpu = least.pool_id, least.balance + PROMISED
        day = tx.now.astimezone(ZONE).date() + timedelta(days=PROMISED_DAYS)
    ask = Ask(
        declared("commitment"), clerk.department_id or 0, pool_id, [Line(asked={VCPU: vcpu})],
        justification="下季度社保卡业务整体迁入，按现有物理机核数折算", fields={"wanted_on": str(day)},
    )  # fmt: skip
    _granted(workbench, people, clerk, ask)


def _projects(workbench: Workbench, clerk: Actor) -> None:
    """A department registers what two of its systems are built for, a project under way and one that is due, and its own room, in which
    a part of one runs."""
    department = clerk.department_id or 0
    with workbench.book.reading() as tx:
        today = tx.now.astimezone(ZONE).date()
        own = select(System.id).where(System.department_id == department, System.active).order_by(System.id).limit(2)
        systems = list(tx.scalars(own))
    for number, days in enumerate(PROJECT_DAYS):
        with workbench.book.transaction(clerk) as tx:
            facts = {
                "approval_number": f"数发〔{today.year}〕{number + 12} 号", "name": f"政务服务能力提升{'一二'[number]}期",
                "funds": Decimal(3_600_000 - 1_200_000 * number), "funding": "本级财政",
                "approved_on": today - timedelta(days=200), "due_on": today + timedelta(days=days),
            }  # fmt: skip
            made = funded_projects.register(tx, department, facts)
            funded_projects.attach(tx, made.id, systems[number : number + 1])
    with workbench.book.transaction(clerk) as tx:
        room = {"name": "档案楼机房", "kind": "room", "place": "档案楼三层", "size": "8 个机柜"}
        outside.register(tx, department, room, systems[1:2])
        for kind, name, days, grants in ENDING:
            facts = {
                "name": f"示例：{name}",
                "ends_on": today + timedelta(days=days),
                "grants": grants,
                "system_id": systems[0],
            }
            dated.enter(tx, kind, department, facts)
        vendor = dated.enter(tx, DatedKind.VENDOR, department, {
            "name": "示例：华信系统集成公司", "number": "HT-2025-118", "grants": "应用系统驻场运维", "ends_on": today + timedelta(days=210),
        })  # fmt: skip
        for name, days, grants in (("李工", -6, "堡垒机、应用服务器"), ("王工", 120, "数据库只读")):
            told = {"name": f"示例：{name}", "grants": grants, "ends_on": today + timedelta(days=days)}
            dated.enter(tx, DatedKind.ACCESS, department, told, vendor.id)
