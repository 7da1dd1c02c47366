"""What the one who decides a request should see beside it: quota, pool, measured use, and a suggestion that says why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Float, RowMapping, Select, String, and_, case, cast, func, null, select, tuple_
from sqlalchemy.orm import contains_eager, joinedload

from console import links
from metering.judging import RECLAIMABLE, Assessment, Finding, findings
from quota import ledger, requests
from quota.db import Tx, among
from quota.directory import departments
from quota.errors import N_, NotFound
from quota.inventory import Resource
from quota.ledger import Holder, Side, commitments
from quota.requests import About, Request, RequestKind, kind_of
from quota.units import CLASSES, VCPU, Amount, Arch, Commodity

ENOUGH_USE = 35.0
"""Per cent of what a department has that should be in use before it is given more. Our default."""

ENOUGH_COVERAGE = 0.9


@dataclass(frozen=True, slots=True)
class ApprovalEffect:
    """One class: what approving takes and from where, the department's and the pool's figures now, in base units."""

    cls: Commodity
    amount: int
    granted: int
    held: int
    used: int
    free: int
    """The pool's free capacity now, when what this request holds is set aside already."""
    returned: int = 0
    within: int = 0
    """Of ``amount``: out of the department's own quota."""
    borrowed: int = 0
    """Of ``amount``: out of what the department has borrowed."""
    kept: int = 0
    """Of ``free``: for promises that wait, and nobody else's."""

    @property
    def beyond(self) -> int:
        """Of ``amount``: out of the pool's free capacity."""
        return self.amount - self.within - self.borrowed


@dataclass(frozen=True, slots=True)
class Use:
    """Measured use of the department's machines in the pool: weighted by vCPU; None where nothing is known."""

    run: Assessment | None
    machines: int = 0
    known: int = 0
    cpu_mean: float | None = None
    cpu_p95: float | None = None
    memory_mean: float | None = None
    coverage: float | None = None
    idle: int = 0
    recoverable: Mapping[Commodity, int] = field(default_factory=dict)
    """What its own idle machines would give back, by class."""


FIGURES = ("cpu_mean", "cpu_p95", "mem_mean")
"""Of which ``Use`` has the means."""


@dataclass(frozen=True, slots=True)
class DecisionSuggestion:
    """What the figures speak for, and why: the sentence and its places."""

    decision: str  # approve, reduce, ask, person
    label: str
    reason: str
    params: Mapping[str, object]


LABELS = {
    "approve": N_("建议通过"),
    "reduce": N_("建议先用闲置资源"),
    "ask": N_("建议要求补充依据"),
    "person": N_("须人工判断"),
}


def consequences(tx: Tx, request: Request) -> list[ApprovalEffect]:
    """What deciding ``request`` moves, class by class. What it holds already says where it comes from."""
    if kind_of(request).counts_as is None:
        return []
    takes, gives = request.takes(approved=True), request.gives(approved=True)
    held = _held(tx, request)
    within, borrowed = held or _own(
        requests.drawn(tx, kind_of(request), request.pool_id, request.department_id, takes, request.of_system)
    )
    return figures(tx, request.pool_id, request.department_id, takes, within, borrowed, gives)


def if_decided(
    rows: Sequence[ApprovalEffect], takes: Mapping[Commodity, int], gives: Mapping[Commodity, int]
) -> list[ApprovalEffect]:
    """``rows`` (of ``consequences``), were only ``takes`` and ``gives`` approved: within quota is taken first, then what is borrowed;
    what is held beyond it goes back to where it came from."""
    found = []
    for row in rows:
        amount = min(takes.get(row.cls, 0), row.amount)
        within = min(row.within, amount)
        borrowed = min(row.borrowed, amount - within)
        beyond = amount - within - borrowed
        found.append(
            replace(
                row,
                amount=amount,
                within=within,
                borrowed=borrowed,
                granted=row.granted + row.within - within,
                free=row.free + row.beyond - beyond,
                returned=gives.get(row.cls, 0),
            )
        )
    return found


def consequences_of(
    tx: Tx,
    kind: RequestKind,
    pool_id: int,
    department_id: int,
    takes: Mapping[Commodity, int],
    system_id: int | None = None,
) -> list[ApprovalEffect]:
    """What handing in something that takes ``takes`` would move."""
    if kind.counts_as is None:
        return []
    within, borrowed = _own(requests.drawn(tx, kind, pool_id, department_id, takes, system_id))
    return figures(tx, pool_id, department_id, takes, within, borrowed)


def _own(found: requests.RequestSources) -> tuple[Mapping[Commodity, int], Mapping[Commodity, int]]:
    """What comes of the department's own quota, its system's share among it, and what of borrowed."""
    return {**found.within, **found.shared}, found.borrowed


def _held(tx: Tx, request: Request) -> tuple[dict[Commodity, int], dict[Commodity, int]] | None:
    """What a pending request holds of its department's own and of its borrowed quota, by class; None: it holds nothing."""
    holds = ledger.pending(tx, request.subject)
    shares: dict[str, dict[Commodity, int]] = {Holder.GRANTED.value: {}, Holder.LENT.value: {}}
    for one in holds:
        # A system's share is its department's quota.
        own = Holder.GRANTED.value if one.source == Holder.SHARED else one.source
        if own in shares:
            shares[own][one.commodity] = shares[own].get(one.commodity, 0) + one.amount
    return (shares[Holder.GRANTED.value], shares[Holder.LENT.value]) if holds else None


def figures(
    tx: Tx,
    pool_id: int,
    department_id: int,
    takes: Mapping[Commodity, int],
    within: Mapping[Commodity, int],
    borrowed: Mapping[Commodity, int],
    gives: Mapping[Commodity, int] | None = None,
) -> list[ApprovalEffect]:
    """The figures of each class. A part approval takes what is ``within`` first, then what is ``borrowed``."""
    holders = {Holder.GRANTED: department_id, Holder.SHARED: department_id, Holder.HELD: department_id, Holder.USED: department_id,
               Holder.FREE: None}  # fmt: skip
    classes = sorted({*takes, *(gives or {})})
    waiting = commitments.outstanding(tx, pool_id)
    there = ledger.balances_of(
        tx, [Side(pool_id, cls, holder, whose) for cls in classes for holder, whose in holders.items()]
    )
    found = []
    for cls in classes:
        amount = takes.get(cls, 0)
        own = min(within.get(cls, 0), amount)
        granted, shared, held, used, free = (
            there[Side(pool_id, cls, holder, whose)] for holder, whose in holders.items()
        )
        given = (gives or {}).get(cls, 0)
        lent = min(borrowed.get(cls, 0), amount - own)
        kept = min(waiting[pool_id, cls].kept, max(free, 0)) if (pool_id, cls) in waiting else 0
        found.append(ApprovalEffect(cls, amount, granted + shared, held, used, free, given, own, lent, kept))
    return found


def use(tx: Tx, department_id: int, pool_id: int) -> Use:
    """What the latest assessment measured of the department's machines (and those below it) in the pool."""
    return uses(tx, [(department_id, pool_id)])[department_id, pool_id]


def uses(tx: Tx, pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Use]:
    """``use`` of each (department id, pool id), summed where the findings lie."""
    wanted = set(pairs)
    run = findings.last_run(tx)
    if run is None or not wanted:
        return dict.fromkeys(wanted, Use(None))
    rows = {(row["top"], row["pool_id"]): row for row in tx.execute(_measured(tx, run, wanted)).mappings()}
    spare: dict[tuple[int, int], list[tuple[Amount, Arch, int]]] = {}
    for top, pool, arch, count, *sums in tx.execute(_spare(run, wanted)):
        freed = Amount({kind: int(figure) for kind, figure in zip(CLASSES, sums, strict=True) if figure})
        spare.setdefault((top, pool), []).append((freed, Arch(arch), count))
    return {pair: _used(run, rows.get(pair), spare.get(pair, ())) for pair in wanted}


def _of(run: Assessment, wanted: Collection[tuple[int, int]]) -> Select[Any]:
    """The findings on what these departments, each with those below it, have in these pools: by department and pool."""
    tops = departments.trees({department for department, _pool in wanted})
    return (
        select(tops.c.top, Resource.pool_id)
        .join(Resource, Resource.department_id == tops.c.id)
        .join(Finding, Finding.resource_id == Resource.id)
        .where(Finding.assessment_id == run.id, tuple_(tops.c.top, Resource.pool_id).in_(wanted))
        .group_by(tops.c.top, Resource.pool_id)
    )


def _measured(tx: Tx, run: Assessment, wanted: Collection[tuple[int, int]]) -> Select[Any]:
    """How many machines there are, of how many enough is known, and the sums that means are made of."""
    judged = tx.scalar(select(Finding.numbers).where(Finding.assessment_id == run.id).limit(1))
    days = sorted((judged or {}).get("windows") or {}, key=int, reverse=True)  # an assessment measures all for the same

    def figure(name: str) -> Any:
        """Of the longest window that knows it."""
        return func.coalesce(
            *(Finding.numbers["windows", each, name].as_float() for each in days),
            cast(null(), Float),
            cast(null(), Float),
        )

    cores = Resource.amounts[VCPU].as_integer()
    machine = cores.is_not(None)
    known = and_(machine, Finding.coverage >= ENOUGH_COVERAGE, figure("cpu_mean").is_not(None))
    sums = []
    for name in FIGURES:
        told = and_(known, figure(name).is_not(None))
        sums += [
            func.sum(case((told, figure(name) * cores), else_=0.0)).label(name),
            func.sum(case((told, cores), else_=0)).label(f"{name}_of"),
        ]
    return _of(run, wanted).add_columns(
        func.count(case((machine, 1))).label("machines"),
        func.count(case((known, 1))).label("known"),
        func.coalesce(func.sum(case((machine, Finding.coverage))), 0.0).label("covered"),
        *sums,
    )


def _idle(run: Assessment) -> tuple[ColumnElement[bool], ...]:
    """Findings of what could be taken back."""
    verdicts = Finding.verdict.in_([verdict.value for verdict in RECLAIMABLE])
    return Finding.assessment_id == run.id, verdicts, cast(Finding.recoverable, String) != "{}"


def _spare(run: Assessment, wanted: Collection[tuple[int, int]]) -> Select[Any]:
    """By architecture, too: how many could be taken back, and what that frees of each class."""
    freed = [func.sum(Finding.recoverable[kind].as_integer()) for kind in CLASSES]
    query = _of(run, wanted).where(*_idle(run)).group_by(Resource.arch)
    return query.add_columns(Resource.arch, func.count(), *freed)


def _used(run: Assessment, sums: RowMapping | None, spare: Sequence[tuple[Amount, Arch, int]]) -> Use:
    if sums is None:
        return Use(run)
    cpu, p95, memory = (float(sums[name]) / float(of) if (of := sums[f"{name}_of"]) else None for name in FIGURES)
    recoverable: dict[Commodity, int] = {}
    for amount, arch, _count in spare:
        for cls, figure in amount.of_arch(arch).items():
            recoverable[cls] = recoverable.get(cls, 0) + figure
    machines = sums["machines"]
    coverage = float(sums["covered"]) / machines if machines else None
    idle_ones = sum(count for _amount, _arch, count in spare)
    return Use(run, machines, sums["known"], cpu, p95, memory, coverage, idle_ones, recoverable)


def idle(tx: Tx, measured: Use, department_id: int, pool_id: int, most: int) -> Sequence[Finding]:
    """The first ``most`` of what the department (and those below it) could give back in the pool."""
    if measured.run is None or not measured.idle:
        return []
    below = departments.subtree(tx, department_id)
    query = (
        select(Finding)
        .join(Finding.resource)
        .where(*_idle(measured.run), Resource.pool_id == pool_id, among(Resource.department_id, below))
        .options(contains_eager(Finding.resource))
        .order_by(Finding.id)
        .limit(most)
    )
    return tx.scalars(query).all()


def suggest(kind: RequestKind, takes: Mapping[Commodity, int], measured: Use) -> DecisionSuggestion:
    """What the figures speak for. A rule of thumb that a person may overrule, so it says what it looked at.

    Returns are always suggested. A longer term: by measured use. Growth: first the department's own idle machines, then measured use of at least
    ENOUGH_USE per cent; what is not measured well enough is left to a person.
    """
    longer = kind.about is About.TERM
    if kind.lines is None and not longer:
        return _suggestion("person", N_("申请不涉及资源数量,没有可比的使用率"))
    if not (takes or longer):
        return _suggestion("approve", N_("只退回资源,不占用容量"))
    if not longer and VCPU not in {cls.kind for cls in takes}:
        return _suggestion("person", N_("申请不含计算资源,没有可比的使用率"))
    if measured.run is None or not measured.machines:
        return _suggestion("person", N_("本单位在该资源池没有可评估的主机"))
    if measured.known < measured.machines / 2 or measured.cpu_p95 is None:
        return _suggestion(
            "person",
            N_("%(machines)s台主机中只有%(known)s台数据充足"),
            machines=measured.machines,
            known=measured.known,
        )
    spare = measured.recoverable
    served = [cls for cls, amount in takes.items() if cls.kind == VCPU and spare.get(cls, 0) >= amount]
    if served:
        return _suggestion(
            "reduce",
            N_("本单位有%(count)s项闲置资源,可回收%(vcpu)s vCPU,已够本次申请"),
            count=measured.idle,
            vcpu=sum(spare[cls] for cls in served),
        )
    if measured.cpu_p95 >= ENOUGH_USE:
        return _suggestion(
            "approve",
            N_("现有主机 CPU P95 为%(use)s%%,不低于%(least)s%%"),
            use=round(measured.cpu_p95, 1),
            least=ENOUGH_USE,
        )
    return _suggestion(
        "ask", N_("现有主机 CPU P95 仅%(use)s%%,低于%(least)s%%"), use=round(measured.cpu_p95, 1), least=ENOUGH_USE
    )


def _suggestion(decision: str, reason: str, **params: object) -> DecisionSuggestion:
    return DecisionSuggestion(decision, LABELS[decision], reason, params)


def entry_page(tx: Tx, request: Request) -> str | None:
    """The page of the row of a register that it is about; None where it is about none, or the visitor may not see that."""
    register = kind_of(request).register
    if register is None or request.entry_id is None:
        return None
    try:
        return links.address(register.find(tx, request.entry_id).subject)
    except NotFound:
        return None


def similar(tx: Tx, request: Request, limit: int = 5) -> list[Request]:
    """The department's earlier requests of this kind that were decided, newest first."""
    return list(
        tx.scalars(
            select(Request)
            .where(
                Request.id != request.id,
                Request.department_id == request.department_id,
                Request.kind == request.kind,
                Request.decided_at.is_not(None),
            )
            .options(joinedload(Request.pool))
            .order_by(Request.decided_at.desc())
            .limit(limit)
        )
    )
