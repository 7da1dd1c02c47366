"""The ledger complete: of each machine it is known whose it is, of which system, and by what right it exists; of the department, who heads
it, where the city keeps that."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import String, and_, cast, func, or_, select

from providers.assessment import periods
from providers.assessment.measures import COUNTED, EvidenceRow, FigureUnit
from providers.assessment.registry import Direction, Fact, FactFormat, Gathering, Indicator, RefSource, register
from providers.assessment.subjects import SubjectType
from providers.assessment.whose import resources
from quota.directory import Duty, System, headships
from quota.errors import N_
from quota.inventory import Resource, there_at

NO_SYSTEM, HEAD = "none", "(head)"
LACKS = {
    "system": N_("缺信息系统"),
    "owner": N_("缺系统负责人或电话"),
    "users": N_("缺系统使用对象"),
    "basis": N_("有资源缺批准依据"),
    "head": N_("缺单位负责人"),
}


def gather(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """A row a system, one of what belongs to none, and one of the department's head: of its resources that were there at the period's end, how many have all
    that is asked for, and what is lacking. What is said of them is as it stands now: who completes it late is believed."""
    founded = or_(Resource.basis != "", cast(Resource.booked, String) != "{}")
    named = and_(System.owner != "", System.phone != "")
    complete = and_(System.id.is_not(None), named, System.users != "", founded)
    found = gathering.tx.execute(
        select(System, func.count(), func.count().filter(complete), func.count().filter(~founded))
        .select_from(Resource)
        .outerjoin(System, System.id == Resource.system_id)
        .where(resources(gathering.tx, gathering.subject), there_at(periods.end(gathering.period, gathering.tx.now)))
        .group_by(System.id)
        .order_by(System.id)
    )
    rows = [_row(system, count, good, unfounded) for system, count, good, unfounded in found]
    return [*rows, *_head(gathering)] if rows and gathering.subject.type is SubjectType.DEPARTMENT else rows


def _head(gathering: Gathering) -> list[EvidenceRow]:
    """Whether the department had a head at the period's end; nothing where the city kept no heads by then."""
    tx, own = gathering.tx, gathering.subject.id
    last = periods.last_day(gathering.period, tx.now)
    if not headships.kept(tx, last):
        return []
    good = int(Duty.HEAD in headships.standing(tx, [own], last)[own])
    return [
        EvidenceRow(
            f"ledger:{HEAD}", {"system": "", "count": 1, "good": good, **({} if good else {"lacks_head": True})}
        )
    ]


def _row(system: System | None, count: int, good: int, unfounded: int) -> EvidenceRow:
    lacks = []
    if system is None:
        lacks.append("system")
    else:
        lacks += ["owner"] if not (system.owner and system.phone) else []
        lacks += ["users"] if not system.users else []
    lacks += ["basis"] if unfounded else []
    facts = {"system": system.name if system is not None else "", "count": count, "good": good}
    facts |= {f"lacks_{name}": True for name in lacks}
    return EvidenceRow(f"ledger:{system.code if system is not None else NO_SYSTEM}", facts)


register(
    Indicator(
        code="ledger",
        label=N_("台账完整"),
        explanation=N_(
            "期末每项资源都有所属信息系统、系统负责人和电话、使用对象和批准依据的比例；登记单位负责人的城市，单位有负责人另计一项"
        ),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=COUNTED,
        weight=Decimal(20),
        limits={"full": Decimal("0.98"), "per_point": Decimal("0.5")},
        order=40,
        edition=1,
        holding=gather,
        facts=(
            Fact("system", N_("信息系统"), FactFormat.PLAIN),
            Fact("count", N_("资源")),
            Fact("good", N_("完整")),
            *(Fact(f"lacks_{name}", label) for name, label in LACKS.items()),
        ),
        sources={"ledger": RefSource(N_("台账"))},
        subjects=frozenset({SubjectType.DEPARTMENT, SubjectType.SYSTEM}),
    )
)
