"""What the demo city shows, whatever day it is founded: each line is something that a visitor may ask to see.

``missing`` says of a book what is not there. DAYS are those on which calendars differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from console.tables import VerificationRun, VerificationState
from metering.cases.authorisations import Authorisation
from metering.cases.certificates import Certificate
from metering.cases.exemptions import Exemption
from metering.cases.files import Case, Confirmation, Reply, Ruling
from metering.cases.notices import Notice
from metering.cases.openings import Opening
from metering.cases.steps import Answer, CaseState, Ending, RulingDecision
from metering.cases.windows import ChangeFreeze, ChangeWindow
from metering.forecasting.forecasts import KeptForecast
from metering.intake.late_figures import LateFigure
from metering.judging.findings import Assessment, Finding
from metering.judging.policy import Verdict
from metering.judging.procedure import CaseKind
from metering.reports.tables import ReportEdition
from metering.settlement import BillingYear, DepartmentBudget, SettlementSheet
from metering.statements.closings import MonthClosing
from metering.statements.disputes import Dispute, DisputeState
from metering.statements.reconciliation_tables import FourWayLine
from metering.statements.tables import CORRECTION, StatementLine
from metering.statements.tariffs import Tariff
from metering.supervision import SupervisionAlert, SupervisionState, items
from providers.assessment.appeals import Appeal, AppealState
from providers.assessment.cards import ScorecardRecord
from providers.assessment.compatibility import Combination
from providers.assessment.ratings import Rating
from providers.assessment.records import AssessmentRecord
from providers.assessment.rectifications import Rectification, RectificationState
from providers.billing.bills import Bill
from providers.billing.incidents import Incident
from providers.billing.maintenances import Maintenance
from providers.contracts import Contract
from providers.labour.jobs import LabourJob, LabourState
from providers.orders.tables import OrderState, WorkOrder, returned
from providers.tickets import Ticket, TicketState
from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory.dated import DatedEntry
from quota.directory.delegations import Delegation
from quota.directory.funded_projects import FundedProject
from quota.directory.hosted import HostedEquipment
from quota.directory.outside import OutsideFacility
from quota.directory.people import Person
from quota.directory.pools import PoolCapacity
from quota.directory.presets import SizePreset
from quota.directory.reorganisations import Reorganisation
from quota.exchange import ClaimState, Conversion, ConversionState, OfferState, QuotaClaim, QuotaOffer
from quota.ledger import Allocation, Commitment, CommitmentState
from quota.ledger.lending import Loan, LoanState
from quota.requests import kinds, reservations
from quota.requests.copies import RequestTemplate
from quota.requests.notices import NoticeKind, RequestNotice
from quota.requests.tables import Request, RequestState, RequestStep
from quota.resource_classes import ResourceClassRow
from quota.units import MEMORY, VCPU

Count = Callable[[Tx], int]


def _ten(year: int, month: int, day: int) -> datetime:
    """Ten in the morning of a day, local time."""
    return datetime(year, month, day, 10, tzinfo=ZONE).astimezone(UTC)


DAYS = {
    "working day": _ten(2026, 11, 25),
    "Sunday": _ten(2026, 11, 29),
    "holiday and first of a month": _ten(2026, 10, 1),
    "weekend that is worked": _ten(2026, 10, 10),
    "first of a month": _ten(2026, 11, 1),
    "last of a month": _ten(2026, 11, 30),
    "29 February and last of a month": _ten(2028, 2, 29),
    "working New Year's Eve": _ten(2026, 12, 31),
    "Sunday and New Year's Eve": _ten(2028, 12, 31),
}
SEVERAL = (
    "holiday and first of a month",
    "weekend that is worked",
    "29 February and last of a month",
    "Sunday and New Year's Eve",
)
OF_SEVERAL_KINDS = {name: DAYS[name] for name in SEVERAL}
"""Days that show what all of DAYS do."""


@dataclass(frozen=True, slots=True)
class Feature:
    """``count`` of the book is to be ``least`` or more."""

    name: str
    count: Count
    least: int = 1


def rows(model: type[Base], *where: Any) -> Count:
    """How many rows of ``model`` there are ``where``."""
    return lambda tx: int(tx.scalar(select(func.count()).select_from(model).where(*where)) or 0)


def open_to(model: type[Base], column: Any, *where: Any) -> Count:
    """As ``rows``, of those whose department is one whose clerk has an account."""
    clerks = select(Person.department_id).where(Person.role == Role.TENANT.value)
    return rows(model, column.in_(clerks), *where)


def _at_step(name: str) -> Count:
    def count(tx: Tx) -> int:
        waiting = tx.scalars(select(Request).where(Request.state == RequestState.IN_REVIEW.value))
        return sum(one.current is not None and one.current.name == name for one in waiting)

    return count


def _judged(verdict: Verdict) -> Count:
    last = select(func.max(Assessment.id)).scalar_subquery()
    return rows(Finding, Finding.assessment_id == last, Finding.verdict == verdict.value)


def _today(tx: Tx) -> date:
    return tx.now.astimezone(ZONE).date()


def _months_before(tx: Tx) -> tuple[str, str]:
    """The month before last, and the last."""
    last = _today(tx).replace(day=1) - timedelta(days=1)
    return f"{last.replace(day=1) - timedelta(days=1):%Y-%m}", f"{last:%Y-%m}"


def _reserved(tx: Tx, state: RequestState) -> list[tuple[Request, date]]:
    """Requests in this state that reserve, each with the first day of its peak."""
    found = tx.scalars(select(Request).where(Request.state == state.value, reservations.reserving()))
    return [(one, date.fromisoformat(one.fields[reservations.BEGINS])) for one in found]


def _peaks_past(tx: Tx) -> int:
    """Whose machine had grown before the peak began, and is what it was."""

    def so(one: Request, begins: date) -> bool:
        (line,) = one.lines
        grown = one.delivered_at is not None and one.delivered_at.astimezone(ZONE).date() == begins - timedelta(days=1)
        now = one.resource.actual() if one.resource is not None else {}
        return grown and one.id in returned(tx) and all(now[cls] == line.current[cls] for cls in (VCPU, MEMORY))

    return sum(so(*each) for each in _reserved(tx, RequestState.DONE))


def _peaks_to_come(tx: Tx) -> int:
    """Granted, and of which nobody was told yet that they end."""
    told = select(RequestNotice.request_id).where(RequestNotice.kind == NoticeKind.LENT_ENDING.value)
    early = set(tx.scalars(told))
    return sum(begins > _today(tx) and one.id not in early for one, begins in _reserved(tx, RequestState.APPROVED))


def _split_invoice(tx: Tx) -> int:
    """The sheets that wait for their confirmation and claim something of an invoice that a company's contracts share."""
    waiting = tx.scalars(
        select(SettlementSheet).where(SettlementSheet.confirmed_at.is_(None), SettlementSheet.gross_fen > 0)
    )
    of = Counter((one.contract.provider_id, one.period) for one in waiting)
    return max(of.values(), default=0)


IN_REVIEW = Request.state == RequestState.IN_REVIEW.value
DELIVERED = WorkOrder.state.in_([OrderState.DELIVERED.value, OrderState.ACCEPTED.value])

FEATURES: tuple[Feature, ...] = (
    *(Feature(f"request {state}", rows(Request, Request.state == state.value))
      for state in RequestState if state is not RequestState.APPROVED),
    *(Feature(f"request to {kind.code} waits", rows(Request, IN_REVIEW, Request.kind == kind.code))
      for kind in (kinds.CREATE, kinds.RESIZE, kinds.UNSUBSCRIBE, kinds.QUOTA)),
    *(Feature(f"request waits at {step}", _at_step(step))
      for step in ("form_check", "technical_review", "authority_approval")),
    Feature("request overdue", lambda tx: rows(Request, IN_REVIEW, Request.due_at < tx.now)(tx)),
    Feature("request in time", lambda tx: rows(Request, IN_REVIEW, Request.due_at > tx.now)(tx)),
    Feature("request approved in part", rows(RequestStep, RequestStep.decision == "approve_part")),
    Feature("people told of their requests", rows(RequestNotice)),
    Feature("machine grown the day before a declared peak, and given back after it", _peaks_past),
    Feature("department reminded of the end of what it was lent", rows(RequestNotice, RequestNotice.kind == NoticeKind.LENT_ENDING.value)),
    Feature("peak to come that waits", _peaks_to_come),
    Feature("order in work", rows(WorkOrder, WorkOrder.state == OrderState.DELIVERING.value)),
    Feature("order in time", rows(WorkOrder, DELIVERED, WorkOrder.delivered_at <= WorkOrder.due_at)),
    Feature("order late", rows(WorkOrder, DELIVERED, WorkOrder.delivered_at > WorkOrder.due_at)),
    Feature("delivery rated badly", rows(Rating, Rating.stars == 2)),
    Feature("delivery rated well", rows(Rating, Rating.stars == 5)),
    Feature("quota shared out down the tree", rows(Allocation), 3),
    *(Feature(f"verdict {verdict}", _judged(verdict)) for verdict in Verdict),
    Feature("forecasts", rows(KeptForecast), 10),
    *(Feature(f"case {state}", rows(Case, Case.state == state.value))
      for state in (CaseState.DETECTED, CaseState.NOTICED, CaseState.DISPUTED, CaseState.BINNED, CaseState.CONFIRMING, CaseState.CLOSED)),
    *(Feature(f"case to {kind} waits for a clerk's answer",
              open_to(Case, Case.department_id, Case.state == CaseState.NOTICED.value, Case.kind == kind.value))
      for kind in (CaseKind.SHRINK, CaseKind.EXPAND)),
    *(Feature(f"case ended {ending}", rows(Case, Case.ending == ending.value))
      for ending in (Ending.DISMISSED, Ending.UPHELD, Ending.EXEMPTED, Ending.SHRUNK, Ending.RETURNED, Ending.DELETED,
                     Ending.REQUESTED, Ending.LAPSED)),
    *(Feature(f"answer: {answer}", rows(Reply, Reply.answer == answer.value))
      for answer in (Answer.AGREE, Answer.OBJECT, Answer.EXEMPT)),
    *(Feature(f"ruling on {matter}: {decision}",
              rows(Ruling, Ruling.matter == matter, Ruling.decision == decision.value))
      for matter, decision in (("objection", RulingDecision.UPHOLD), ("objection", RulingDecision.PROCEED),
                               ("exemption", RulingDecision.EXEMPT), ("silence", RulingDecision.UPHOLD),
                               ("silence", RulingDecision.PROCEED))),
    Feature("exemption in force", lambda tx: rows(Exemption, Exemption.ends_on >= _today(tx))(tx)),
    Feature("deletion confirmed by one, waiting for another",
            rows(Confirmation, Confirmation.case_id.in_(
                select(Case.id).where(Case.state == CaseState.CONFIRMING.value)))),
    Feature("certificate", rows(Certificate)),
    Feature("letter", rows(Notice), 2),
    Feature("letter reminded of", rows(Notice, Notice.reminded_at.is_not(None))),
    Feature("letter escalated", rows(Notice, Notice.escalated_at.is_not(None))),
    Feature("openings with what was passed over", rows(Opening), 2),
    Feature("change window", rows(ChangeWindow)),
    Feature("freeze to come", lambda tx: rows(ChangeFreeze, ChangeFreeze.first_day > _today(tx))(tx)),
    Feature("system that may grow within the hour",
            lambda tx: rows(Authorisation, Authorisation.ends_on > _today(tx))(tx)),
    Feature("bills of the last two months",
            lambda tx: rows(Bill, Bill.month.in_(_months_before(tx)))(tx), 6),
    Feature("scorecard of a month, published",
            rows(ScorecardRecord, ScorecardRecord.published, ScorecardRecord.month.not_like("%Q%")), 2),
    Feature("scorecard of a quarter, published",
            rows(ScorecardRecord, ScorecardRecord.published, ScorecardRecord.month.like("%Q%")), 2),
    Feature("appeal that waits", rows(Appeal, Appeal.state == AppealState.FILED.value)),
    Feature("appeal dismissed", rows(Appeal, Appeal.state == AppealState.DISMISSED.value)),
    Feature("rectification that waits for a plan", rows(Rectification, Rectification.state == RectificationState.ORDERED.value)),
    Feature("rectification under way", rows(Rectification, Rectification.state == RectificationState.PLANNED.value)),
    Feature("rectification that waits for its review", rows(Rectification, Rectification.state == RectificationState.PROVEN.value)),
    *(Feature(f"ticket {state}", rows(Ticket, Ticket.state == state.value))
      for state in (TicketState.FILED, TicketState.WORKING, TicketState.ASKED, TicketState.SOLVED, TicketState.CONFIRMED)),
    Feature("reports of the city, a company and a department", rows(ReportEdition), 3),
    Feature("maintenance to come", lambda tx: rows(Maintenance, Maintenance.starts_at > tx.now)(tx), 2),
    Feature("incident settled", rows(Incident, Incident.settled_at.is_not(None))),
    Feature("incident that waits for its ruling", rows(Incident, Incident.settled_at.is_(None))),
    *(Feature(f"record of {kind}", rows(AssessmentRecord, AssessmentRecord.kind == kind))
      for kind in ("backups", "review", "drill", "certificate",
                   "talk", "vulnerability", "year_end")),
    Feature("contract of a lot", rows(Contract), 2),
    Feature("sheets of two contracts of a company, of a month, each with its part of the invoice", _split_invoice, 2),
    Feature("certificate of a company run out",
            lambda tx: rows(AssessmentRecord, AssessmentRecord.valid_until < _today(tx))(tx)),
    Feature("combination that is certified", rows(Combination), 4),
    Feature("price", rows(Tariff)),
    Feature("month before last closed",
            lambda tx: rows(MonthClosing, MonthClosing.month == _months_before(tx)[0])(tx)),
    Feature("figure too late for the closed month", rows(LateFigure)),
    Feature("line that corrects the closed month", rows(StatementLine, StatementLine.charge == CORRECTION)),
    Feature("lines of four figures", rows(FourWayLine), 10),
    *(Feature(f"dispute {state}", rows(Dispute, Dispute.state == state.value))
      for state in (DisputeState.CLAIMED, DisputeState.ANSWERED, DisputeState.SETTLED)),
    Feature("loan with a part given back",
            rows(Loan, Loan.state == LoanState.ACTIVE.value, Loan.returned > 0)),
    Feature("loan offered", rows(Loan, Loan.state == LoanState.OFFERED.value)),
    Feature("funded project", rows(FundedProject), 2),
    Feature("room outside the cloud", rows(OutsideFacility)),
    Feature("preset of sizes", rows(SizePreset), 3),
    Feature("quota promised for a day to come", rows(Commitment, Commitment.state == CommitmentState.WAITING.value)),
    Feature("deputy of who is away", rows(Delegation)),
    Feature("request kept to be asked again", rows(RequestTemplate)),
    Feature("step taken on", rows(RequestStep, RequestStep.assignee.is_not(None))),
    Feature("hosted equipment that stands", rows(HostedEquipment, HostedEquipment.placed_at.is_not(None))),
    Feature("hosted equipment to be placed", open_to(HostedEquipment, HostedEquipment.department_id, HostedEquipment.placed_at.is_(None))),
    Feature("item of supervision in force", lambda tx: len(items.in_force(tx, _today(tx))), 2),
    Feature("alert that waits", rows(SupervisionAlert, SupervisionAlert.state == SupervisionState.OPEN.value, SupervisionAlert.code == "SP-01")),
    Feature("alert answered", rows(SupervisionAlert, SupervisionAlert.state == SupervisionState.ANSWERED.value)),
    Feature("entry that has ended", lambda tx: rows(DatedEntry, DatedEntry.ends_on < _today(tx))(tx)),
    Feature("entry to come", lambda tx: rows(DatedEntry, DatedEntry.ends_on >= _today(tx))(tx), 3),
    Feature("department's budget", rows(DepartmentBudget)),
    Feature("billing year", rows(BillingYear)),
    Feature("service of people that waits for its confirmation", rows(LabourJob, LabourJob.state == LabourState.REPORTED.value)),
    Feature("quota offered on the market", rows(QuotaOffer, QuotaOffer.state == OfferState.OPEN.value)),
    *(Feature(f"claim {state}", rows(QuotaClaim, QuotaClaim.state == state.value)) for state in (ClaimState.ASKED, ClaimState.DONE)),
    Feature("conversion asked for", rows(Conversion, Conversion.state == ConversionState.ASKED.value)),
    *(Feature(f"reorganisation: {kind}", rows(Reorganisation, Reorganisation.kind == kind)) for kind in ("systems", "split")),
    Feature("class of slices that clouds have a name for", rows(ResourceClassRow, ResourceClassRow.profiles != "")),
    Feature("cards cut into slices", rows(PoolCapacity, PoolCapacity.kind == "vnpu4", PoolCapacity.total > 0)),
    Feature("verification that found nothing",
            rows(VerificationRun, VerificationRun.state == VerificationState.DONE.value,
                 VerificationRun.problem_count == 0)),
)  # fmt: skip
"""Everything that the demo shows of the book."""


def missing(tx: Tx) -> list[str]:
    """The features that ``tx`` does not show, each with how much of it there is."""
    found = ((one, one.count(tx)) for one in FEATURES)
    return [f"{one.name}: {count} of {one.least}" for one, count in found if count < one.least]
