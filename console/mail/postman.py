"""Writes mails and takes them to the city's mail server, outside any transaction."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, time
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

from flask import Flask, render_template, url_for

from console.identity import BreakGlassUse
from console.mail import mails
from console.settings import Settings, named
from console.tables import Mail, MailSource
from console.words import _
from metering.cases import Notice
from metering.reports import ReportEdition
from metering.scale_outs import ScaleOut
from metering.settlement import BillingYear
from metering.statements import Dispute, disputes
from metering.supervision import SupervisionAlert
from metering.surplus import SurplusNotice
from metering.workbench import Workbench
from providers.assessment import Appeal, Combination, Rectification, RectificationState, RectificationStep, SurveyAnswer
from providers.billing import Maintenance
from providers.tickets import TicketAct, TicketStep
from quota.actors import steward
from quota.calendar import ZONE, working_days
from quota.db import Book, Tx
from quota.directory import DatedEntry, DatedTerm, Delegation, OutsideFacility
from quota.errors import N_
from quota.inventory import Inquiry
from quota.ledger import Allocation
from quota.requests import NOTICE_LABELS, NoticeKind, RequestNotice

TIMEOUT_S = 20
LOCALHOST = "http://localhost"
LETTERS = {
    MailSource.LETTER: N_("收到通知,请逐项答复"),
    MailSource.REMINDER: N_("尚未答复,请尽快答复"),
    MailSource.ESCALATION: N_("逾期未答复,提请关注"),
}
INQUIRIES = {
    MailSource.INQUIRY: N_("收到征询,请逐项答复"),
    MailSource.INQUIRY_REMINDER: N_("征询将到期,请尽快答复"),
    MailSource.INQUIRY_OVERDUE: N_("征询逾期未答复"),
}
ALLOCATIONS = {
    MailSource.ALLOCATION_NEAR: N_("有效期至 %(on)s,届时未用部分收回"),
    MailSource.ALLOCATION_OVERDUE: N_("已于 %(on)s 到期,在用部分请释放或申请延期"),
}

RECTIFICATIONS = {
    RectificationState.ORDERED: N_("已责令整改,请提交方案"),
    RectificationState.PROVEN: N_("整改证明待复核"),
    RectificationState.REFUSED: N_("整改被退回,请重新提交"),
    RectificationState.ACCEPTED: N_("整改复核通过"),
    RectificationState.WITHDRAWN: N_("整改已撤销"),
}
TICKETS = {
    TicketAct.FILED: N_("收到运维请求，请响应"),
    TicketAct.SAID: N_("运维请求有新留言"),
    TicketAct.ASKED: N_("请补充说明"),
    TicketAct.TOLD: N_("已补充说明，请继续处理"),
    TicketAct.HANDED: N_("运维请求转来，请处理"),
    TicketAct.LEVELLED: N_("运维请求已改级别"),
    TicketAct.SOLVED: N_("已报解决，请确认"),
    TicketAct.REOPENED: N_("未解决，请继续处理"),
    TicketAct.CONFIRMED: N_("已确认解决"),
    TicketAct.CLOSED: N_("逾期未确认，已由监督方办结"),
    TicketAct.WITHDRAWN: N_("运维请求已撤回"),
}
MAINTENANCES = {
    MailSource.MAINTENANCE: N_("将进行维护"),
    MailSource.MAINTENANCE_OFF: N_("维护已取消"),
}
RECTIFICATION_DAYS = {
    MailSource.RECTIFICATION_NEAR: N_("整改将到期,请尽快提交证明"),
    MailSource.RECTIFICATION_LATE: N_("整改已逾期"),
}
DATED = {
    MailSource.DATED_NEAR: N_("将于 %(on)s 到期，请续期或办结"),
    MailSource.DATED_OVER: N_("已于 %(on)s 到期，请续期或办结；人员须退出并确认"),
}
OUTSIDE = {
    MailSource.OUTSIDE_NEAR: (N_("认定将于 %(on)s 到期，请再次申请认定或迁移"), N_("须于 %(on)s 前迁移")),
    MailSource.OUTSIDE_OVER: (N_("认定已于 %(on)s 到期，请再次申请认定或迁移"), N_("应于 %(on)s 前迁移，已逾期")),
}
"""Of what was recognised, and of what must move."""
CERTIFICATES = {
    MailSource.CERTIFICATE_NEAR: N_("适配证书将于 %(on)s 到期，请更新"),
    MailSource.CERTIFICATE_OVER: N_("适配证书已于 %(on)s 到期"),
}
YEARS = {
    MailSource.YEAR_JUDGED: N_("年度结算已核定，待报送财政"),
    MailSource.YEAR_HANDED: N_("年度结算已报送财政"),
}
SURPLUSES = {
    MailSource.SURPLUS: N_("闲置超出允许的冗余，请自行核减"),
    MailSource.SURPLUS_LATE: N_("逾期未核减冗余，待督促"),
    MailSource.SURPLUS_URGED: N_("主管部门督促核减冗余"),
    MailSource.SURPLUS_RIPE: N_("督促后逾期未核减，待裁定"),
    MailSource.SURPLUS_RULED: N_("冗余已裁定"),
}
DISPUTES = {
    MailSource.DISPUTE: N_("账单有争议，请答复"),
    MailSource.DISPUTE_ANSWERED: N_("争议已答复，待了结"),
}
SCALE_OUTS = {
    MailSource.SCALE_OUT: N_("同构组繁忙，请答复是否增加云主机"),
    MailSource.SCALE_OUT_ENTER: N_("增加的云主机已开通，请加入负载均衡"),
    MailSource.SCALE_OUT_LEAVE: N_("请将增加的云主机移出负载均衡后退还"),
}
SURVEYS = {
    MailSource.SURVEY: N_("满意度调查，请答复"),
    MailSource.SURVEY_NEAR: N_("满意度调查将截止，尚未答复"),
}
SUPERVISED = {
    MailSource.SUPERVISED: N_("监管预警，请查看"),
    MailSource.SUPERVISED_LATE: N_("监管预警逾期未答复"),
}
DEPUTIES = {
    MailSource.DEPUTY: N_("已登记委托代办，%(start)s 至 %(end)s 由受托人办理"),
    MailSource.DEPUTY_OFF: N_("委托代办（%(start)s 至 %(end)s）已撤销"),
}
APPEALS = {MailSource.APPEAL: N_("收到申诉，待裁定"), MailSource.APPEAL_RULED: N_("申诉已裁定")}


@dataclass(frozen=True, slots=True)
class MailLine:
    """One thing that a mail is about: its number, what happened, by when something is to be done, and where."""

    number: str
    what: str
    due: datetime | None
    href: str


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round: mails made, sent, and refused or left for later."""

    made: int
    sent: int
    waiting: int


def carry_out(workbench: Workbench, settings: Settings, opened: Callable[[Settings, Book], Flask]) -> Round:
    """Make mails of what is new and send what is due. ``opened`` gives the application whose words and addresses they are
    written with, asked only where there is something to write. Raises OSError or SMTPException where the server can't be reached:
    what was not sent waits."""
    who = steward("job:mail")
    with workbench.book.transaction(who) as tx:
        made = len(mails.gather(tx))
        waiting = mails.due(tx)
    if not waiting:
        return Round(made, 0, 0)
    app, done = opened(settings, workbench.book), 0
    with connected(settings) as server:
        for mail_id in waiting:
            with workbench.book.transaction(who) as tx:
                tried = mails.trying(tx, mail_id)
            if not tried:
                continue
            with workbench.book.reading(who) as tx:
                letter = written(app, settings, tx, tx.get_one(Mail, mail_id))
            done += _send(workbench, server, mail_id, letter)
    return Round(made, done, len(waiting) - done)


def _send(workbench: Workbench, server: smtplib.SMTP, mail_id: int, letter: EmailMessage) -> bool:
    """Give one mail to the server. Raises what says that the server is gone; a refusal of this mail is noted."""
    who = steward("job:mail")
    try:
        server.send_message(letter)
    except smtplib.SMTPRecipientsRefused as refusal:
        code, text = next(iter(refusal.recipients.values()))
        with workbench.book.transaction(who) as tx:
            mails.refused(tx, mail_id, f"{code} {text.decode(errors='replace')}", final=code >= 500)
        return False
    except smtplib.SMTPResponseException as refusal:
        said: bytes | str = refusal.smtp_error  # the library says either
        answer = said.decode(errors="replace") if isinstance(said, bytes) else said
        with workbench.book.transaction(who) as tx:
            mails.refused(tx, mail_id, f"{refusal.smtp_code} {answer}", final=refusal.smtp_code >= 500)
        return False
    except (OSError, smtplib.SMTPException) as fault:
        with workbench.book.transaction(who) as tx:
            mails.refused(tx, mail_id, f"{type(fault).__name__}: {fault}")
        raise
    with workbench.book.transaction(who) as tx:
        mails.sent(tx, mail_id)
    return True


@contextmanager
def connected(settings: Settings) -> Iterator[smtplib.SMTP]:
    """The mail server, logged in where a user is set. Raises OSError (ssl.SSLError among them) or SMTPException."""
    host, port = settings.mail_place
    context = ssl.create_default_context(cafile=str(settings.mail_ca) if settings.mail_ca.name else None)
    server = (
        smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=context)
        if settings.mail_security == "tls"
        else smtplib.SMTP(host, port, timeout=TIMEOUT_S)
    )
    try:
        if settings.mail_security == "starttls":
            server.starttls(context=context)
        if settings.mail_user:
            server.login(settings.mail_user, settings.mail_password)
        yield server
        with suppress(OSError, smtplib.SMTPException):  # what was sent is sent, however the server says goodbye
            server.quit()
    finally:
        server.close()  # without a goodbye where something broke: that would only hide what it was


def written(app: Flask, settings: Settings, tx: Tx, mail: Mail) -> EmailMessage:
    """The mail in words: what waits, by when, where to read it; nothing of what it says."""
    with app.test_request_context("/", base_url=settings.public_url or LOCALHOST):
        lines = [_line(tx, MailSource(one.source), one.source_id) for one in mail.items]
        name = mail.person.name
        subject = f"{lines[0].number} {lines[0].what}" if len(lines) == 1 else _("%(n)s 项通知", n=len(lines))
        text = render_template(
            "mail/notices.txt",
            name=name,
            lines=lines,
            linked=bool(settings.public_url),
            settings=named(settings, tx),
        )
    return _letter(settings, mail.person.name, mail.address, subject, text, f"mail-{mail.id}", mail.made_at)


def trial(settings: Settings, name: str, address: str, at: datetime) -> None:
    """Send a mail that says only that it came. Raises OSError or SMTPException; within a request."""
    text = render_template("mail/trial.txt", name=name, settings=settings)
    letter = _letter(settings, name, address, _("邮件设置测试"), text, f"trial-{at:%Y%m%d%H%M%S%f}", at)
    with connected(settings) as server:
        server.send_message(letter)


def _letter(
    settings: Settings, name: str, address: str, subject: str, text: str, number: str, at: datetime
) -> EmailMessage:
    sender = parseaddr(settings.mail_from)[1]
    letter = EmailMessage()
    letter["From"] = settings.mail_from
    letter["To"] = Address(" ".join(name.split()), addr_spec=address)
    letter["Subject"] = f"[{_('管家')}] {subject}"
    letter["Date"] = format_datetime(at)
    letter["Message-ID"] = f"<{number}@{sender.rpartition('@')[2]}>"
    letter["Auto-Submitted"] = "auto-generated"  # so that nobody's absence note answers
    letter.set_content(text)
    return letter


def _line(tx: Tx, source: MailSource, number: int) -> MailLine:
    if source is MailSource.REQUEST:
        one = tx.get_one(RequestNotice, number)
        href = url_for("requests.show", request_id=one.request_id, _external=True)
        return MailLine(one.request.number, _(NOTICE_LABELS[NoticeKind(one.kind)]), one.due_at, href)
    if source in INQUIRIES:
        inquiry = tx.get_one(Inquiry, number)
        where = url_for("inquiries.show", inquiry_id=inquiry.id, _external=True)
        return MailLine(inquiry.number, _(INQUIRIES[source]), inquiry.due_at, where)
    if source in ALLOCATIONS:
        given = tx.get_one(Allocation, number)
        place = url_for("allocations.show", allocation_id=given.id, _external=True)
        return MailLine(_("额度 %(id)s", id=given.id), _(ALLOCATIONS[source], on=given.ends_on), None, place)
    if source is MailSource.BREAK_GLASS:
        use = tx.get_one(BreakGlassUse, number)
        return MailLine(use.person.login, _("应急账号已被使用"), None, url_for("break_glass.index", _external=True))
    if source is MailSource.REPORT:
        edition = tx.get_one(ReportEdition, number)
        where = url_for("editions.show", edition_id=edition.id, _external=True)
        told = f"{edition.name} {edition.period.code}".strip()
        return MailLine(told, _("运营报告第 %(number)s 版已出", number=edition.number), None, where)
    if source is MailSource.RECTIFICATION:
        step = tx.get_one(RectificationStep, number)
        return _rectification(
            tx.get_one(Rectification, step.rectification_id), _(RECTIFICATIONS[RectificationState(step.step)])
        )
    if source in RECTIFICATION_DAYS:
        return _rectification(tx.get_one(Rectification, number), _(RECTIFICATION_DAYS[source]))
    if source in (MailSource.TICKET, MailSource.TICKET_LATE):
        act = tx.get_one(TicketStep, number)
        said = _("运维请求已逾期") if source is MailSource.TICKET_LATE else _(TICKETS[TicketAct(act.act)])
        where = url_for("tickets.show", ticket_id=act.ticket_id, _external=True)
        return MailLine(act.ticket.number, said, act.ticket.due_at, where)
    if source in MAINTENANCES:
        window = tx.get_one(Maintenance, number)
        where = url_for("maintenances.show", maintenance_id=window.id, _external=True)
        return MailLine(window.pool.name, _(MAINTENANCES[source]), window.starts_at, where)
    if source in DATED:
        term = tx.get_one(DatedTerm, number)
        ends = tx.get_one(DatedEntry, term.entry_id)
        where = url_for("dated.show", entry_id=ends.id, _external=True)
        return MailLine(ends.name, _(DATED[source], on=term.ends_on), None, where)
    if source in OUTSIDE or source in CERTIFICATES:
        return _ended(tx, source, number)
    if source in YEARS:
        year = tx.get_one(BillingYear, number)
        where = url_for("billing_years.show", year_id=year.id, _external=True)
        due_on = datetime.combine(year.due_on, time.max, ZONE) if source is MailSource.YEAR_JUDGED else None
        return MailLine(year.name, _(YEARS[source]), due_on, where)
    if source in SCALE_OUTS:
        more = tx.get_one(ScaleOut, number)
        where = url_for("tiers.show", tier_id=more.tier_id, _external=True)
        return MailLine(more.called, _(SCALE_OUTS[source]), more.due_at, where)
    if source in DEPUTIES:
        return _delegation(tx.get_one(Delegation, number), source)
    if source in SUPERVISED or source in SURVEYS:
        return _awaited(tx, source, number)
    if source in SURPLUSES or source in DISPUTES or source in APPEALS:
        return _contested(tx, source, number)
    letter = tx.get_one(Notice, number)
    due = None if source is MailSource.ESCALATION else working_days(tx).due(letter.issued_at, letter.reply_days)
    return MailLine(
        letter.number, _(LETTERS[source]), due, url_for("notices.show", notice_id=letter.id, _external=True)
    )


def _awaited(tx: Tx, source: MailSource, number: int) -> MailLine:
    """An answer that is waited for: to a survey, to an alert of supervision."""
    if source in SURVEYS:
        survey = tx.get_one(SurveyAnswer, number).survey
        where = url_for("surveys.show", survey_id=survey.id, _external=True)
        return MailLine(
            survey.name, _(SURVEYS[source]), datetime.combine(survey.ends_on, time(23, 59, 59), ZONE), where
        )
    warned = tx.get_one(SupervisionAlert, number)
    where = url_for("supervision_alerts.show", alert_id=warned.id, _external=True)
    return MailLine(warned.number, _(SUPERVISED[source]), warned.due_at, where)


def _ended(tx: Tx, source: MailSource, number: int) -> MailLine:
    """What is outside the cloud, or a combination's certificate, and its last day."""
    if source in CERTIFICATES:
        row = tx.get_one(Combination, number)
        told = " ".join(one for one in (row.chip, row.system, row.database, row.middleware) if one)
        where = url_for("compatibility.show", combination_id=row.id, _external=True)
        return MailLine(told, _(CERTIFICATES[source], on=row.valid_until), None, where)
    one = tx.get_one(OutsideFacility, number)
    recognised, move = OUTSIDE[source]
    said = _(move, on=one.move_by) if one.move_by is not None else _(recognised, on=one.recognised_until)
    return MailLine(one.name, said, None, url_for("outside.show", facility_id=one.id, _external=True))


def _contested(tx: Tx, source: MailSource, number: int) -> MailLine:
    """What somebody is reminded of or disputes, and what became of it."""
    if source in SURPLUSES:
        surplus = tx.get_one(SurplusNotice, number)
        where = url_for("surpluses.show", notice_id=surplus.id, _external=True)
        due = surplus.due_at if surplus.open else None
        return MailLine(_("冗余提醒 %(id)s", id=surplus.id), _(SURPLUSES[source]), due, where)
    if source in DISPUTES:
        dispute = tx.get_one(Dispute, number)
        where = url_for("disputes.show", dispute_id=dispute.id, _external=True)
        due = disputes.answer_due(tx, dispute) if source is MailSource.DISPUTE else None
        return MailLine(_("争议 %(id)s", id=dispute.id), _(DISPUTES[source]), due, where)
    appeal = tx.get_one(Appeal, number)
    where = url_for("scorecards.show", scorecard_id=appeal.result_id or appeal.scorecard_id, _external=True)
    due = appeal.due_at if source is MailSource.APPEAL else None
    return MailLine(f"{appeal.whose_code} {appeal.period}", _(APPEALS[source]), due, where)


def _delegation(one: Delegation, source: MailSource) -> MailLine:
    said = _(DEPUTIES[source], start=one.from_on, end=one.until_on)
    href = url_for("delegations.show", delegation_id=one.id, _external=True)
    return MailLine(f"{one.person.name} → {one.deputy.name}", said, None, href)


def _rectification(rectification: Rectification, what: str) -> MailLine:
    href = url_for("rectifications.show", rectification_id=rectification.id, _external=True)
    return MailLine(rectification.number, what, rectification.due_at if rectification.open else None, href)
