"""Capacity kept ready: how much of each pool is allocated."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal

from sqlalchemy import func, select

from providers.assessment.evidence import OK, pools
from providers.assessment.measures import PROPORTION, EvidenceRow, FigureUnit, rounded
from providers.assessment.registry import (
    Direction,
    EvidenceTerm,
    Fact,
    FactFormat,
    Gathering,
    Indicator,
    RefSource,
    register,
)
from providers.billing import month_bounds
from quota.errors import N_
from quota.ledger import Account, Entry, Holder, Transfer
from quota.units import MEMORY, VCPU

LOW = EvidenceTerm("low", N_("分配率下限"), Decimal("0.3"), FigureUnit.SHARE)
HIGH = EvidenceTerm("high", N_("分配率上限"), Decimal("0.8"), FigureUnit.SHARE)

CODE = "capacity"
CLASSES = (VCPU, MEMORY)


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """How much of each pool was allocated at the end of the month, by the ledger as of then."""
    tx = gathering.tx
    _, end = month_bounds(month)
    until = min(end, tx.now)
    low, high = gathering.by.term(CODE, LOW.name), gathering.by.term(CODE, HIGH.name)
    rows = []
    for pool in pools(tx, gathering.subject.id):
        for kind in CLASSES:
            query = (
                select(Account.holder, func.sum(Entry.delta))
                .join(Entry, Entry.account_id == Account.id)
                .join(Transfer, Transfer.id == Entry.transfer_id)
                .where(Account.pool_id == pool.id, Account.kind == kind, Transfer.at < until)
                .group_by(Account.holder)
            )
            sums = {holder: int(figure or 0) for holder, figure in tx.execute(query)}
            capacity = -sums.get(Holder.SUPPLY.value, 0)
            if capacity <= 0:
                continue
            if sums.get(Holder.FREE.value, 0) == capacity:  # equipped, but nothing was booked yet: not known
                continue
            rate = 1 - Decimal(sums.get(Holder.FREE.value, 0)) / capacity
            rows.append(
                EvidenceRow(
                    f"capacity:{pool.code}/{month}/{kind}",
                    {"pool": pool.code, "kind": kind, "capacity": capacity, "rate": str(rounded(rate, 4)),
                     "at": until.astimezone(UTC).isoformat() if end <= tx.now else month, "ok": low <= rate <= high},
                )
            )  # fmt: skip
    return rows


register(
    Indicator(
        code=CODE,
        label=N_("容量保障"),
        explanation=N_("月末各资源池的 vCPU 和内存分配率在规定区间内的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=PROPORTION,
        weight=Decimal(5),
        limits={"whole": Decimal(5)},
        order=60,
        edition=2,
        happened=gather,
        facts=(
            Fact("pool", N_("资源池"), FactFormat.POOL),
            Fact("kind", N_("类别"), FactFormat.RESOURCE_CLASS),
            Fact("capacity", N_("容量")),
            Fact("rate", N_("分配率"), FactFormat.SHARE),
            Fact("at", N_("时点"), FactFormat.MOMENT),
            OK,
        ),
        terms=(LOW, HIGH),
        sources={"capacity": RefSource(N_("分配率"))},
    )
)
