"""What came for settled months, figure by figure: which resource, which day, what it was when the month was settled and
what it is, by which source and when. Rows are entered from the lake's corrections and never rewritten; statements bill or
credit what they prove by correction rows of the next open month.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from sqlalchemy import BigInteger, Float, ForeignKey, Index, String, func, insert, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.lake import Damaged, Late, Reader, natural
from metering.workbench import Workbench
from providers.metrics import METRICS
from quota.actors import steward
from quota.base import Base, append_only
from quota.inventory import Resource

if TYPE_CHECKING:
    from metering.lake import Lake

log = logging.getLogger("guanjia.late_figures")

SAMPLES = "samples"
"""The metric of a row that counts samples of any kind: live ones and those of a machine that is off."""


class LateFigure(Base):
    """One metric of one resource on one day of a settled month, before and after what one source delivered.

    ``number``: the last of its deliveries, as the lake counts them (nanoseconds since 1970); ``first_at``, ``last_at``: its
    first and last late sample. ``…_before`` counts what came late before. Means and peaks are in the metric's unit, None
    where no sample told it or, for SAMPLES, where there is none.
    """

    __tablename__ = "late_figures"
    __table_args__ = (
        Index("ix_late_figures_month_resource_id", "month", "resource_id"),
        Index("ix_late_figures_day_number", "day", "number"),
        Index("ix_late_figures_number_id", "number", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"))
    month: Mapped[str] = mapped_column(String(7))
    day: Mapped[date]
    metric: Mapped[str] = mapped_column(String(32))
    source: Mapped[str] = mapped_column(String(128))
    number: Mapped[int] = mapped_column(BigInteger)
    came_at: Mapped[datetime]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    samples_before: Mapped[int]
    samples_after: Mapped[int]
    mean_before: Mapped[float | None] = mapped_column(Float)
    mean_after: Mapped[float | None] = mapped_column(Float)
    peak_before: Mapped[float | None] = mapped_column(Float)
    peak_after: Mapped[float | None] = mapped_column(Float)

    resource: Mapped[Resource] = relationship()


append_only(LateFigure.__table__)  # type: ignore[arg-type]


COLUMNS = (
    "resource_id", "month", "day", "metric", "source", "number", "came_at", "first_at", "last_at",
    "samples_before", "mean_before", "peak_before", "samples_after", "mean_after", "peak_after",
)  # fmt: skip
"""Of a row, in the order in which ``_day`` tells them."""


def enter(workbench: Workbench) -> int:
    """Enter what came for settled months since the last time, a day at a time; returns the rows. The same again, or by two
    at once, enters nothing more."""
    late = workbench.lake.corrections()
    if not late:
        return 0
    with workbench.book.reading() as tx:
        known: dict[date, int] = dict(
            tx.execute(select(LateFigure.day, func.max(LateFigure.number)).group_by(LateFigure.day)).all()
        )
        ids = set(tx.scalars(select(Resource.id)))
    entered = 0
    for day, of_day in groupby(late, key=lambda one: one.day):
        deliveries, since = list(of_day), known.get(day, 0)
        if deliveries[-1].number > since:
            try:
                rows = [row for row in _day(workbench.lake, day, deliveries, since) if row[0] in ids]
            except Damaged:
                log.exception("what came late for %s is not entered", day)  # `lake verify` names it; other days go on
                continue
            entered += _kept(workbench, day, since, rows)
    return entered


def _kept(workbench: Workbench, day: date, since: int, rows: Sequence[tuple[Any, ...]]) -> int:
    """Enter a day's rows, unless another process has entered what comes after ``since``; how many."""
    if not rows:
        return 0
    with workbench.book.transaction(steward("job:roll")) as tx:
        tx.alone("late_figures")
        if (tx.scalar(select(func.max(LateFigure.number)).where(LateFigure.day == day)) or 0) != since:
            return 0
        for low in range(0, len(rows), 5000):
            some = [dict(zip(COLUMNS, row, strict=True)) for row in rows[low : low + 5000]]
            tx.execute(insert(LateFigure), some)
        tx.audit(
            "lake.late",
            "lake",
            after={"day": day, "figures": len(rows), "resources": len({row[0] for row in rows})},
        )
    return len(rows)


def _day(lake: Lake, day: date, deliveries: Sequence[Late], since: int) -> Iterator[tuple[Any, ...]]:
    """What changed by each source's deliveries of a day after the one numbered ``since``, in the order in which they came."""
    before = _figures(lake.corrected(day, since)[1]) if since else {}
    for source, group in groupby([one for one in deliveries if one.number > since], key=lambda one: one.source):
        mine = list(group)
        last = mine[-1].number
        settled, corrected = lake.corrected(day, last)
        was, after, spans = _figures(settled) | before, _figures(corrected), _spans(lake, mine)
        came = datetime.fromtimestamp(last // 10**9, UTC)
        for resource, span in spans.items():
            for metric, now in after.get(resource, {}).items():
                then = was.get(resource, {}).get(metric, (0, None, None))
                if now != then:
                    yield (resource, f"{day:%Y-%m}", day, metric, source, last, came, *span, *then, *now)
        before = after


DayFigure = tuple[int, float | None, float | None]
"""Samples, their mean, their peak."""


def _figures(daily: pa.Table) -> dict[int, dict[str, DayFigure]]:
    """Resource → metric → its day, of a daily rollup."""
    ids = daily["resource"].to_pylist()
    found: dict[int, dict[str, DayFigure]] = {one: {} for one in ids}
    counted = daily["n_live"].to_numpy().astype(np.int64) + daily["n_off"].to_numpy()
    for resource, n in zip(ids, counted.tolist(), strict=True):
        found[resource][SAMPLES] = (n, None, None)
    for name in METRICS.keys() & {one.removesuffix("_sum") for one in daily.column_names}:
        n, total = (daily[f"{name}_{what}"].to_numpy().astype(np.float64) for what in ("n", "sum"))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / n / (100 if METRICS[name].percent else 1)
        peak = natural(name, daily[f"{name}_max"].to_numpy())
        for at in np.flatnonzero(n).tolist():
            found[ids[at]][name] = (int(n[at]), round(float(mean[at]), 4), round(float(peak[at]), 4))
    return found


def _spans(lake: Lake, deliveries: Sequence[Late]) -> dict[int, tuple[datetime, datetime]]:
    """Resource → its first and last sample in some deliveries."""
    resource: list[Any] = []
    ts: list[Any] = []
    for one in deliveries:
        midnight = int(datetime(one.day.year, one.day.month, one.day.day, tzinfo=UTC).timestamp()) - lake.utc_offset_s
        with Reader(one.path) as reader:
            found = reader.read(range(len(reader.ranges)), ["resource", "slot"])
        resource.append(found["resource"])
        ts.append(midnight + found["slot"].astype(np.int64) * lake.step_s)
    ids, moments = np.concatenate(resource), np.concatenate(ts)
    order = np.lexsort((moments, ids))
    ids, moments = ids[order], moments[order]
    heads = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
    tails = np.append(heads[1:], len(ids)) - 1
    step = timedelta(seconds=lake.step_s)
    return {
        int(ids[head]): (
            datetime.fromtimestamp(int(moments[head]), UTC),
            datetime.fromtimestamp(int(moments[tail]), UTC) + step,
        )
        for head, tail in zip(heads.tolist(), tails.tolist(), strict=True)
    }
