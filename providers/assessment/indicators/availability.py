"""Availability of the platform: minutes of its pools, and those that settled incidents took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from sqlalchemy import func, select

from providers.assessment.evidence import pools
from providers.assessment.measures import (
    FULL,
    HUNDRED,
    ONE,
    ZERO,
    EvidenceRow,
    FigureUnit,
    Measure,
    MeasureLimit,
    MeasureResult,
    percent,
    plain,
    rounded,
)
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
from providers.base import Responsibility, ServiceKind
from providers.billing import Incident, maintenances, month_bounds
from quota.calendar import working_days
from quota.errors import N_
from quota.inventory import Resource

CODE = "availability"

OUTAGE = EvidenceTerm("outage", N_("计中断的故障级别至"), Decimal(2))
"""Incidents of this level and worse take what they affect down."""

WATCHED = EvidenceTerm("watched", N_("采样不低于"), Decimal("0.9"), FigureUnit.SHARE)
"""A pool that reported less than this share of its samples was not watched."""

SAMPLES = "reporting"
"""The indicator whose rows say how much of each ``pool`` was seen in a ``month``: samples ``expected`` and ``received``."""


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Minutes of a pool and minutes that its settled incidents took, in proportion to the hosts that were hit. Of what was
    settled as maintenance, what went on beyond the window that was announced; nothing of what was settled so before windows
    were the house's. Nothing of a pool that was not watched."""
    tx = gathering.tx
    start, end = month_bounds(month)
    end = min(end, tx.now)
    days, held = working_days(tx), gathering.by.incidents
    rows = []
    for pool in pools(tx, gathering.subject.id):
        if end <= start or not _watched(gathering, pool.code, month):
            continue
        hosts = tx.scalar(
            select(func.count(Resource.id)).where(
                Resource.pool_id == pool.id,
                Resource.kind.in_([ServiceKind.VM.value, ServiceKind.BARE_METAL.value]),
                Resource.first_seen_at < end,
                (Resource.gone_at.is_(None)) | (Resource.gone_at > start),
            )
        )
        outages, named = [], []
        hit = tx.scalars(
            select(Incident)
            .where(
                Incident.pool_id == pool.id,
                Incident.level <= int(gathering.by.term(CODE, OUTAGE.name)),
                Incident.responsibility.in_([Responsibility.PROVIDER.value, Responsibility.MAINTENANCE.value]),
                Incident.started_at < end,
            )
            .order_by(Incident.id)
        )
        for incident in hit:
            over = min(incident.recovered_at or end, end)
            began = max(incident.started_at, start)
            if incident.responsibility == Responsibility.MAINTENANCE:
                window = maintenances.covering(tx, pool.id, incident.started_at, days, held)
                began = max(began, window.ends_at) if window is not None else over
            if over <= began:
                continue
            share = Decimal(len(incident.affected)) / hosts if incident.affected and hosts else ONE
            outages.append((began, over, min(ONE, share)))
            named.append(f"incident:{incident.id}")
        rows.append(
            EvidenceRow(
                f"pool:{pool.code}/{month}",
                {"pool": pool.code, "minutes": str(_minutes(start, end)), "down_minutes": str(rounded(_down(outages), 4)),
                 "hosts": hosts, "incidents": named},
            )
        )  # fmt: skip
    return rows


def _watched(gathering: Gathering, code: str, month: str) -> bool:
    mine = [
        row.facts
        for row in gathering.happened(SAMPLES, month)
        if row.facts.get("pool") == code and row.facts.get("month") == month
    ]
    expected = sum(int(facts["expected"]) for facts in mine)
    watched = gathering.by.term(CODE, WATCHED.name)
    return expected > 0 and Decimal(sum(int(facts["received"]) for facts in mine)) / expected >= watched


def _down(outages: Sequence[tuple[datetime, datetime, Decimal]]) -> Decimal:
    """Minutes lost to outages (from, to, share of the pool): those that overlap take down no more than the whole pool."""
    edges = sorted({edge for began, over, _ in outages for edge in (began, over)})
    lost = ZERO
    for first, last in pairwise(edges):
        share = sum((part for began, over, part in outages if began <= first and last <= over), ZERO)
        lost += _minutes(first, last) * min(share, ONE)
    return lost


def _minutes(start: datetime, end: datetime) -> Decimal:
    return Decimal(max(0, int((end - start).total_seconds()))) / 60


def _measure(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult | None:
    """1 − time down ÷ time, over all pools; below ``full``, ``per_step`` for each ``step``, in proportion; below
    ``floor`` everything."""
    minutes = sum((Decimal(str(row.facts["minutes"])) for row in rows), ZERO)
    if minutes <= 0:
        return None
    down = min(minutes, sum((Decimal(str(row.facts["down_minutes"])) for row in rows), ZERO))
    share = ONE - down / minutes
    deduction = max(ZERO, limits["full"] - share) / limits["step"] * limits["per_step"]
    if share < limits["floor"]:
        deduction = HUNDRED
    return MeasureResult(
        rounded(share, 6), deduction,
        N_("%(pools)s 个资源池月中断 %(down)s 分钟,可用性 %(share)s%%,满分线 %(full)s%%"),
        {"pools": len(rows), "down": plain(rounded(down)), "share": plain(rounded(share * HUNDRED, 4)),
         "full": percent(limits["full"])},
    )  # fmt: skip


register(
    Indicator(
        code=CODE,
        label=N_("平台可用性"),
        explanation=N_(
            "资源池不中断的时间占比,按受影响主机数折算;只计已定责为云服务商的严重故障,和已公告的维护超出公告时间的部分;采样不足的资源池不计"
        ),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=Measure(
            "availability",
            (
                FULL,
                MeasureLimit("per_step", N_("每档扣"), FigureUnit.POINTS),
                MeasureLimit("step", N_("每档"), FigureUnit.SHARE),
                MeasureLimit("floor", N_("低于此不得分"), FigureUnit.SHARE),
            ),
            _measure,
        ),
        weight=Decimal(15),
        limits={"full": Decimal("0.9995"), "per_step": ONE, "step": Decimal("0.0001"), "floor": Decimal("0.995")},
        order=10,
        edition=2,
        happened=gather,
        facts=(
            Fact("pool", N_("资源池"), FactFormat.POOL),
            Fact("minutes", N_("总分钟")),
            Fact("down_minutes", N_("中断分钟")),
            Fact("hosts", N_("主机数")),
            Fact("incidents", N_("故障")),
        ),
        terms=(OUTAGE, WATCHED),
        sources={"pool": RefSource(N_("平台可用性"))},
    )
)
