"""The indicator «计量准确性»: the company's bills beside what was metered, as the four-way line compared them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from metering.statements import reconciliation
from metering.workbench import Workbench
from providers.assessment import (
    CardSubject,
    Direction,
    EvidenceRow,
    Fact,
    FactFormat,
    FigureUnit,
    Gathering,
    Indicator,
    Measure,
    MeasureLimit,
    MeasureResult,
    RecordKind,
    measures,
    periods,
    register,
)
from quota.errors import N_

FALSIFIED = RecordKind("falsified", N_("计量造假(一票否决)"), veto=True)


def beforehand(workbench: Workbench, subject: CardSubject, period: str) -> Mapping[str, Sequence[EvidenceRow]]:
    """Bills that came since the last comparison are compared first; their rows are read with everything else."""
    for month in periods.months(period):
        reconciliation.bring_up_to_date(workbench, subject.id, month)
    return {}


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Every line of the company's bills of the month: ``billed``, ``metered`` and ``disputed`` of each ``kind``."""
    runs = reconciliation.standing(gathering.tx, month, gathering.subject.id)
    return [row for run in runs for row in reconciliation.billed_rows(gathering.tx, run)]


def _measure(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult | None:
    """Disputed ÷ metered unit-hours of each kind, the mean over the kinds; above ``full``, ``per_step`` for each ``step``,
    in proportion. None where nothing could be metered or disputed: that is no evidence."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for row in rows:
        disputed, metered = sums.get(row.facts["kind"], (measures.ZERO, measures.ZERO))
        sums[row.facts["kind"]] = (
            disputed + Decimal(row.facts["disputed"]),
            metered + Decimal(row.facts["metered"]),
        )
    # A kind that is billed and was never there is wholly wrong, not infinitely.
    kinds = [min(measures.ONE, d / m) if m > 0 else measures.ONE for d, m in sums.values() if m > 0 or d > 0]
    if not kinds:
        return None
    deviation = sum(kinds, measures.ZERO) / len(kinds)
    deduction = max(measures.ZERO, deviation - limits["full"]) / limits["step"] * limits["per_step"]
    wrong = sum(Decimal(row.facts["disputed"]) > 0 for row in rows)
    return MeasureResult(
        measures.rounded(deviation, 6), deduction,
        N_("%(count)s 项账单用量中 %(wrong)s 项与自主计量不符,平均偏差 %(deviation)s%%,满分线 %(full)s%%"),
        {"count": len(rows), "wrong": wrong, "deviation": measures.percent(deviation), "full": measures.percent(limits["full"])},
    )  # fmt: skip


register(
    Indicator(
        code="metering",
        label=N_("计量准确性"),
        explanation=N_("账单用量与自主计量的偏差,各类资源平均;计量造假一票否决"),
        unit=FigureUnit.SHARE,
        direction=Direction.LOWER,
        measure=Measure(
            "deviation",
            (
                measures.FULL,
                MeasureLimit("step", N_("每档"), FigureUnit.SHARE),
                MeasureLimit("per_step", N_("每档扣"), FigureUnit.POINTS),
            ),
            _measure,
        ),
        weight=Decimal(8),
        limits={"full": Decimal("0.005"), "step": Decimal("0.005"), "per_step": Decimal(2)},
        order=90,
        edition=2,
        happened=gather,
        beforehand=beforehand,
        facts=(
            Fact("pool", N_("资源池"), FactFormat.POOL),
            Fact("lines", "", FactFormat.HIDDEN),
            Fact("kind", N_("类别"), FactFormat.RESOURCE_CLASS),
            Fact("billed", N_("账单")),
            Fact("metered", N_("已证实")),
            Fact("unmeasured", N_("无法计量")),
            Fact("disputed", N_("有差异")),
            Fact("causes", "", FactFormat.HIDDEN),
        ),
        records=(FALSIFIED,),
    )
)
