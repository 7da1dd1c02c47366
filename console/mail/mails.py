"""Mail: that something waits, and where. A notice in the console is what counts; a mail only says that it is there.

Each new notice is given to the post once, by a job, after it was committed: a row of ``mail_items`` says so, whether or
not anybody had an address. What came for one person meanwhile goes into one mail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import (
    ColumnElement,
    SQLColumnExpression,
    case,
    exists,
    func,
    select,
    true,
)

from console.identity import BreakGlassUse
from console.tables import Mail, MailItem, MailSource, MailState
from metering.cases import Notice
from metering.reports import ReportEdition, ScopeKind
from metering.scale_outs import ScaleOut, ScaleOutState
from metering.settlement import BillingYear, YearState, YearUnit
from metering.statements import Dispute, DisputeState
from metering.supervision import SupervisionAlert, alerts
from metering.surplus import SurplusNotice, SurplusState
from providers import tickets
from providers.assessment import (
    Appeal,
    Combination,
    OfSubject,
    Rectification,
    RectificationState,
    RectificationStep,
    Survey,
    SurveyAnswer,
    rectifications,
    whose,
)
from providers.billing import Maintenance
from providers.tickets import Ticket, TicketAct, TicketState, TicketStep
from quota.actors import Role
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import DatedKind, DatedTerm, Delegation, Department, OutsideFacility, Person, dated
from quota.errors import N_, Invalid, NotFound, WrongState
from quota.inventory import Inquiry, Resource
from quota.ledger import Allocation
from quota.requests import RequestNotice

HORIZON = timedelta(days=3)
"""What is older when the post is first set up, or after so long a stop of the jobs, is not written about any more."""
SURVEY_NEAR = timedelta(days=3)
"""So long before its last day who has not answered a survey is reminded of it."""
NEAR = timedelta(days=2)
"""So long before its day a company is reminded of what it is to put right."""
PATIENCE = timedelta(days=3)
"""So long a mail is tried; a server that was down longer has it shown as failed, to be sent again by hand."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class _Told:
    source: MailSource
    source_id: int
    role: Role
    department_id: int | None = None
    provider_id: int | None = None
    but: str | None = None
    """The login of who may not do what it asks for."""
    login: str | None = None
    """Of whom it is to alone."""
    day: date | None = None
    """On which it ends, where another day is written about again."""


def write_to(tx: Tx, who: Person, address: str) -> None:
    """Set where mail for ``who`` goes; empty = nowhere. Raises Invalid for what is no address."""
    tx.actor.must_be(Role.SYSADMIN, Role.SYSTEM)
    before, after = who.email, checked(address)
    if before == after:
        return
    who.email = after
    tx.audit("person.email", f"person:{who.id}", before={"email": before}, after={"email": after})


def checked(address: str) -> str:
    """``address`` as mail servers take it; Invalid for what is none."""
    if not address.strip():
        return ""
    try:
        return validate_email(address.strip(), check_deliverability=False, allow_smtputf8=False).normalized
    except EmailNotValidError:
        raise Invalid("person.email", N_("不是有效的邮箱地址"), field="email") from None


def gather(tx: Tx) -> list[Mail]:
    """Make mails of what is new; one for each person, whatever the number of things. Returns them."""
    told = list(_new(tx, tx.now - HORIZON))
    mails: dict[int, Mail] = {}
    given: set[tuple[MailSource, int, int]] = set()
    for one in told:
        recipients = _reached(tx, one)
        for who in recipients:
            if (one.source, one.source_id, who.id) in given:  # of two departments that have nobody, the one above
                continue
            given.add((one.source, one.source_id, who.id))
            if who.id not in mails:
                mails[who.id] = _mail(tx, who)
            tx.add(_item(one, mails[who.id].id))
        if not recipients:
            tx.add(_item(one, None))
    tx.flush()
    return list(mails.values())


def _item(told: _Told, mail_id: int | None) -> MailItem:
    return MailItem(source=told.source.value, source_id=told.source_id, day=told.day, mail_id=mail_id)


def _mail(tx: Tx, who: Person) -> Mail:
    row = Mail(
        person_id=who.id,
        address=who.email,
        state=MailState.WAITING.value,
        made_at=tx.now,
        next_try_at=tx.now,
    )
    tx.add(row)
    tx.flush()
    return row


def _new(tx: Tx, since: datetime) -> Iterator[_Told]:
    """What nobody was written to about, oldest first."""
    about = (
        select(RequestNotice)
        .where(RequestNotice.at >= since, ~_posted(MailSource.REQUEST, RequestNotice.id))
        .order_by(RequestNotice.id)
    )
    for one in tx.scalars(about):
        yield _Told(MailSource.REQUEST, one.id, Role(one.role), one.department_id, one.provider_id, login=one.login)
    for source, at in (
        (MailSource.LETTER, Notice.issued_at),
        (MailSource.REMINDER, Notice.reminded_at),
        (MailSource.ESCALATION, Notice.escalated_at),
    ):
        for letter in tx.scalars(select(Notice).where(at >= since, ~_posted(source, Notice.id)).order_by(Notice.id)):
            if source is MailSource.ESCALATION:
                yield _Told(source, letter.id, Role.AUTHORITY)
            else:
                yield _Told(source, letter.id, Role.TENANT, letter.department_id)
    for source, when in (
        (MailSource.INQUIRY, Inquiry.asked_at),
        (MailSource.INQUIRY_REMINDER, Inquiry.reminded_at),
        (MailSource.INQUIRY_OVERDUE, Inquiry.escalated_at),
    ):
        asked = select(Inquiry).where(when >= since, ~_posted(source, Inquiry.id)).order_by(Inquiry.id)
        for inquiry in tx.scalars(asked):
            if source is MailSource.INQUIRY_OVERDUE:
                yield _Told(source, inquiry.id, Role.SUPERVISOR)
            else:
                yield _Told(source, inquiry.id, Role.TENANT, inquiry.department_id)
    for source, moment in (
        (MailSource.ALLOCATION_NEAR, Allocation.told_at),
        (MailSource.ALLOCATION_OVERDUE, Allocation.overdue_at),
    ):
        given = select(Allocation).where(moment >= since, ~_posted(source, Allocation.id)).order_by(Allocation.id)
        for allocation in tx.scalars(given):
            yield _Told(source, allocation.id, Role.TENANT, allocation.receiver_id)
    used = select(BreakGlassUse).where(BreakGlassUse.at >= since, ~_posted(MailSource.BREAK_GLASS, BreakGlassUse.id))
    for use in tx.scalars(used.order_by(BreakGlassUse.id)).all():
        for role in (Role.SECADMIN, Role.AUDADMIN):
            yield _Told(MailSource.BREAK_GLASS, use.id, role)
    made = select(ReportEdition).where(ReportEdition.made_at >= since, ~_posted(MailSource.REPORT, ReportEdition.id))
    for edition in tx.scalars(made.order_by(ReportEdition.id)).all():
        yield from _readers(edition)
    yield from _rectifications(tx, since)
    yield from _tickets(tx, since)
    yield from _maintenances(tx, since)
    yield from _surpluses(tx, since)
    yield from _contested(tx, since)
    yield from _dated(tx, since)
    yield from _outside(tx, since)
    yield from _certificates(tx, since)
    yield from _years(tx, since)
    yield from _scale_outs(tx, since)
    yield from _supervised(tx, since)
    yield from _surveyed(tx, since)
    yield from _delegations(tx, since)


def _surveyed(tx: Tx, since: datetime) -> Iterator[_Told]:
    """Surveys to the departments that are asked and have not answered all: when they open, and once more before their end."""
    today, answer = tx.now.astimezone(ZONE).date(), SurveyAnswer
    asked = (
        select(func.min(answer.id).label("number"), answer.department_id, Survey.begun_at)
        .join(Survey, Survey.id == answer.survey_id)
        .where(Survey.closed_at.is_(None), Survey.ends_on >= today)
        .group_by(answer.survey_id, answer.department_id, Survey.begun_at)
        .having(func.sum(case((answer.at.is_(None), 1), else_=0)) > 0)
    )
    for source, when in (
        (MailSource.SURVEY, Survey.begun_at >= since),
        (MailSource.SURVEY_NEAR, Survey.ends_on <= today + SURVEY_NEAR),
    ):
        due = asked.where(when).subquery()
        unsaid = select(due).where(~_posted(source, due.c.number)).order_by(due.c.number)
        for number, department_id, begun_at in tx.execute(unsaid).all():
            if source is MailSource.SURVEY or begun_at.astimezone(ZONE).date() < today:
                yield _Told(source, number, Role.TENANT, department_id)


def _supervised(tx: Tx, since: datetime) -> Iterator[_Told]:
    """Alerts, to whom their items name and always to the steward; past their limit, to whoever owes an answer and to the steward."""
    one = SupervisionAlert
    opened = alerts.rows().where(one.opened_at >= since, ~_posted(MailSource.SUPERVISED, one.id))
    for row in tx.scalars(opened.order_by(one.id)).all():
        told = {Role.SUPERVISOR: True, Role.AUTHORITY: row.item.tells_authority, Role.TENANT: row.item.tells_department,
                Role.PROVIDER: row.item.tells_provider}  # fmt: skip
        yield from (_of_alert(MailSource.SUPERVISED, row, role) for role, so in told.items() if so)
    owed = alerts.rows().where(alerts.late(tx.now), one.due_at >= since, ~_posted(MailSource.SUPERVISED_LATE, one.id))
    for row in tx.scalars(owed.order_by(one.id)).all():
        for role in dict.fromkeys((Role(row.item.answerer), Role.SUPERVISOR)):
            yield _of_alert(MailSource.SUPERVISED_LATE, row, role)


def _of_alert(source: MailSource, row: SupervisionAlert, role: Role) -> _Told:
    department = row.owner_id if role is Role.TENANT else None
    return _Told(source, row.id, role, department, row.company_id if role is Role.PROVIDER else None)


def _delegations(tx: Tx, since: datetime) -> Iterator[_Told]:
    """A delegation that was entered, to the deputy, and one that was revoked: to either of the two who did not do it himself."""
    for source, moment, holds in (
        (MailSource.DEPUTY, Delegation.entered_at, Delegation.revoked_at.is_(None)),
        (MailSource.DEPUTY_OFF, Delegation.revoked_at, true()),
    ):
        query = select(Delegation).where(moment >= since, holds, ~_posted(source, Delegation.id))
        for row in tx.scalars(query.order_by(Delegation.id)).all():
            by = row.entered_by if source is MailSource.DEPUTY else row.revoked_by
            for who in (row.person, row.deputy):
                if who.login != by:
                    yield _Told(source, row.id, Role(who.role), login=who.login)


def _scale_outs(tx: Tx, since: datetime) -> Iterator[_Told]:
    """Machines more for tiers, to the departments whose turn it is: to answer, to enter one at the balancer, to take it out. Each is written
    about once, however often its turn comes again."""
    one = ScaleOut
    for source, moment, state in (
        (MailSource.SCALE_OUT, one.opened_at, ScaleOutState.PROPOSED),
        (MailSource.SCALE_OUT_ENTER, one.delivered_at, ScaleOutState.DELIVERED),
        (MailSource.SCALE_OUT_LEAVE, one.leave_at, ScaleOutState.LEAVING),
    ):
        query = select(one).where(moment >= since, one.state == state.value, ~_posted(source, one.id)).order_by(one.id)
        for row in tx.scalars(query).all():
            yield _Told(source, row.id, Role.TENANT, row.tier.system.department_id)


def _surpluses(tx: Tx, since: datetime) -> Iterator[_Told]:
    """The department is told what it is reminded of, urged to and ruled; the authority that its turn came; the supervisor that cases are
    to be opened."""
    one, ruled = SurplusNotice, (SurplusState.CUT, SurplusState.TAKEN, SurplusState.KEPT)
    past = one.due_at < tx.now
    for source, moment, holds in (
        (MailSource.SURPLUS, one.opened_at, one.state == SurplusState.REMINDED.value),
        (MailSource.SURPLUS_LATE, one.due_at, past & (one.state == SurplusState.REMINDED.value)),
        (MailSource.SURPLUS_URGED, one.urged_at, one.state == SurplusState.URGED.value),
        (MailSource.SURPLUS_RIPE, one.due_at, past & (one.state == SurplusState.URGED.value)),
        (MailSource.SURPLUS_RULED, one.closed_at, one.state.in_([state.value for state in ruled])),
    ):
        query = select(one).where(moment >= since, holds, ~_posted(source, one.id)).order_by(one.id)
        for row in tx.scalars(query).all():
            if source in (MailSource.SURPLUS_LATE, MailSource.SURPLUS_RIPE):
                yield _Told(source, row.id, Role.AUTHORITY)
                continue
            yield _Told(source, row.id, Role.TENANT, row.department_id)
            if row.state == SurplusState.CUT:
                yield _Told(source, row.id, Role.SUPERVISOR)


def _contested(tx: Tx, since: datetime) -> Iterator[_Told]:
    """Disputes about bills and appeals against marks, to whoever's turn it is then, and to who appealed when it is ruled on."""
    for source, moment, state in (
        (MailSource.DISPUTE, Dispute.claimed_at, DisputeState.CLAIMED),
        (MailSource.DISPUTE_ANSWERED, Dispute.answered_at, DisputeState.ANSWERED),
    ):
        told = select(Dispute).where(moment >= since, Dispute.state == state.value, ~_posted(source, Dispute.id))
        for one in tx.scalars(told.order_by(Dispute.id)).all():
            if source is MailSource.DISPUTE:
                yield _Told(source, one.id, Role.PROVIDER, provider_id=one.provider_id)
            else:
                for role in (Role.AUTHORITY, Role.SUPERVISOR):
                    yield _Told(source, one.id, role, but=one.claimed_by)
    filed = select(Appeal).where(Appeal.filed_at >= since, Appeal.ruled_at.is_(None))
    for appeal in tx.scalars(filed.where(~_posted(MailSource.APPEAL, Appeal.id)).order_by(Appeal.id)).all():
        for role in (Role.SUPERVISOR, Role.AUTHORITY):
            yield _Told(MailSource.APPEAL, appeal.id, role)
    ruled = select(Appeal).where(Appeal.ruled_at >= since, ~_posted(MailSource.APPEAL_RULED, Appeal.id))
    for appeal in tx.scalars(ruled.order_by(Appeal.id)).all():
        yield _to_party(MailSource.APPEAL_RULED, appeal.id, appeal)


def _maintenances(tx: Tx, since: datetime) -> Iterator[_Told]:
    """Windows that were announced or cancelled, to departments that have something in the pool."""
    for source, moment in (
        (MailSource.MAINTENANCE, Maintenance.announced_at),
        (MailSource.MAINTENANCE_OFF, Maintenance.cancelled_at),
    ):
        told = select(Maintenance).where(moment >= since, ~_posted(source, Maintenance.id)).order_by(Maintenance.id)
        for one in tx.scalars(told).all():
            there = select(Resource.department_id).where(
                Resource.pool_id == one.pool_id, Resource.gone_at.is_(None), Resource.department_id.is_not(None)
            )
            for department_id in tx.scalars(there.distinct().order_by(Resource.department_id)).all():
                yield _Told(source, one.id, Role.TENANT, department_id)


def _rectifications(tx: Tx, since: datetime) -> Iterator[_Told]:
    """Steps of orders to rectify, to whoever's turn it is then; days that are near, and those that went by."""
    steps = select(RectificationStep, Rectification).join(
        Rectification, Rectification.id == RectificationStep.rectification_id
    )
    unsaid = steps.where(RectificationStep.at >= since, ~_posted(MailSource.RECTIFICATION, RectificationStep.id))
    for step, one in tx.execute(unsaid.order_by(RectificationStep.id)).all():
        if step.step == RectificationState.PROVEN:
            yield _Told(MailSource.RECTIFICATION, step.id, whose.overseers(one.subject)[0])
        elif step.step != RectificationState.PLANNED:
            yield _to_party(MailSource.RECTIFICATION, step.id, one)
    owed = select(Rectification).where(rectifications.late(tx.now + NEAR), Rectification.due_at >= since)
    near = owed.where(Rectification.due_at >= tx.now, ~_posted(MailSource.RECTIFICATION_NEAR, Rectification.id))
    for one in tx.scalars(near.order_by(Rectification.id)).all():
        yield _to_party(MailSource.RECTIFICATION_NEAR, one.id, one)
    late = owed.where(Rectification.due_at < tx.now, ~_posted(MailSource.RECTIFICATION_LATE, Rectification.id))
    for one in tx.scalars(late.order_by(Rectification.id)).all():
        yield _to_party(MailSource.RECTIFICATION_LATE, one.id, one)
        yield _Told(MailSource.RECTIFICATION_LATE, one.id, whose.overseers(one.subject)[0])


def _dated(tx: Tx, since: datetime) -> Iterator[_Told]:
    """What ends soon, and what has ended: to whose it is, or to the steward; that somebody should be out, to the steward, too. Once
    of each day that was said."""
    for source, holds in _ends(tx, since, MailSource.DATED_NEAR, MailSource.DATED_OVER, DatedTerm.ends_on):
        query = dated.standing_terms().where(*holds, ~_posted(source, DatedTerm.id)).order_by(DatedTerm.id)
        for term, one in tx.execute(query).all():
            if one.department_id is not None:
                yield _Told(source, term.id, Role.TENANT, one.department_id)
            if one.department_id is None or (one.kind == DatedKind.ACCESS and source is MailSource.DATED_OVER):
                yield _Told(source, term.id, Role.SUPERVISOR)


def _outside(tx: Tx, since: datetime) -> Iterator[_Told]:
    """What is outside the cloud and recognised no longer, or must have moved: near its day to its department; past it to the steward,
    too, who notes that it moved."""
    one = OutsideFacility
    day = func.coalesce(one.move_by, one.recognised_until)
    for source, holds in _ends(tx, since, MailSource.OUTSIDE_NEAR, MailSource.OUTSIDE_OVER, day):
        query = select(one).where(one.left_on.is_(None), *holds, ~_posted(source, one.id, day)).order_by(one.id)
        for row in tx.scalars(query).all():
            ends = row.move_by or row.recognised_until
            yield _Told(source, row.id, Role.TENANT, row.department_id, day=ends)
            if source is MailSource.OUTSIDE_OVER:
                yield _Told(source, row.id, Role.SUPERVISOR, day=ends)


def _certificates(tx: Tx, since: datetime) -> Iterator[_Told]:
    """Certificates of combinations that the city asks for: to the company, and past their day to the steward, too."""
    one = Combination
    for source, holds in _ends(tx, since, MailSource.CERTIFICATE_NEAR, MailSource.CERTIFICATE_OVER, one.valid_until):
        query = select(one).where(one.required, *holds, ~_posted(source, one.id, one.valid_until)).order_by(one.id)
        for row in tx.scalars(query).all():
            yield _Told(source, row.id, Role.PROVIDER, provider_id=row.provider_id, day=row.valid_until)
            if source is MailSource.CERTIFICATE_OVER:
                yield _Told(source, row.id, Role.SUPERVISOR, day=row.valid_until)


def _ends(
    tx: Tx, since: datetime, near: MailSource, over: MailSource, day: SQLColumnExpression[date | None]
) -> Iterator[tuple[MailSource, tuple[ColumnElement[bool], ...]]]:
    """When a last day is near, and when it is past and was not long ago."""
    today, oldest = tx.now.astimezone(ZONE).date(), since.astimezone(ZONE).date()
    yield near, (day >= today, day <= today + dated.NEAR)
    yield over, (day < today, day >= oldest)


def _years(tx: Tx, since: datetime) -> Iterator[_Told]:
    """A billing year that was drawn up, to the authority, which hands it over; one that was handed over, to the departments that are
    in it."""
    one = BillingYear
    for source, moment, state in (
        (MailSource.YEAR_JUDGED, one.judged_at, YearState.JUDGED),
        (MailSource.YEAR_HANDED, one.handed_at, YearState.HANDED),
    ):
        query = select(one).where(moment >= since, one.state == state.value, ~_posted(source, one.id)).order_by(one.id)
        for row in tx.scalars(query).all():
            if source is MailSource.YEAR_JUDGED:
                yield _Told(source, row.id, Role.AUTHORITY, but=row.judged_by)
                continue
            within = select(YearUnit.department_id).where(
                YearUnit.year_id == row.id, YearUnit.department_id.is_not(None)
            )
            for department_id in tx.scalars(within.order_by(YearUnit.department_id)).all():
                yield _Told(source, row.id, Role.TENANT, department_id)


def _to_party(source: MailSource, number: int, about: OfSubject) -> _Told:
    """To whom a row is about: the company, the department, or the system's; else the steward."""
    if about.provider_id is not None:
        return _Told(source, number, Role.PROVIDER, provider_id=about.provider_id)
    department = about.system.department_id if about.system is not None else about.department_id
    return _Told(source, number, Role.SUPERVISOR if department is None else Role.TENANT, department)


def _tickets(tx: Tx, since: datetime) -> Iterator[_Told]:
    """Steps of tickets, to whoever's turn it is then, and a word to the other side, the supervisor's to both; limits that went by."""
    steps = select(TicketStep, Ticket).join(TicketStep.ticket).where(TicketStep.act != TicketAct.ANSWERED.value)
    begun = (TicketStep.act != TicketAct.FILED.value) | Ticket.ends_on.is_(None)  # else it begins with the question
    unsaid = steps.where(TicketStep.at >= since, begun, ~_posted(MailSource.TICKET, TicketStep.id))
    for step, ticket in tx.execute(unsaid.order_by(TicketStep.id)).all():
        to_department = step.act in (TicketAct.ASKED, TicketAct.SOLVED, TicketAct.CLOSED) or (
            step.act == TicketAct.SAID and step.role != Role.TENANT.value
        )
        yield _of_ticket(MailSource.TICKET, step.id, ticket, to_department=to_department)
        if step.act == TicketAct.SAID and step.role == Role.SUPERVISOR.value and ticket.provider_id is not None:
            yield _of_ticket(MailSource.TICKET, step.id, ticket, to_department=False)
    newest = (
        select(func.max(TicketStep.id))
        .where(TicketStep.ticket_id == Ticket.id, TicketStep.act != TicketAct.SAID.value)
        .correlate(Ticket)
        .scalar_subquery()
    )
    owed = select(Ticket, newest).where(tickets.late(tx.now), Ticket.due_at >= since)
    for ticket, step_id in tx.execute(owed.where(~_posted(MailSource.TICKET_LATE, newest)).order_by(Ticket.id)).all():
        yield _of_ticket(
            MailSource.TICKET_LATE, step_id, ticket, to_department=ticket.state in tickets.DEPARTMENTS_TURN
        )
        if ticket.provider_id is not None or ticket.state == TicketState.SOLVED:
            yield _Told(MailSource.TICKET_LATE, step_id, Role.SUPERVISOR)


def _of_ticket(source: MailSource, number: int, ticket: Ticket, *, to_department: bool) -> _Told:
    if to_department:
        return _Told(source, number, Role.TENANT, ticket.department_id)
    if ticket.provider_id is None:
        return _Told(source, number, Role.SUPERVISOR)
    return _Told(source, number, Role.PROVIDER, provider_id=ticket.provider_id)


def _readers(edition: ReportEdition) -> Iterator[_Told]:
    """Whose a report is reads it; the city's and a system's are the authority's and the supervisor's."""
    match ScopeKind(edition.scope):
        case ScopeKind.DEPARTMENT:
            yield _Told(MailSource.REPORT, edition.id, Role.TENANT, edition.scope_id)
        case ScopeKind.PROVIDER:
            yield _Told(MailSource.REPORT, edition.id, Role.PROVIDER, provider_id=edition.scope_id)
        case _:
            for role in (Role.AUTHORITY, Role.SUPERVISOR):
                yield _Told(MailSource.REPORT, edition.id, role)


def _posted(
    source: MailSource, number: SQLColumnExpression[int], day: SQLColumnExpression[Any] | None = None
) -> ColumnElement[bool]:
    """Whether it was given to the post; ``day``: for that day."""
    found = exists().where(MailItem.source == source.value, MailItem.source_id == number)
    return found if day is None else found.where(MailItem.day == day)


def _reached(tx: Tx, told: _Told) -> Sequence[Person]:
    """Whom it is for: who holds the role and has an address; of a department that has nobody, those of the next above."""
    query = select(Person).where(Person.active, Person.granted, Person.email != "", Person.role == told.role.value)
    if told.role is Role.PROVIDER and told.login is None:
        query = query.where(Person.provider_id == told.provider_id)
    if told.but is not None:
        query = query.where(Person.login != told.but)
    if told.login is not None:
        query = query.where(Person.login == told.login)
    if told.role is not Role.TENANT or told.login is not None:
        return tx.scalars(query.order_by(Person.id)).all()
    at = told.department_id
    while at is not None:
        found = tx.scalars(query.where(Person.department_id == at).order_by(Person.id)).all()
        if found:
            return found
        at = tx.get_one(Department, at).parent_id
    return []


def due(tx: Tx) -> list[int]:
    """Ids of the mails that are to be tried now, oldest first."""
    query = select(Mail.id).where(Mail.state == MailState.WAITING.value, Mail.next_try_at <= tx.now)
    return list(tx.scalars(query.order_by(Mail.id)))


def trying(tx: Tx, mail_id: int) -> bool:
    """Note a try before it is made; False where it is not due any more, or whoever it is for left meanwhile."""
    row = tx.scalar(select(Mail).where(Mail.id == mail_id).with_for_update())
    if row is None or row.state != MailState.WAITING or row.next_try_at > tx.now:
        return False
    if not row.person.active or not row.person.email:
        _ended(tx, row, MailState.FAILED, N_("此人已停用或没有邮箱"))
        return False
    row.address = row.person.email
    pause = min(FIRST_PAUSE * 2**row.attempts, LONGEST_PAUSE)
    row.attempts, row.next_try_at = row.attempts + 1, tx.now + pause
    return True


def sent(tx: Tx, mail_id: int) -> None:
    """The server has taken it."""
    _ended(tx, tx.get_one(Mail, mail_id), MailState.SENT, "")


def refused(tx: Tx, mail_id: int, error: str, *, final: bool = False) -> None:
    """The server did not take it; ``final``: and never will."""
    row = tx.get_one(Mail, mail_id)
    row.error = error[:2000]
    if final or tx.now - row.made_at >= PATIENCE:
        _ended(tx, row, MailState.FAILED, row.error)


def again(tx: Tx, mail_id: int) -> Mail:
    """Try a failed mail anew, with patience from now on. Raises NotFound, WrongState."""
    tx.actor.must_be(Role.SYSADMIN)
    row = tx.scalar(select(Mail).where(Mail.id == mail_id).with_for_update())
    if row is None:
        raise NotFound("mail.none", N_("没有编号为 %(id)s 的邮件"), id=mail_id)
    if row.state != MailState.FAILED:
        raise WrongState("mail.state", N_("只有发送失败的邮件可以重发"))
    row.state, row.ended_at, row.attempts = MailState.WAITING.value, None, 0
    row.made_at = row.next_try_at = tx.now
    tx.audit("mail.again", f"mail:{row.id}", after={"address": row.address})
    return row


def _ended(tx: Tx, row: Mail, state: MailState, error: str) -> None:
    row.state, row.ended_at, row.error = state.value, tx.now, error
