"""The demo city's accounts: example prices, two months' statements, the companies' bills, a delivery that comes
too late for a closed month, and disputes at every step."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
import pyarrow as pa
from pyarrow import csv
from sqlalchemy import select

from metering import statements
from metering.intake import imports, late_figures
from metering.statements import Dispute, DisputeAnswer, disputes, reconciliation, tariffs
from metering.workbench import Workbench
from providers.adapters.simulated import SimulatedCloud
from providers.base import Samples
from providers.billing import bills, month_bounds
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import Person
from quota.errors import N_

SILENT = 24
"""Samples lost in a row that make a machine silent: two hours."""

HANDED_IN = ("cpu_pct", "mem_pct", "disk_pct", "net_rx_kbps", "net_tx_kbps", "vcpu", "mem_mb")


def months(today: date) -> date:
    """The first day of the two whole months before that of ``today``: the first is closed, the last still open."""
    last = today.replace(day=1) - timedelta(days=1)
    return (last.replace(day=1) - timedelta(days=1)).replace(day=1)


def settle(workbench: Workbench) -> None:
    """Price, make and close the month before last, leave the last one open with its disputes under way."""
    today = workbench.book.clock().astimezone(ZONE).date()
    last = today.replace(day=1) - timedelta(days=1)
    first = months(today)
    before = f"{first:%Y-%m}"
    with workbench.book.transaction(steward("init")) as tx:
        tariffs.examples(tx, first.replace(month=1, day=1))
    for month in (before, f"{last:%Y-%m}"):
        for pool in workbench.pools():
            bills.collect(workbench.book, pool.id, workbench.provider(pool), month)
        run = statements.make(workbench, month)
        reconciliation.all_pools(workbench, month)
        if month == before:
            actor = _person(workbench, Role.AUTHORITY)
            statements.settle(workbench, month, run_id=run.id, actor=actor, reason=N_("核对无误"))
            _hand_in(workbench, month)
    _argue(workbench)


def _hand_in(workbench: Workbench, month: str) -> None:
    """After the month was closed a company hands in, as a file, what its agents kept of two days while nobody heard them:
    the first two days on which there is something, whatever the pool."""
    first, after = month_bounds(month)
    days = (first + timedelta(days=n) for n in range(10, (after - first).days - 1, 2))
    for since, pool in product(days, workbench.pools()):
        cloud = cast("SimulatedCloud", workbench.provider(pool))
        kept = [one for batch in cloud.samples(since, since + timedelta(days=2), lost=True) if (one := _silent(batch))]
        if kept:
            with TemporaryDirectory() as folder:
                path = Path(folder) / f"{pool.code}-{month}.csv"
                csv.write_csv(pa.concat_tables(kept, promote_options="default"), path)
                imports.import_usage(workbench, pool, [path], actor=_person(workbench, Role.SUPERVISOR))
            late_figures.enter(workbench)
            return


def _silent(batch: Samples) -> pa.Table | None:
    """Of machines that were silent for two hours and more, what they would have said."""
    index = batch.table["resource"].to_numpy()
    counts = np.bincount(index, minlength=len(batch.external_ids))
    table = batch.table.filter(pa.array(counts[index] >= SILENT))
    if not table.num_rows or "cpu_pct" not in table.column_names:
        return None
    names = pa.array([batch.external_ids[one] for one in table["resource"].to_pylist()])
    return table.select(["ts", *HANDED_IN]).add_column(0, "resource_id", names)


def _argue(workbench: Workbench) -> None:
    """Claim the three largest differences; one is answered, one settled."""
    claimant, judge = _person(workbench, Role.SUPERVISOR), _person(workbench, Role.AUTHORITY)
    with workbench.book.reading() as tx:
        largest = list(tx.scalars(select(Dispute).where(Dispute.fen > 0).order_by(Dispute.fen.desc()).limit(3)))
    for number, one in enumerate(largest):
        with workbench.book.transaction(claimant) as tx:
            disputes.claim(tx, one.id, generation=1, text=N_("账单与台账历史和样本不符，请核对"))
        if number == 0:
            continue
        with workbench.book.transaction(_person(workbench, Role.PROVIDER, one.provider_id)) as tx:
            what = DisputeAnswer.ACCEPT if number == 1 else DisputeAnswer.CONTEST
            words = N_("经核对，计费系统规格未同步") if number == 1 else N_("该资源按开通单规格计费")
            disputes.answer(tx, one.id, what, generation=2, text=words)
        if number == 1:
            with workbench.book.transaction(judge) as tx:
                disputes.settle(tx, one.id, generation=3, fen=one.fen or 0, text=N_("双方认可，本期核减"))


def _person(workbench: Workbench, role: Role, provider_id: int | None = None) -> Actor:
    with workbench.book.reading() as tx:
        query = select(Person).where(Person.role == role.value).order_by(Person.id)
        if provider_id is not None:
            query = query.where(Person.provider_id == provider_id)
        who = tx.scalars(query.limit(1)).one()
        return Actor(who.login, who.name, role, who.department_id, who.provider_id)
