"""What supervision may watch: measures, each of some types of objects, read from what the house keeps already. What is not known of an
object is missing, never 0; of what is counted, none is 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, case, func, select

from metering.cases import Case, CaseState
from metering.judging import Assessment, JudgedWhole, MeasuredUse, SystemUse, findings
from metering.statements import Dispute, DisputeState
from metering.surplus import surpluses
from providers import orders, tickets
from providers.assessment import Rectification, ScorecardRecord, rectifications
from providers.billing import Incident
from providers.orders import WorkOrder
from providers.tickets import Ticket
from quota.calendar import ZONE
from quota.directory import CloudProvider, DatedEntry, DatedState, Department, Pool, System, dated, outside
from quota.errors import N_
from quota.ledger import OWNED, Account, Holder
from quota.requests import OPEN as OPEN_REQUESTS
from quota.requests import Request
from quota.units import BLOCK, MEMORY, VCPU, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

FRESH = timedelta(hours=48)
"""An assessment that is older says nothing of today."""
WHOLE_CITY = 0
"""In place of an id."""
FEN = 100


class SupervisedObject(StrEnum):
    """What a measure is of. Stored, so never changed."""

    CITY = "city"
    PROVIDER = "provider"
    POOL = "pool"
    DEPARTMENT = "department"
    SYSTEM = "system"


OBJECT_LABELS = {
    SupervisedObject.CITY: N_("全市"),
    SupervisedObject.PROVIDER: N_("云服务商"),
    SupervisedObject.POOL: N_("资源池"),
    SupervisedObject.DEPARTMENT: N_("使用单位"),
    SupervisedObject.SYSTEM: N_("信息系统"),
}
MODELS: Mapping[SupervisedObject, type[Any]] = {
    SupervisedObject.PROVIDER: CloudProvider,
    SupervisedObject.POOL: Pool,
    SupervisedObject.DEPARTMENT: Department,
    SupervisedObject.SYSTEM: System,
}

Figures = Mapping[int, Decimal]
"""Id of an object (the city's: WHOLE_CITY) → its figure."""
SupervisedRows = Callable[["Tx", SupervisedObject, int], Sequence[ColumnElement[bool]]]


@dataclass(frozen=True, slots=True)
class SupervisedMeasure:
    """``code`` stands in enacted items, so it is never changed. ``counted``: where ``read`` says nothing of an object there is none.
    ``model``, ``rows``: whose rows are counted, and what holds of those of an object; None of what is worked out of many."""

    code: str
    label: str
    unit: str
    objects: frozenset[SupervisedObject]
    read: Callable[[Tx, SupervisedObject], Figures]
    counted: bool = False
    model: Any = None
    rows: SupervisedRows | None = None


_MEASURES: dict[str, SupervisedMeasure] = {}
MEASURES: Mapping[str, SupervisedMeasure] = _MEASURES


def _measure(
    code: str, label: str, unit: str, objects: str, read: Callable[[Tx, SupervisedObject], Figures], **more: Any
) -> None:
    of = frozenset(SupervisedObject(one) for one in objects.split())
    _MEASURES[code] = SupervisedMeasure(code, label, unit, of, read, **more)


def figures(tx: Tx, code: str, of: SupervisedObject) -> Callable[[int], Decimal | None]:
    """The measure of each object of a type now, None where it is not known."""
    measure = MEASURES[code]
    found = measure.read(tx, of)
    nothing = Decimal(0) if measure.counted else None
    return lambda object_id: found.get(object_id, nothing)


def objects(tx: Tx, of: SupervisedObject, chosen: Sequence[str] = ()) -> dict[int, str]:
    """Id → code of the objects of a type that are there, of the ``chosen`` codes where some are named."""
    if of is SupervisedObject.CITY:
        return {WHOLE_CITY: of.value}
    model = MODELS[of]
    found = tx.execute(select(model.id, model.code).where(model.active).order_by(model.id))
    return {one: code for one, code in found if not chosen or code in chosen}


# ------------------------------------------------------------------------------------------------------------- reading


def _summed(
    tx: Tx, of: SupervisedObject, query: Any, whose: Mapping[SupervisedObject, Any]
) -> dict[int, tuple[Any, ...]]:
    """The sums that ``query`` selects, by each object of a type; ``whose``: type → the column that says whose a row is."""
    if of is SupervisedObject.CITY:
        return {WHOLE_CITY: tuple(tx.execute(query).one())}
    key = whose[of]
    rows = tx.execute(query.add_columns(key).where(key.is_not(None)).group_by(key))
    return {int(row[-1]): tuple(row[:-1]) for row in rows}


def _share(part: Any, whole: Any) -> Decimal | None:
    """In per cent; None of nothing."""
    return Decimal(100) * Decimal(str(part)) / Decimal(str(whole)) if whole else None


def _known(found: Mapping[int, Decimal | None]) -> Figures:
    return {one: figure for one, figure in found.items() if figure is not None}


def _promised(kind: ClassCode, tx: Tx, of: SupervisedObject) -> Figures:
    """Of what may be given out, how much is."""
    promised = func.sum(case((Account.holder != Holder.FREE.value, Account.balance), else_=0))
    query = (
        select(promised, func.sum(Account.balance))
        .select_from(Account)
        .join(Pool, Pool.id == Account.pool_id)
        .where(Account.kind == kind, Pool.active, Account.holder.in_([one.value for one in (Holder.FREE, *OWNED)]))
    )
    whose = {SupervisedObject.POOL: Account.pool_id, SupervisedObject.PROVIDER: Pool.provider_id}
    return _known({one: _share(given, total) for one, (given, total) in _summed(tx, of, query, whose).items()})


def _fresh(tx: Tx) -> Assessment | None:
    run = findings.last_run(tx)
    return run if run is not None and tx.now - run.as_of <= FRESH else None


_OF_USE = {
    SupervisedObject.POOL: MeasuredUse.pool_id,
    SupervisedObject.PROVIDER: Pool.provider_id,
    SupervisedObject.DEPARTMENT: MeasuredUse.department_id,
    SupervisedObject.SYSTEM: MeasuredUse.system_id,
}


def _measured(tx: Tx, run: Assessment, kind: ClassCode, of: SupervisedObject, *columns: Any) -> dict[int, Any]:
    query = (
        select(*(func.sum(one) for one in (*columns, MeasuredUse.total)))
        .select_from(MeasuredUse)
        .join(Pool, Pool.id == MeasuredUse.pool_id)
        .where(MeasuredUse.assessment_id == run.id, MeasuredUse.kind == kind)
    )
    return _summed(tx, of, query, _OF_USE)


def _used(kind: ClassCode, tx: Tx, of: SupervisedObject) -> Figures:
    """The mean of what is used, where as much is measured as the policy asks for wholes."""
    run = _fresh(tx)
    if run is None:
        return {}
    covered = run.policy_version.policy().wholes.covered
    found = _measured(tx, run, kind, of, MeasuredUse.load, MeasuredUse.measured)
    return {
        one: Decimal(str(float(load) / float(measured)))
        for one, (load, measured, total) in found.items()
        if measured and float(measured) >= covered * float(total)
    }


def _covered(tx: Tx, of: SupervisedObject) -> Figures:
    """The share of slots that something is known of, of cores."""
    run = _fresh(tx)
    found = _measured(tx, run, VCPU, of, MeasuredUse.covered) if run is not None else {}
    return _known({one: _share(covered, total) for one, (covered, total) in found.items()})


def _idle(tx: Tx, _of: SupervisedObject) -> Figures:
    run = _fresh(tx)
    found = surpluses.measured(tx, run) if run is not None else {}
    return _known({one: _share(share.freed, share.total) for one, share in found.items()})


def _low(tx: Tx, of: SupervisedObject) -> Figures:
    """Of the systems of which enough is known, how many are little used."""
    run = _fresh(tx)
    if run is None:
        return {}
    low = func.sum(case((JudgedWhole.use == SystemUse.LOW.value, 1), else_=0))
    query = (
        select(low, func.count(JudgedWhole.id))
        .select_from(JudgedWhole)
        .join(System, System.id == JudgedWhole.system_id)
        .where(JudgedWhole.assessment_id == run.id, JudgedWhole.use != SystemUse.UNKNOWN.value)
    )
    found = _summed(tx, of, query, {SupervisedObject.DEPARTMENT: System.department_id})
    return _known({one: _share(count, total) for one, (count, total) in found.items()})


def _on_cloud(tx: Tx, _of: SupervisedObject) -> Figures:
    on, total = outside.on_the_cloud(tx, tx.now.astimezone(ZONE).date())
    return _known({WHOLE_CITY: _share(on, total)})


def _fen(figure: Any) -> Decimal:
    """Yuan of what may be no sum at all."""
    return Decimal(int(figure or 0)) / FEN


def _score(tx: Tx, _of: SupervisedObject) -> Figures:
    """Points on the newest published card that has a total."""
    card = ScorecardRecord
    newest = (
        select(func.max(card.id))
        .where(card.provider_id.is_not(None), card.published_at.is_not(None), card.total.is_not(None))
        .group_by(card.provider_id)
    )
    rows = tx.execute(select(card.provider_id, card.total).where(card.id.in_(newest)))
    return {provider_id: Decimal(total) for provider_id, total in rows if provider_id is not None and total is not None}


def _counted(
    code: str,
    label: str,
    model: Any,
    holds: Callable[[Tx], Sequence[ColumnElement[bool]]],
    *,
    unit: str = N_("件"),
    sums: Any = None,
    told: Callable[[Any], Decimal] = Decimal,
    **whose: Any,
) -> None:
    """A measure of how many rows of ``model`` there are of which something ``holds``, or of what they come to."""
    columns = {SupervisedObject(name): column for name, column in whose.items()}

    def read(tx: Tx, of: SupervisedObject) -> Figures:
        query = select(func.count(model.id) if sums is None else sums).where(*holds(tx))
        return {one: told(figure) for one, (figure,) in _summed(tx, of, query, columns).items()}

    def rows(tx: Tx, of: SupervisedObject, object_id: int) -> Sequence[ColumnElement[bool]]:
        own = () if of is SupervisedObject.CITY else (columns[of] == object_id,)
        return (*holds(tx), *own)

    _measure(code, label, unit, " ".join(["city", *whose]), read, counted=True, model=model, rows=rows)


_PERCENT = "%"
for _code, _label, _kind in (
    ("promised_vcpu", N_("vCPU 分配率"), VCPU),
    ("promised_memory", N_("内存分配率"), MEMORY),
    ("promised_block", N_("块存储分配率"), BLOCK),
):
    _measure(_code, _label, _PERCENT, "city provider pool", partial(_promised, _kind))
for _code, _label, _kind in (
    ("use_vcpu", N_("CPU 实测使用率"), VCPU),
    ("use_memory", N_("内存实测使用率"), MEMORY),
):
    _measure(_code, _label, _PERCENT, "city provider pool department system", partial(_used, _kind))
_measure("coverage", N_("采集覆盖率"), _PERCENT, "city provider pool department system", _covered)
_measure("idle_share", N_("闲置占比"), _PERCENT, "department", _idle)
_measure("low_systems", N_("利用率低的信息系统占比"), _PERCENT, "city department", _low)
_measure("on_cloud", N_("上云率"), _PERCENT, "city", _on_cloud)
_counted(
    "disputed", N_("未了结的争议金额"), Dispute,
    lambda _tx: (Dispute.state.not_in((DisputeState.SETTLED.value, DisputeState.LAPSED.value)),),
    unit=N_("元"), sums=func.sum(func.abs(Dispute.fen)), told=_fen, provider=Dispute.provider_id,
)  # fmt: skip
_measure("score", N_("最近公布的考核得分"), N_("分"), "provider", _score)
_counted(
    "late_requests", N_("逾期申请"), Request,
    lambda tx: (Request.state.in_([one.value for one in OPEN_REQUESTS]), Request.due_at < tx.now),
    pool=Request.pool_id, department=Request.department_id,
)  # fmt: skip
_counted(
    "late_orders", N_("逾期工单"), WorkOrder,
    lambda tx: (orders.late(tx.now),),
    provider=WorkOrder.provider_id,
)  # fmt: skip
_counted(
    "late_cases", N_("逾期案件"), Case,
    lambda tx: (Case.state != CaseState.CLOSED.value, Case.due_at < tx.now),
    department=Case.department_id,
)  # fmt: skip
_counted(
    "late_tickets", N_("逾期运维请求"), Ticket, lambda tx: (tickets.late(tx.now),),
    provider=Ticket.provider_id, department=Ticket.department_id,
)  # fmt: skip
_counted(
    "late_rectifications", N_("逾期整改"), Rectification, lambda tx: (rectifications.late(tx.now),),
    provider=Rectification.provider_id, department=Rectification.department_id, system=Rectification.system_id,
)  # fmt: skip
_counted(
    "open_incidents", N_("未恢复故障"), Incident,
    lambda _tx: (Incident.recovered_at.is_(None), Incident.settled_at.is_(None)),
    provider=Incident.provider_id, pool=Incident.pool_id,
)  # fmt: skip
_counted(
    "ended_entries", N_("到期未续或未退出"), DatedEntry,
    lambda tx: (dated.in_state(DatedState.OVER, tx.now.astimezone(ZONE).date()),),
    department=DatedEntry.department_id, system=DatedEntry.system_id,
)  # fmt: skip
