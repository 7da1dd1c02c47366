"""Security: events and overdue vulnerabilities, as the steward records them. A month that was reviewed and had none has a
record that says so: silence is no full mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from providers.assessment.evidence import recorded
from providers.assessment.measures import ZERO, EvidenceRow, FigureUnit, Measure, MeasureLimit, MeasureResult
from providers.assessment.registry import (
    Direction,
    Fact,
    FactFormat,
    Gathering,
    Indicator,
    RecordField,
    RecordKind,
    register,
)
from quota.errors import N_

REVIEW = RecordKind("review", N_("安全核查(当月无事件)"))
EVENT = RecordKind("event", N_("一般安全事件"))
MAJOR_EVENT = RecordKind("major_event", N_("重大安全事件"))
VULNERABILITY = RecordKind(
    "vulnerability", N_("高危漏洞逾期未修复"), (RecordField("count", N_("数量"), help=N_("逾期漏洞的个数")),)
)
LEAK = RecordKind("leak", N_("数据泄露(一票否决)"), veto=True)

_WHAT = {"none": REVIEW, "general": EVENT, "major": MAJOR_EVENT, "vulnerability": VULNERABILITY}
_SAID = {kind.code: what for what, kind in _WHAT.items()}


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    return [
        EvidenceRow(f"record:{record.id}", {"what": _SAID[record.kind], "count": record.figures.get("count", 1)})
        for record in recorded(gathering, month, *_SAID)
    ]


def _measure(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult:
    """``general`` and ``major`` for each event, ``vulnerability`` for each that stayed open too long."""
    events = {name: sum(row.facts.get("what") == name for row in rows) for name in ("general", "major")}
    holes = sum(int(row.facts.get("count", 1)) for row in rows if row.facts.get("what") == "vulnerability")
    deduction = sum((count * limits[name] for name, count in events.items()), ZERO) + holes * limits["vulnerability"]
    return MeasureResult(
        Decimal(sum(events.values()) + holes), deduction,
        N_("一般安全事件 %(general)s 起,重大安全事件 %(major)s 起,逾期未修复的高危漏洞 %(holes)s 个"),
        {**events, "holes": holes},
    )  # fmt: skip


register(
    Indicator(
        code="security",
        label=N_("安全事件"),
        explanation=N_("当期记录在案的安全事件和逾期未修复的高危漏洞;经核查无事件得满分,数据泄露一票否决"),
        unit=FigureUnit.COUNT,
        direction=Direction.LOWER,
        measure=Measure(
            "security",
            (
                MeasureLimit("general", N_("每起一般事件扣"), FigureUnit.POINTS),
                MeasureLimit("major", N_("每起重大事件扣"), FigureUnit.POINTS),
                MeasureLimit("vulnerability", N_("每个逾期漏洞扣"), FigureUnit.POINTS),
            ),
            _measure,
        ),
        weight=Decimal(13),
        limits={"general": Decimal(5), "major": Decimal(13), "vulnerability": Decimal(1)},
        order=40,
        edition=2,
        happened=gather,
        facts=(
            Fact("what", N_("内容"), FactFormat.WORD, words={what: kind.label for what, kind in _WHAT.items()}),
            Fact("count", N_("数量")),
        ),
        records=(REVIEW, EVENT, MAJOR_EVENT, VULNERABILITY, LEAK),
    )
)
