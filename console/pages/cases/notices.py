"""Notices: one letter to one department about many machines; issued in a batch, answered in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response
from wtforms import FieldList, FormField, IntegerField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, settings, transaction
from console.errors import Unfilled
from console.forms import DateField, InnerForm, done, refused_here
from console.lists import Column, Filter, as_csv, as_xlsx, listing
from console.pages.attachments import Uploaded, uploaded
from console.pages.cases import evidence
from console.pages.cases.cases import KINDS
from console.programs import Given, asked, listed, takes
from console.security import row, row_or
from console.words import _, amounts, lazy, sentence, when, who
from metering import cases
from metering.cases import (
    ANSWER_LABELS,
    CATEGORY_LABELS,
    Answer,
    Case,
    CaseState,
    Category,
    Notice,
    hearings,
    may_answer,
    notices,
)
from metering.judging import CaseKind
from quota.actors import Actor, Role
from quota.calendar import working_days
from quota.db import Tx
from quota.directory import DUTY_LABELS, Department, Headship, headships, subtree
from quota.errors import N_, Invalid, WrongState
from quota.file_kinds import ACCEPTED

blueprint = Blueprint("notices", __name__, url_prefix="/notices")
frame.page("cases", "notices.index", N_("通知"), order=40)

waiting = (
    select(func.count())
    .select_from(Case)
    .where(Case.notice_id == Notice.id, Case.state == CaseState.NOTICED.value)
    .correlate(Notice)
    .scalar_subquery()
)
told = select(func.count()).select_from(Case).where(Case.notice_id == Notice.id).correlate(Notice).scalar_subquery()
soonest = (
    select(func.min(Case.due_at))
    .where(Case.notice_id == Notice.id, Case.state == CaseState.NOTICED.value)
    .correlate(Notice)
    .scalar_subquery()
)


def standing(open_: int, escalated_at: object) -> str:
    """The state of a letter as one word."""
    if open_:
        return "case_escalated" if escalated_at else "case_waiting"
    return "case_answered"


COLUMNS = [
    Column("number", N_("文号"), lambda n: n.Notice.number, sort=Notice.id, title=True,
           href=lambda n: url_for("notices.show", notice_id=n.Notice.id)),
    Column("department", N_("使用单位"), lambda n: n.Notice.department.name, href=links.department(lambda n: n.Notice.department_id)),
    Column("state", N_("状态"), lambda n: standing(n.waiting, n.Notice.escalated_at), state=True),
    Column("cases", N_("涉及资源"), lambda n: n.told, sort=told, unit=N_("个"), number=True),
    Column("waiting", N_("未答复"), lambda n: n.waiting, sort=waiting, unit=N_("个"), number=True),
    Column("due", N_("答复期限"), lambda n: n.soonest, sort=soonest),
    Column("issued_at", N_("签发时间"), lambda n: n.Notice.issued_at, sort=Notice.issued_at),
    Column("reminded_at", N_("提醒"), lambda n: n.Notice.reminded_at, minor=True),
    Column("escalated_at", N_("升级"), lambda n: n.Notice.escalated_at, minor=True),
    Column("issued_by", N_("签发人"), lambda n: n.Notice.issued_by, text=who, minor=True),
]  # fmt: skip
FILTERS = [
    Filter(
        "open",
        N_("答复"),
        lambda q, v: q.where(waiting > 0 if v == "yes" else waiting == 0),
        options={"yes": N_("有未答复的"), "no": N_("已全部答复")},
    ),
    Filter(
        "department",
        N_("使用单位"),
        lambda q, v: q.where(Notice.department.has(frame.matching(v, Department.name))),
    ),
]
LOADED = (
    joinedload(Case.resource),
    joinedload(Case.department),
    joinedload(Case.system),
    joinedload(Case.pool),
    joinedload(Case.finding),
    joinedload(Case.term),
    joinedload(Case.policy_version),
    selectinload(Case.replies),
)


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx, who = reading(), actor()
    query = select(Notice, waiting.label("waiting"), told.label("told"), soonest.label("soonest")).options(
        joinedload(Notice.department)
    )
    if who.role is Role.TENANT:
        query = query.where(Notice.department_id.in_(subtree(tx, who.department_id or 0)))
    found = listing(tx, query, COLUMNS, key=Notice.id, filters=FILTERS, sort="-number")
    ready = tx.scalar(select(func.count()).select_from(Case).where(Case.state == CaseState.REVIEWED.value))
    return found.exported("notices") or render_template("notices/index.html", notices=found, ready=ready)


# ------------------------------------------------------------------------------------------------------------- issuing


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(
    None,
    Given("case", label=N_("案件:版本,如 12:3"), required=True, many=True),
    Given("text", label=N_("说明")),
    sends={"confirmed": "1"},
)
def issue() -> str | Response | tuple[str, int]:
    """Choose reviewed cases; look at the letters that come of them; issue them."""
    tx = reading()
    query = select(Case).where(Case.state == CaseState.REVIEWED.value).options(*LOADED)
    ready = list(tx.scalars(query.order_by(Case.department_id, Case.worth.desc(), Case.id)))
    later = hearings.turns(tx)
    shown = dict(pairs(request.form.getlist("case")))
    text = request.form.get("text", "")[:4000]

    def page(wanted: set[int], wrong: str = "") -> str:
        return render_template(
            "notices/issue.html", by_department=_by_department(ready), wanted=wanted, kinds=KINDS, text=text,
            wrong=wrong, later=later, room=hearings.letter_room(tx),
        )  # fmt: skip

    if request.method == "GET":
        asked = set(request.args.getlist("case", row))
        return page(asked or {one.id for one in ready if one.id not in later})
    if not shown:
        return page(set(), refused_here(Invalid("notice.none", N_("请至少选择一个案件"), field="case"))), 422
    chosen = [one for one in ready if one.id in shown]
    if request.form.get("confirmed") != "1":
        return render_template(
            "notices/check.html",
            by_department=_by_department(chosen),
            shown=shown,
            text=text,
            kinds=KINDS,
            due=_due(tx, chosen),
        )
    try:
        with transaction() as writing:
            found = [cases.case(writing, case_id) for case_id in sorted(shown)]
            letters = cases.issue(writing, found, generations=shown, text=text)
            sent = [(one.id, one.number) for one in letters]
    except WrongState as refused:
        return page(set(shown), refused_here(refused)), 422
    flash(_("已签发 %(count)s 封通知:%(numbers)s", count=len(sent), numbers="、".join(n for _id, n in sent)), "success")
    if len(sent) == 1:
        return redirect(url_for("notices.show", notice_id=sent[0][0]))
    return redirect(url_for("notices.index"))


def pairs(values: list[str]) -> list[tuple[int, int]]:
    """ "12:3" (case and generation) each."""
    found = []
    for value in values:
        case_id, _colon, generation = value.partition(":")
        pair = row_or(case_id, -1), row_or(generation, -1)
        if min(pair) >= 0:
            found.append(pair)
    return found


def _by_department(rows: list[Case]) -> list[tuple[Department, list[Case]]]:
    found: dict[int, tuple[Department, list[Case]]] = {}
    for one in rows:
        found.setdefault(one.department_id, (one.department, []))[1].append(one)
    return list(found.values())


def _due(tx: Tx, chosen: list[Case]) -> object:
    return working_days(tx).due(tx.now, max(one.procedure().reply_days for one in chosen)) if chosen else None


# -------------------------------------------------------------------------------------------------------- one letter


def _cases_of(tx: Tx, letter: Notice) -> list[Case]:
    query = select(Case).where(Case.notice_id == letter.id, cases.visible(tx, tx.actor)).options(*LOADED)
    return list(tx.scalars(query.order_by(Case.worth.desc(), Case.id)))


ASKED = [
    Column("number", N_("案件"), lambda c: c.number),
    Column("kind", N_("类别"), lambda c: _(KINDS[c.kind]), code=lambda c: c.kind),
    Column(
        "resource",
        N_("资源"),
        lambda c: c.resource.name or c.resource.external_id,
        href=links.resource(lambda c: c.resource_id),
    ),
    Column("external_id", N_("云侧编号"), lambda c: c.resource.external_id),
    Column("address", N_("地址"), lambda c: c.resource.address),
    Column(
        "system",
        N_("信息系统"),
        lambda c: c.system.name if c.system else None,
        href=links.system(lambda c: c.system_id),
    ),
    Column("pool", N_("资源池"), lambda c: c.pool.name, href=links.pool(lambda c: c.pool_id)),
    Column("shape", N_("现规格"), lambda c: amounts(c.had())),
    Column("target", N_("目标规格"), lambda c: amounts(c.will_have()) if c.target else _("回收")),
    Column("recovers", N_("可回收(扩容为所需)"), lambda c: amounts(c.recovers())),
    Column("reasons", N_("依据"), lambda c: _("；").join(evidence.reasons(c))),
    Column(
        "coverage",
        N_("采集覆盖率"),
        lambda c: None if c.finding.coverage is None else round(100 * c.finding.coverage, 1),
        unit="%",
    ),
    Column("due", N_("答复期限"), lambda c: c.due_at if c.state == CaseState.NOTICED else None),
    Column("answer", N_("答复"), lambda c: _(ANSWER_LABELS[c.replies[-1].said()]) if c.replies else None),
    Column("reason", N_("理由"), lambda c: c.replies[-1].reason if c.replies else None),
]


@blueprint.get("/<int:notice_id>")
@allow(*STEWARDS, Role.TENANT)
def show(notice_id: int) -> str | Response:
    tx = reading()
    letter = notices.notice(tx, notice_id)
    rows = _cases_of(tx, letter)
    name = f"notice-{letter.issued_at.year}-{letter.id}"
    if request.args.get("export") == "xlsx":
        return as_xlsx(f"{name}.xlsx", ASKED, rows)
    if request.args.get("export") == "csv":
        return as_csv(f"{name}.csv", ASKED, rows)
    unanswered = [one for one in rows if one.state == CaseState.NOTICED]
    calendar = working_days(tx)
    return render_template(
        "notices/show.html",
        letter=letter,
        rows=rows,
        kinds=KINDS,
        answers=ANSWER_LABELS,
        state=standing(len(unanswered), letter.escalated_at),
        unanswered=len(unanswered),
        open=[one for one in rows if may_answer(one)],
        due=min((one.due_at for one in unanswered if one.due_at), default=None),
        remind_at=calendar.due(letter.issued_at, letter.reminder_days),
        reasons=evidence.reasons,
        restarts=evidence.restarts(tx, rows),
        duties=DUTY_LABELS,
        heads=_heads(tx, letter),
    )


def _heads(tx: Tx, letter: Notice) -> list[Headship]:
    """Who answered for the department on the day of the letter."""
    day = letter.issued_at.astimezone(settings().zone).date()
    return list(headships.standing(tx, [letter.department_id], day)[letter.department_id].values())


# ---------------------------------------------------------------------------------------------------------- answering


@dataclass
class MachineAnswer:
    """One machine of the letter as it is being answered."""

    case: Case
    typed: dict[str, str] = field(default_factory=dict)
    error: str = ""
    files: Uploaded = field(default_factory=Uploaded)

    def has(self, name: str) -> str:
        return self.typed.get(name, "")


LONGEST = 4000
"""Characters of what is said in one field."""
NAMES = ("answer", "reason", "evidence", "category", "until", "last_peak", "generation")


class CaseAnswerForm(InnerForm):
    """What a program says of one machine."""

    case = IntegerField(lazy(N_("案件")), [InputRequired()])
    generation = IntegerField(lazy(N_("案件的版本")), [InputRequired()])
    answer = SelectField(
        lazy(N_("答复")), [InputRequired()],
        choices=[SelectChoice(one.value, lazy(label)) for one, label in ANSWER_LABELS.items()],
    )  # fmt: skip
    reason = StringField(lazy(N_("理由")), [Length(max=LONGEST)])
    evidence = StringField(lazy(N_("佐证")), [Length(max=LONGEST)])
    category = SelectField(
        lazy(N_("豁免类别")), choices=[SelectChoice(one.value, lazy(label)) for one, label in CATEGORY_LABELS.items()]
    )
    until = DateField(lazy(N_("到哪一天")), [Optional()])
    last_peak = StringField(lazy(N_("最近一次高峰")), [Length(max=LONGEST)])


class AnswersForm(FlaskForm):  # type: ignore[misc]
    """What programs say: the machines that are answered, by their cases."""

    cases = FieldList(FormField(CaseAnswerForm), max_entries=1000)


@blueprint.route("/<int:notice_id>/answer", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(AnswersForm)
def answer(notice_id: int) -> str | Response | tuple[str, int]:
    """Answer every machine of a letter in one go; what is left blank is left open. Checked before it is sent."""
    tx = reading()
    if asked.by_program():
        return _answered(tx, notices.notice(tx, notice_id))
    letter = notices.notice(tx, notice_id)
    rows = [MachineAnswer(one) for one in _cases_of(tx, letter) if may_answer(one)]
    if not rows:
        flash(_("这封通知已没有可答复的事项"), "warning")
        return redirect(url_for("notices.show", notice_id=notice_id))
    code, checking = 200, False
    if request.method == "POST":
        every = request.form.get("every", "")
        for row in rows:
            row.typed = {name: request.form.get(f"{name}-{row.case.id}", "").strip()[:LONGEST] for name in NAMES}
            row.files = uploaded(f"files-{row.case.id}", f"kept-{row.case.id}")
            if every == Answer.AGREE.value and not row.has("answer"):
                row.typed["answer"] = every
        given = [row for row in rows if row.has("answer")]
        general = "" if given else _("请至少答复一项")
        if given and request.form.get("change") != "1":
            confirmed = request.form.get("confirmed") == "1"
            failed = _answer_all(given, keep=confirmed)
            if not failed and confirmed:
                flash(_("已答复 %(count)s 项", count=len(given)), "success")
                return redirect(url_for("notices.show", notice_id=notice_id))
            checking = not failed
            code = 422 if failed else 200
        elif not given:
            code = 422
        return (
            render_template(
                "notices/answer.html" if not checking else "notices/answer_check.html",
                letter=letter, rows=rows, given=given, general=general, **_words(rows),
            ),
            code,
        )  # fmt: skip
    for row in rows:
        row.typed = {"generation": str(row.case.generation)}
    return render_template("notices/answer.html", letter=letter, rows=rows, given=[], general="", **_words(rows))


def _answered(tx: Tx, letter: Notice) -> Response:
    """What a program answers, all of it or nothing. Raises Unfilled naming the entry that is refused."""
    open_ones = {one.id: one for one in _cases_of(tx, letter) if may_answer(one)}
    rows: list[MachineAnswer] = []
    wrong: list[tuple[str, str]] = []
    for at, entry in enumerate(AnswersForm().cases):
        said = {name: request.form.get(f"{entry.name}-{name}", "").strip() for name in NAMES}
        one = open_ones.pop(row_or(request.form.get(f"{entry.name}-case", ""), 0), None)
        if one is None:
            wrong.append((f"cases.{at}.case", _("这封通知中没有可答复的这一项")))
        else:
            rows.append(MachineAnswer(one, said))
    if not rows and not wrong:
        wrong = [("cases", _("请至少答复一项"))]
    if not wrong and _answer_all(rows, keep=True):
        wrong = [(f"cases.{at}", row.error) for at, row in enumerate(rows) if row.error]
    if wrong:
        raise Unfilled(wrong)
    return done(_("已答复 %(count)s 项", count=len(rows)), "notices.show", notice_id=letter.id)


def _words(rows: Sequence[MachineAnswer]) -> dict[str, Any]:
    return {
        "restarts": evidence.restarts(reading(), [row.case for row in rows]),
        "kinds": KINDS,
        "answers": ANSWER_LABELS,
        "categories": CATEGORY_LABELS,
        "accepted": ACCEPTED,
        "reasons": evidence.reasons,
        "expand": CaseKind.EXPAND.value,
    }


class _Unkept(Exception):
    """Tried out, not kept."""


def _answer_all(given: list[MachineAnswer], *, keep: bool) -> int:
    """Answer ``given`` in one transaction, all or none; ``keep`` False only tries. Returns how many were refused, each
    with its sentence beside it. A stale page is refused as a whole."""
    failed = 0
    try:
        with transaction() as tx:
            for row in given:
                if row.files.problems:
                    row.error = _("；").join(row.files.problems)
                    failed += 1
                    continue
                try:
                    _answer(tx, row)
                except Invalid as refused:
                    row.error = sentence(refused.message, refused.params)
                    failed += 1
            if failed or not keep:
                raise _Unkept
    except _Unkept:
        pass
    return failed


def _answer(tx: Tx, row: MachineAnswer) -> None:
    one = cases.case(tx, row.case.id)
    try:
        said = Answer(row.has("answer"))
        category = Category(row.has("category")) if row.has("category") else None
        until = date.fromisoformat(row.has("until")) if row.has("until") else None
    except ValueError:
        raise Invalid("reply.typed", N_("请检查所填的类别和日期")) from None
    takes_terms = said is Answer.EXEMPT or (said is Answer.AGREE and not one.takes)
    generation = row.has("generation")
    cases.reply(
        tx,
        one,
        said,
        generation=row_or(generation, -1),
        reason=row.has("reason"),
        evidence=row.has("evidence"),
        category=category if said is Answer.EXEMPT else None,
        until=until if takes_terms else None,
        last_peak=row.has("last_peak"),
        files=row.files.hand_in(tx),
    )


# --------------------------------------------------------------------------------------------------------------- home


@frame.home_block(Role.TENANT, order=5)
def to_answer(tx: Tx, who: Actor) -> str | None:
    """Letters with machines that wait for the department's answer, with the days left."""
    query = (
        select(Notice, waiting.label("waiting"), soonest.label("soonest"))
        .where(Notice.department_id.in_(subtree(tx, who.department_id or 0)), waiting > 0)
        .order_by(soonest, Notice.id)
        .limit(8)
    )
    rows = list(tx.execute(query))
    return render_template("notices/_home.html", rows=rows, when=when) if rows else None
