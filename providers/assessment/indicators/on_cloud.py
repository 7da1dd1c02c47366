"""上云率 of a department against the year's target: how much of what it has in use runs nowhere outside the cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from providers.assessment import periods
from providers.assessment.measures import (
    EvidenceRow,
    FigureUnit,
    Measure,
    MeasureLimit,
    MeasureResult,
    percent,
    rounded,
)
from providers.assessment.registry import Direction, Fact, FactFormat, Gathering, Indicator, RefSource, register
from providers.assessment.subjects import SubjectType
from quota.directory import cloud_targets, outside, subtree
from quota.errors import N_


def gather(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """One row, where the year has a target for the department and it has systems in use at the period's end."""
    tx, own = gathering.tx, gathering.subject.id
    day = periods.last_day(gathering.period, tx.now)
    target = cloud_targets.of_year(tx, day.year, periods.end(gathering.period, tx.now))
    share = target.share(own) if target is not None else None
    on, total = outside.on_the_cloud(tx, day, subtree(tx, own))
    if share is None or not total:
        return []
    return [EvidenceRow(f"on_cloud:{day.year}", {"count": total, "good": on, "target": str(Decimal(share) / 1000)})]


def _measure(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult:
    """Σ ``good`` ÷ Σ ``count``; below the ``target``, ``per_point`` for each percentage point."""
    count, good = (sum(int(row.facts[name]) for row in rows) for name in ("count", "good"))
    share, target = Decimal(good) / count, Decimal(rows[-1].facts["target"])
    return MeasureResult(
        rounded(share, 4), max(Decimal(0), target - share) * 100 * limits["per_point"],
        N_("在用信息系统 %(count)s 个，%(good)s 个在云上，上云率 %(share)s%%，目标 %(target)s%%"),
        {"count": count, "good": good, "share": percent(share), "target": percent(target)},
    )  # fmt: skip


register(
    Indicator(
        code="on_cloud",
        label=N_("上云率"),
        explanation=N_("期末在用信息系统中在云上运行的比例，按当年目标计；没有规定目标的不计分"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=Measure(
            "short_of_target", (MeasureLimit("per_point", N_("每差一个百分点扣"), FigureUnit.POINTS),), _measure
        ),
        weight=Decimal(5),
        limits={"per_point": Decimal("0.5")},
        order=62,
        edition=11,
        holding=gather,
        facts=(
            Fact("count", N_("在用信息系统")),
            Fact("good", N_("在云上的信息系统")),
            Fact("target", N_("目标"), FactFormat.SHARE),
        ),
        sources={"on_cloud": RefSource(N_("上云率"))},
        subjects=frozenset({SubjectType.DEPARTMENT}),
    )
)
