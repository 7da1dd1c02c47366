"""Backups and restore drills, as the steward records them; a drill is due once a quarter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from providers.assessment import periods
from providers.assessment.evidence import recorded
from providers.assessment.measures import (
    FULL,
    ONE,
    PER_POINT,
    ZERO,
    EvidenceRow,
    FigureUnit,
    Measure,
    MeasureLimit,
    MeasureResult,
    below,
    rounded,
)
from providers.assessment.registry import (
    Direction,
    Fact,
    FieldType,
    Gathering,
    Indicator,
    RecordField,
    RecordKind,
    RefSource,
    register,
)
from quota.errors import N_, Invalid


def _no_more_than_due(figures: Mapping[str, Any]) -> None:
    if figures["done"] > figures["due"]:
        raise Invalid("record.done", N_("成功次数不能多于应备份次数"), field="done")


BACKUPS = RecordKind(
    "backups",
    N_("备份任务统计"),
    (
        RecordField("due", N_("应备份次数"), help=N_("备份任务统计填写")),
        RecordField("done", N_("成功次数"), help=N_("备份任务统计填写")),
    ),
    check=_no_more_than_due,
)
DRILL = RecordKind("drill", N_("恢复演练"), (RecordField("passed", N_("演练成功"), FieldType.YES),), proof=True)


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    return [
        EvidenceRow(
            f"record:{record.id}",
            {"drill": record.figures["passed"]}
            if record.kind == DRILL.code
            else {"due": record.figures["due"], "done": record.figures["done"]},
        )
        for record in recorded(gathering, month, BACKUPS.code, DRILL.code)
    ]


def drills_due(gathering: Gathering, rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """One drill in a quarter of which anything is known."""
    wanted = rows and periods.is_quarter(gathering.period)
    return [EvidenceRow(f"quarter:{gathering.period}", {"drills_due": 1})] if wanted else []


def _measure(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult | None:
    """Backups done ÷ due; below ``full``, ``per_point`` a percentage point; ``no_drill`` for each restore drill that was
    due in the period (``drills_due``) and did not succeed. None where neither was recorded."""
    due = sum(int(row.facts.get("due", 0)) for row in rows)
    done = sum(int(row.facts.get("done", 0)) for row in rows)
    wanted = sum(int(row.facts.get("drills_due", 0)) for row in rows)
    held = sum(bool(row.facts.get("drill")) for row in rows)
    if not due and not held and not any("drill" in row.facts for row in rows):
        return None
    share = min(ONE, Decimal(done) / due) if due else ONE
    deduction = below(share, limits) if due else ZERO
    deduction += max(0, wanted - held) * limits["no_drill"]
    return MeasureResult(
        rounded(share, 4), deduction,
        N_("应备份 %(due)s 次,成功 %(done)s 次;恢复演练应做 %(wanted)s 次,成功 %(held)s 次"),
        {"due": due, "done": done, "wanted": wanted, "held": held},
    )  # fmt: skip


register(
    Indicator(
        code="backup",
        label=N_("备份恢复演练"),
        explanation=N_("备份任务的成功率,以及每季度一次的恢复演练"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=Measure(
            "backup",
            (FULL, PER_POINT, MeasureLimit("no_drill", N_("每缺一次演练扣"), FigureUnit.POINTS)),
            _measure,
        ),
        weight=Decimal(8),
        limits={"full": Decimal("0.99"), "per_point": ONE, "no_drill": Decimal(4)},
        order=80,
        edition=2,
        happened=gather,
        holding=drills_due,
        facts=(
            Fact("due", N_("应备份")),
            Fact("done", N_("成功")),
            Fact("drill", N_("演练成功")),
            Fact("drills_due", N_("应做演练")),
        ),
        sources={"quarter": RefSource(N_("季度"))},
        records=(BACKUPS, DRILL),
    )
)
