"""Work and how late it is: requests, orders, cases, findings, disputes, incidents, tickets, orders to rectify; and what companies are marked with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import ColumnElement, case, func, select

from console.words import waits
from metering.cases import Case, CaseState
from metering.intraday import effects
from metering.judging import Finding, PolicyVersion, findings, policies
from metering.statements import Dispute, DisputeState
from metering.supervision import OPEN as OPEN_ALERTS
from metering.supervision import SupervisionAlert, alerts, items
from providers.assessment import Rectification, ScorecardRecord, cards, rectifications
from providers.billing import Incident
from providers.orders import UNDER_WAY, WorkOrder
from providers.tickets import HANDLERS_TURN, Ticket
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import CloudProvider, DatedEntry, DatedState, dated
from quota.errors import NotFound
from quota.requests import OPEN, Request

FEN = 100
OVER = (DisputeState.SETTLED.value, DisputeState.LAPSED.value)


def collect(tx: Tx) -> Iterator[Metric]:
    """All of it."""
    yield from _requests(tx)
    yield from _orders(tx)
    yield from _cases(tx)
    yield from _findings(tx)
    yield from _policies(tx)
    yield from _companies(tx)
    yield from _disputes(tx)
    yield from _rectifications(tx)
    yield from _tickets(tx)
    yield _dated(tx)
    yield from _supervised(tx)
    yield _waiting(tx)


def _counted(tx: Tx, name: str, text: str, column: Any) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state, count in tx.execute(select(column, func.count()).group_by(column)):
        family.add_metric([state], count)
    return family


def _late(tx: Tx, what: str, of: str, columns: dict[str, Any], due: Any, since: Any, going: Any) -> Iterator[Metric]:
    """How many of ``what`` are open past their limit, and how old the oldest open one is, by ``columns``."""
    overdue = GaugeMetricFamily(f"guanjia_{what}_overdue", f"Open {of} past their limit.", labels=list(columns))
    oldest = GaugeMetricFamily(
        f"guanjia_{what}_oldest_seconds", f"Age of the oldest open one of {of}.", labels=list(columns)
    )
    late: ColumnElement[int] = func.sum(case((due < tx.now, 1), else_=0))
    query = select(late, func.min(since), *columns.values()).where(going).group_by(*columns.values())
    for count, first, *labels in tx.execute(query):
        names = [str(one or "none") for one in labels]
        overdue.add_metric(names, float(count or 0))
        if first is not None:
            oldest.add_metric(names, max(0.0, (tx.now - first).total_seconds()))
    yield from (overdue, oldest)


def _requests(tx: Tx) -> Iterator[Metric]:
    yield _counted(tx, "guanjia_requests", "Requests by state.", Request.state)
    going = Request.state.in_([one.value for one in OPEN])
    columns = {"kind": Request.kind, "turn": Request.turn}
    yield from _late(tx, "requests", "requests", columns, Request.due_at, Request.submitted_at, going)


def _waiting(tx: Tx) -> Metric:
    family = GaugeMetricFamily(
        "guanjia_waiting",
        "What waits, by why: requests, orders, cases, and what the last opening of cases passed over.",
        labels=["reason"],
    )
    for code, count in sorted(waits.counted(tx).items()):
        family.add_metric([code], count)
    return family


def _orders(tx: Tx) -> Iterator[Metric]:
    yield _counted(tx, "guanjia_orders", "Orders to providers by state.", WorkOrder.state)
    company = select(CloudProvider.code).where(CloudProvider.id == WorkOrder.provider_id).scalar_subquery()
    going = WorkOrder.state.in_([one.value for one in UNDER_WAY])
    columns = {"provider": company.label("provider")}
    yield from _late(tx, "orders", "orders with providers", columns, WorkOrder.due_at, WorkOrder.placed_at, going)


def _cases(tx: Tx) -> Iterator[Metric]:
    yield _counted(tx, "guanjia_cases", "Reclaim, shrink and expand cases by state.", Case.state)
    columns = {"kind": Case.kind, "state": Case.state}
    yield from _late(tx, "cases", "cases", columns, Case.due_at, Case.opened_at, Case.state != CaseState.CLOSED.value)


def _rectifications(tx: Tx) -> Iterator[Metric]:
    yield _counted(tx, "guanjia_rectifications", "Orders to rectify by state.", Rectification.state)
    company = select(CloudProvider.code).where(CloudProvider.id == Rectification.provider_id).scalar_subquery()
    columns = {"provider": company.label("provider")}
    since = Rectification.ordered_at
    yield from _late(
        tx, "rectifications", "orders to rectify, by company, none: of departments, systems and the steward,", columns,
        Rectification.due_at, since, rectifications.owed(),
    )  # fmt: skip


def _tickets(tx: Tx) -> Iterator[Metric]:
    yield _counted(tx, "guanjia_tickets", "Tickets of departments by state.", Ticket.state)
    company = select(CloudProvider.code).where(CloudProvider.id == Ticket.provider_id).scalar_subquery()
    going = Ticket.state.in_(HANDLERS_TURN)
    columns = {"provider": company.label("provider")}
    yield from _late(tx, "tickets", "tickets with who handles them", columns, Ticket.due_at, Ticket.filed_at, going)


def _dated(tx: Tx) -> Metric:
    family = GaugeMetricFamily(
        "guanjia_dated_entries",
        "What ends on a day and nobody closed, by kind and state: valid, near (30 days), over.",
        labels=["kind", "state"],
    )
    today = tx.now.astimezone(ZONE).date()
    for state in (DatedState.VALID, DatedState.NEAR, DatedState.OVER):
        query = select(DatedEntry.kind, func.count()).where(dated.in_state(state, today)).group_by(DatedEntry.kind)
        for kind, count in tx.execute(query.order_by(DatedEntry.kind)):
            family.add_metric([kind, state.value], count)
    return family


def _supervised(tx: Tx) -> Iterator[Metric]:
    """Of each item that is watched or has an alert."""
    standing = GaugeMetricFamily(
        "guanjia_supervision_alerts", "Alerts of supervision that stand, by item.", labels=["item"]
    )
    overdue = GaugeMetricFamily(
        "guanjia_supervision_alerts_overdue",
        "Alerts of supervision that should have been answered, by item.",
        labels=["item"],
    )
    one = SupervisionAlert
    late: ColumnElement[int] = func.sum(case((alerts.late(tx.now), 1), else_=0))
    query = select(one.code, func.count(), late).where(one.state.in_(OPEN_ALERTS)).group_by(one.code)
    counted = {code: (count, int(behind)) for code, count, behind in tx.execute(query)}
    watched = items.in_force(tx, tx.now.astimezone(ZONE).date())
    for code in sorted({*watched, *counted}):
        count, behind = counted.get(code, (0, 0))
        standing.add_metric([code], count)
        overdue.add_metric([code], behind)
    yield from (standing, overdue)


def _findings(tx: Tx) -> Iterator[Metric]:
    family = GaugeMetricFamily("guanjia_findings", "Resources by class in the latest assessment.", labels=["verdict"])
    run = findings.last_run(tx)
    of_it = Finding.assessment_id == (run.id if run else None)
    query = select(Finding.verdict, func.count()).where(of_it).group_by(Finding.verdict)
    for verdict, count in tx.execute(query):
        family.add_metric([verdict], count)
    yield family


def _policies(tx: Tx) -> Iterator[Metric]:
    """What the policy version in force and the one before it did within the day, over the days that were reckoned. Of versions there
    are ever more, and each would keep its series for ever."""
    names = {one.id: [one.name, str(one.version)] for one in _in_force(tx)}
    labels = ["policy", "version"]
    told = {
        figure: GaugeMetricFamily(name, text, labels=labels)
        for figure, name, text in (
            ("known_s", "guanjia_policy_sampled_seconds", "Machine time of which CPU was told under a policy version."),
            ("ceiling_s", "guanjia_policy_ceiling_seconds", "Machine time at the ceiling under a policy version."),
            ("avoided_s", "guanjia_policy_avoided_seconds", "Machine time at the ceiling that growths avoided."),
            ("lent_core_s", "guanjia_policy_lent_core_seconds", "vCPU lent by growths within the day, times seconds."),
            ("growths", "guanjia_policy_growths", "Growths within the day carried out under a policy version."),
            ("returned", "guanjia_policy_growths_returned", "Growths within the day that were given back."),
            ("added", "guanjia_policy_machines_added", "Machines that tiers were given under a policy version."),
            ("taken_back", "guanjia_policy_machines_returned", "Machines given to tiers that went back."),
            ("added_core_s", "guanjia_policy_added_core_seconds", "vCPU of machines given to tiers, times seconds."),
        )
    }
    for version, effect in sorted(effects.effects(tx, *names).items() if names else ()):
        for figure, family in told.items():
            family.add_metric(names[version], getattr(effect, figure))
    yield from told.values()


def _in_force(tx: Tx) -> list[PolicyVersion]:
    """The policy version that holds today, and the one that held before it began."""
    found: list[PolicyVersion] = []
    day = tx.now.astimezone(ZONE).date()
    with suppress(NotFound):
        for _which in range(2):
            found.append(policies.in_force(tx, day))
            day = found[-1].effective_from - timedelta(days=1)
    return found


def _companies(tx: Tx) -> Iterator[Metric]:
    """The newest published card of each company, of a month and of a quarter; incidents that nobody has settled."""
    points = GaugeMetricFamily(
        "guanjia_scorecard_points",
        "Points of 100 on a company's newest published card of a month or a quarter.",
        labels=["provider", "length"],
    )
    known = GaugeMetricFamily(
        "guanjia_scorecard_scored_ratio",
        "Share of the formula's weight that had evidence on a company's newest published card; too little, and it has no points.",
        labels=["provider", "length"],
    )
    newest: dict[tuple[str, str], tuple[str, int, int]] = {}
    every = (
        select(CloudProvider.code, ScorecardRecord.month, ScorecardRecord.revision, ScorecardRecord.id)
        .join(CloudProvider, CloudProvider.id == ScorecardRecord.provider_id)
        .where(ScorecardRecord.published)
    )
    for code, period, revision, card_id in tx.execute(every):  # a dozen a company and year
        key = (code, "quarter" if "Q" in period else "month")
        newest[key] = max(newest.get(key, ("", 0, 0)), (period, revision, card_id))
    for (code, length), (_period, _revision, card_id) in sorted(newest.items()):
        card = tx.get_one(ScorecardRecord, card_id)
        if card.total is not None:
            points.add_metric([code, length], float(card.total))
        if weight := cards.formula_of(card).weight:
            known.add_metric([code, length], float(card.scored_weight / weight))
    yield points
    yield known
    unsettled = GaugeMetricFamily(
        "guanjia_incidents_unsettled",
        "Incidents whose responsibility nobody has settled.",
        labels=["provider", "level"],
    )
    query_incidents = (
        select(CloudProvider.code, Incident.level, func.count())
        .join(CloudProvider, CloudProvider.id == Incident.provider_id)
        .where(Incident.settled_at.is_(None))
        .group_by(CloudProvider.code, Incident.level)
    )
    for code, level, count in tx.execute(query_incidents):
        unsettled.add_metric([code, str(level)], count)
    yield unsettled


def _disputes(tx: Tx) -> Iterator[Metric]:
    count = GaugeMetricFamily(
        "guanjia_disputes", "Differences between bills and statements by state.", labels=["provider", "state"]
    )
    money = GaugeMetricFamily(
        "guanjia_disputed_yuan", "Yuan in dispute and not settled, of what a tariff prices.", labels=["provider"]
    )
    open_fen: dict[str, int] = {}
    query = (
        select(CloudProvider.code, Dispute.state, func.count(), func.sum(func.abs(Dispute.fen)))
        .join(CloudProvider, CloudProvider.id == Dispute.provider_id)
        .group_by(CloudProvider.code, Dispute.state)
    )
    for code, state, found, fen in tx.execute(query):
        count.add_metric([code, state], found)
        if state not in OVER:
            open_fen[code] = open_fen.get(code, 0) + int(fen or 0)
    for code, fen in sorted(open_fen.items()):
        money.add_metric([code], fen / FEN)
    yield from (count, money)
