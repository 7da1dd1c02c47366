"""Growth within the day as pages show it: what a system's department authorised, what is on loan, whether it can work."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import joinedload

from console.book import book, lake, settings
from metering.cases import Authorisation, Case, CaseState, Consent, authorisations
from metering.intraday import look
from metering.judging import policies
from metering.overview import MACHINES
from metering.workbench import Workbench
from providers.base import Provider, Verb
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import Pool
from quota.errors import NotFound, Refused
from quota.inventory import Resource


def adapter(pool: Pool) -> Provider | None:
    """The adapter of a pool, opened once a process; None where it cannot be opened."""
    kept: dict[int, Provider | None] = current_app.extensions.setdefault("guanjia_adapters", {})
    if pool.id not in kept:
        try:
            kept[pool.id] = Workbench(book(), lake(), settings().data).provider(pool)
        except Refused:
            kept[pool.id] = None
    return kept[pool.id]


def resizes_live(pool: Pool) -> bool | None:
    """Whether its adapter changes the size of running machines; None where the adapter cannot be opened."""
    provider = adapter(pool)
    return None if provider is None else provider.live_resize and Verb.RESIZE in provider.capabilities


@dataclass(frozen=True, slots=True)
class GrowthStanding:
    """Of one system. ``grows``: whether the policy in force lets any machine grow within the day; ``pools``: where its
    machines are, and whether they can be changed while they run."""

    allowed: Authorisation | None
    on_loan: list[Case]
    grows: bool
    pools: list[tuple[Pool, bool | None]]


def standing(tx: Tx, system_id: int) -> GrowthStanding:
    """What holds for a system."""
    where = select(Resource.pool_id).where(
        Resource.system_id == system_id, Resource.gone_at.is_(None), Resource.kind.in_(MACHINES)
    )
    pools = tx.scalars(select(Pool).where(Pool.id.in_(where)).order_by(Pool.name))
    return GrowthStanding(
        authorisations.holding(tx, system_id),
        on_loan(tx, Case.system_id == system_id),
        grows(tx),
        [(pool, resizes_live(pool)) for pool in pools],
    )


def on_loan(tx: Tx, *where: ColumnElement[bool], limit: int = 50) -> list[Case]:
    """Cases that enlarge a machine on a standing authorisation now, the first to end first."""
    query = (
        select(Case)
        .where(Case.consent == Consent.STANDING.value, Case.state != CaseState.CLOSED.value, *where)
        .options(joinedload(Case.resource), joinedload(Case.system))
        .order_by(Case.wake_at.asc().nulls_last(), Case.id)
        .limit(limit)
    )
    return list(tx.scalars(query))


def grows(tx: Tx, *, cpu: bool = False) -> bool:
    """Whether the policy in force lets anything grow within the day: by its sizing, or by its terms for what is no CPU. ``cpu``: by
    its sizing alone."""
    try:
        policy = policies.in_force(tx, tx.now.astimezone(ZONE).date()).policy()
    except NotFound:
        return False
    return bool(policy.every_growth() and not cpu) or any(
        look.fast_of(policy.sizing_of(at)) for at in range(-1, len(policy.sections))
    )
