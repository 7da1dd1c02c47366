"""The indicator «足额交付»: of the machines that are seen from inside, how many have what their company says that it delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import func, or_, select

from metering.intake.feed_readings import FeedReading
from metering.intake.feeds import Feed, Vantage
from metering.intake.short_deliveries import LABELS, ShortAmount, ShortDelivery, told
from providers import comments
from providers.assessment import (
    Direction,
    EvidenceRow,
    Fact,
    FactFormat,
    FigureUnit,
    Gathering,
    Indicator,
    Measure,
    MeasureResult,
    RefSource,
    measures,
    register,
)
from providers.billing import month_bounds
from quota.directory import Pool
from quota.errors import N_
from quota.inventory import Resource

INSIDE = "inside"


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """A row a pool with how many of its machines were seen from inside by the month's end, and a row for each short delivery that
    stood in it, but for those about which the company was found to be right."""
    tx = gathering.tx
    start, end = month_bounds(month)
    seen = tx.execute(
        select(Pool.code, func.count(FeedReading.resource_id.distinct()))
        .join(Feed, Feed.id == FeedReading.feed_id)
        .join(Resource, Resource.id == FeedReading.resource_id)
        .join(Pool, Pool.id == Resource.pool_id)
        .where(
            Pool.provider_id == gathering.subject.id,
            Feed.vantage == Vantage.GUEST.value,
            FeedReading.since < end,
            FeedReading.at >= start,
        )
        .group_by(Pool.code)
        .order_by(Pool.code)
    ).all()
    found = tx.scalars(
        told()
        .join(Resource, Resource.id == ShortDelivery.resource_id)
        .join(Pool, Pool.id == Resource.pool_id)
        .where(
            Pool.provider_id == gathering.subject.id,
            ShortDelivery.confirmed_at < end,
            or_(ShortDelivery.ended_at.is_(None), ShortDelivery.ended_at >= start),
        )
        .order_by(ShortDelivery.id)
    ).all()
    excused = comments.upheld(tx, (one.subject for one in found))
    return [
        *(EvidenceRow(f"{INSIDE}:{code}/{month}", {"pool": code, "machines": count}) for code, count in seen),
        *(
            EvidenceRow(
                one.subject,
                {"machine": one.resource_id, "what": one.what, "delivered": str(one.delivered), "seen": str(one.seen)},
            )
            for one in found
            if one.subject not in excused
        ),
    ]


def _measure(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult | None:
    """Machines with what was delivered ÷ machines seen from inside, None where none was; below ``full``, ``per_point`` a percentage
    point. A machine that is short of two things counts once."""
    short = len({row.facts["machine"] for row in rows if "machine" in row.facts})
    machines = max(sum(int(row.facts.get("machines", 0)) for row in rows), short)
    if not machines:
        return None
    share = Decimal(machines - short) / machines
    return MeasureResult(
        measures.rounded(share, 4), measures.below(share, limits),
        N_("由机器内部核对 %(machines)s 台,其中 %(short)s 台不足,足额率 %(share)s%%(满分线 %(full)s%%)"),
        {"machines": machines, "short": short, "share": measures.percent(share), "full": measures.percent(limits["full"])},
    )  # fmt: skip


register(
    Indicator(
        code="sizes",
        label=N_("足额交付"),
        explanation=N_("机器内部见到的规格不小于清单所称的机器之比;争议成立的不计"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=Measure("sizes", (measures.FULL, measures.PER_POINT), _measure),
        weight=Decimal(5),
        limits={"full": measures.ONE, "per_point": measures.ONE},
        order=25,
        edition=3,
        happened=gather,
        facts=(
            Fact("pool", N_("资源池"), FactFormat.POOL),
            Fact("machines", N_("机器内部核对的台数")),
            Fact("machine", "", FactFormat.HIDDEN),
            Fact("what", N_("项目"), FactFormat.WORD, words={one.value: LABELS[one] for one in ShortAmount}),
            Fact("delivered", N_("服务商称已交付")),
            Fact("seen", N_("机器内部见到")),
        ),
        sources={INSIDE: RefSource(N_("机器内部核对"))},
    )
)
