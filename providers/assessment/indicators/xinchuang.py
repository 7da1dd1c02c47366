"""信创: combinations that the city asks for, and whether they are certified."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import select

from providers.assessment import periods
from providers.assessment.compatibility import FITNESS_LABELS, Combination
from providers.assessment.evidence import OK
from providers.assessment.measures import PROPORTION, EvidenceRow, FigureUnit
from providers.assessment.registry import Direction, Fact, FactFormat, Gathering, Indicator, register
from quota.errors import N_


def gather(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """The combinations that are asked for, as they stand at the period's end."""
    day = periods.last_day(gathering.period, gathering.tx.now)
    wanted = gathering.tx.scalars(
        select(Combination)
        .where(Combination.provider_id == gathering.subject.id, Combination.required.is_(True))
        .order_by(Combination.id)
    )
    return [
        EvidenceRow(
            f"combination:{combination.id}",
            {"what": " · ".join(filter(None, (combination.chip, combination.system, combination.database, combination.middleware))),
             "fitness": combination.fitness,
             "valid_until": combination.valid_until and combination.valid_until.isoformat(),
             "ok": combination.good(day)},
        )
        for combination in wanted
    ]  # fmt: skip


register(
    Indicator(
        code="xinchuang",
        label=N_("信创适配"),
        explanation=N_("期末要求适配的组合中,已认证且证书在有效期内的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=PROPORTION,
        weight=Decimal(5),
        limits={"whole": Decimal(5)},
        order=100,
        edition=2,
        holding=gather,
        facts=(
            Fact("what", N_("内容"), names=True),
            Fact(
                "fitness",
                N_("适配状态"),
                FactFormat.WORD,
                words={code.value: label for code, label in FITNESS_LABELS.items()},
            ),
            Fact("valid_until", N_("有效期至"), FactFormat.MOMENT),
            OK,
        ),
    )
)
