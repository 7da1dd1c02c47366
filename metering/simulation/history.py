"""The city's own past out of the lake, as series to backtest policies over: part by part, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from metering.judging import Policy, calendars, demanded, pipeline
from metering.lake import nothing
from metering.series import MachineSeries, flatten
from metering.workbench import Workbench
from providers.base import ServiceKind
from providers.metrics import LIVE, STEP_S
from quota.actors import steward
from quota.db import batches
from quota.errors import N_, Invalid
from quota.inventory import Resource
from quota.units import VCPU

DAYS = 90
"""How far back a backtest looks, where nothing else is asked."""

MACHINES = (ServiceKind.VM.value, ServiceKind.BARE_METAL.value)


@dataclass(frozen=True)
class Past:
    """Machines and the days over which they are backtested. labels: kind of group -> resource id -> its name."""

    first: date
    last: date
    cores: Mapping[int, int]
    names: Mapping[int, str]
    labels: Mapping[str, Mapping[int, str]]

    def grouped(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """Labels in the order of a result's names (resource ids written out)."""
        return {kind: [of.get(int(one), "—") for one in ids] for kind, of in self.labels.items()}


def past(workbench: Workbench, days: int = DAYS, *, pool_id: int | None = None, last: date | None = None) -> Past:
    """The machines of the city (of one pool) and its closed days, ``days`` of them at most, up to ``last``.

    Raises Invalid where no day is closed yet, or there is no machine.
    """
    closed = [day for day in workbench.lake.days() if last is None or day <= last]
    if not closed:
        raise Invalid("replay.empty", N_("还没有日结完成的数据,无法回测"))
    query = (
        select(Resource)
        .where(Resource.kind.in_(MACHINES))
        .options(joinedload(Resource.department), joinedload(Resource.system), joinedload(Resource.pool))
        .order_by(Resource.id)
    )
    if pool_id is not None:
        query = query.where(Resource.pool_id == pool_id)
    with workbench.book.reading(steward("replay")) as tx:
        rows = [one for one in tx.scalars(query) if one.actual().get(VCPU)]
        if not rows:
            raise Invalid("replay.nothing", N_("没有可以回测的主机"))
        return Past(
            max(min(closed), max(closed) - timedelta(days=days - 1)),
            max(closed),
            {one.id: one.actual()[VCPU] for one in rows},
            {one.id: one.name or one.external_id for one in rows},
            {
                "department": {one.id: one.department.name for one in rows if one.department},
                "system": {one.id: one.system.name for one in rows if one.system},
                "pool": {one.id: one.pool.name for one in rows},
            },
        )


def parts(workbench: Workbench, of: Past) -> Iterator[MachineSeries]:
    """The machines' live samples, block by block; names are resource ids written out.

    A slot whose size was not reported has the size of the slot before it; before the first report, today's. Raises
    ValueError for a lake whose samples are not five minutes apart: a backtest takes no others.
    """
    lake = workbench.lake
    if lake.step_s != STEP_S:
        raise ValueError("a backtest takes samples of five minutes")
    first_slot = int((np.datetime64(of.first) - np.datetime64("1970-01-01")).astype(int)) * lake.slots
    first_slot -= lake.utc_offset_s // lake.step_s
    for block in lake.windows(
        np.array(sorted(of.cores), np.int32), of.first, of.last, ("cpu_pct", "vcpu", "steal_pct")
    ):
        vcpu = block.values["vcpu"]
        known = (vcpu != nothing("vcpu")) & (vcpu > 0)
        column = np.maximum.accumulate(np.where(known, np.arange(vcpu.shape[1]), -1), axis=1)
        held = np.take_along_axis(vcpu, np.maximum(column, 0), axis=1)
        today = np.array([of.cores[int(one)] for one in block.resources])[:, None]
        yield flatten(
            "lake",
            tuple(str(int(one)) for one in block.resources),
            first_slot,
            demanded(block.values["cpu_pct"], block.values["steal_pct"]),
            np.where(block.state == LIVE, LIVE, 0),
            np.where(column >= 0, held, today),
        )


def sections(workbench: Workbench, ids: Sequence[int], policy: Policy) -> NDArray[np.int64]:
    """The section of ``policy`` that holds for each of these resources, -1 = none."""
    with workbench.book.reading(steward("replay")) as tx:
        found = (tx.scalars(select(Resource).where(Resource.id.in_(part))) for part in batches(ids))
        rows = {one.id: one for one in chain.from_iterable(found)}
        return pipeline.sections(tx, [rows[one] for one in ids], policy, calendars(tx))
