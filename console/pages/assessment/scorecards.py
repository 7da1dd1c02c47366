"""Scorecards: each company's marks by month, quarter and year, with the rows behind every mark; their publication,
appeals and rulings; and the sum done again by whoever asks."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import ColumnElement, and_, select, true
from sqlalchemy.orm import joinedload
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response
from wtforms import RadioField, SelectField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional, Regexp

from console import frame, links, scoring
from console.access import STEWARDS, allow, proven
from console.book import actor, book, lake, reading, settings, transaction
from console.charts import timeline
from console.forms import answer, done
from console.lists import Column, Filter, Rows, listing
from console.pages.orders import company_filter
from console.programs import GENERATION, listed, takes, unfit
from console.security import row
from console.words import _, disclosure, lazy, sentence
from console.words import evidence as evidence_words
from console.words import formulas as formula_words
from metering import cases, statements
from metering.statements import disputes
from metering.workbench import Workbench
from providers.assessment import (
    NO_EVIDENCE,
    NOT_MEASURED,
    TOO_LITTLE,
    Direction,
    FigureUnit,
    Formula,
    Grade,
    Rectification,
    ScorecardEvidence,
    ScorecardMark,
    ScorecardRecord,
    SubjectType,
    annual,
    appeals,
    arithmetic,
    company,
    consequences,
    formula,
    formulas,
    periods,
    records,
    rectifications,
    registry,
    whose,
)
from providers.assessment import cards as marks
from quota import requests
from quota.actors import Actor, Role
from quota.db import Tx, among
from quota.directory import CloudProvider, Duty, headships, provider
from quota.errors import N_, NotAllowed, NotFound, Refused

blueprint = Blueprint("scorecards", __name__, url_prefix="/scorecards")
frame.page("providers", "scorecards.index", N_("考核评分"), order=40)

READERS = (*STEWARDS, Role.PROVIDER, Role.TENANT)
LENGTHS = {"month": N_("月度监测"), "quarter": N_("季度评分")}
DIRECTIONS = {Direction.HIGHER: N_("越高越好"), Direction.LOWER: N_("越低越好")}
ACTIONS = {
    "scorecard.compute": N_("评分"), "scorecard.publish": N_("公示"), "appeal.file": N_("申诉"),
    "appeal.rule": N_("裁定申诉"), "scorecard.verify": N_("验算"),
}  # fmt: skip
FIELDS = {"total": N_("总分"), "revision": N_("版本"), "state": N_("状态"), "evidence": N_("依据行数")}


def code(card: ScorecardRecord) -> str:
    """The state's code among all states."""
    return "score_published" if card.published else "score_draft"


def home(card: ScorecardRecord | None) -> tuple[str, str]:
    """The list that a card stands in: its name and address."""
    if card is None or card.provider_id is not None:
        return _("考核评分"), url_for("scorecards.index")
    return _("考核排名"), url_for("rankings.index", kind=card.subject.type.value)


UNRATED = N_("证据不足，不评总分")


def grade_of(card: ScorecardRecord) -> str | None:
    """A card's grade, as its formula calls it, or that too little is known for one."""
    if card.grade:
        return _(marks.formula_of(card).grade_label(card.grade))
    return None if card.rated else _(UNRATED)


UNSPREAD = {
    NO_EVIDENCE: N_("本期没有证据,不计分"),
    TOO_LITTLE: N_("本期证据不足以计分"),
    NOT_MEASURED: N_("尚无此项指标的数据来源,不计分"),
}
"""What is said of an indicator without a mark where there is no total that its weight could be spread over."""


def reason(card: ScorecardRecord, mark: ScorecardMark) -> str:
    """Why a mark is what it is, in words."""
    return sentence(mark.reason if card.rated else UNSPREAD.get(mark.reason, mark.reason), mark.params)


def points(card: ScorecardRecord, mark: ScorecardMark) -> Decimal | None:
    """What an indicator got: of its share of 100 where the card has a total, else of its own weight."""
    if not mark.scored or card.rated:
        return mark.mark
    return mark.weight - (mark.deduction or 0)


def _paid(card: ScorecardRecord) -> Decimal | None:
    return marks.formula_of(card).paid(card.grade)


def _length(query: Rows, value: str) -> Rows:
    quarter = ScorecardRecord.month.like("%-Q_")
    return query.where(quarter if value == "quarter" else ~quarter)


def _latest(query: Rows, _value: str) -> Rows:
    return query.where(marks.newest(SubjectType.COMPANY))


def scored_share(card: ScorecardRecord) -> Decimal | None:
    """Per cent of the formula's weight that had evidence."""
    weight = marks.formula_of(card).weight
    return 100 * card.scored_weight / weight if weight else None


COLUMNS = [
    Column("period", N_("期间"), lambda s: s.month, sort=ScorecardRecord.month,
           href=lambda s: url_for("scorecards.show", scorecard_id=s.id), title=True),
    Column("provider", N_("云服务商"), lambda s: s.whose, href=links.provider(lambda s: s.provider_id), sort=ScorecardRecord.provider_id),
    Column("state", N_("状态"), code, state=True),
    Column("total", N_("总分"), lambda s: s.total, sort=ScorecardRecord.total, number=True),
    Column("grade", N_("等次"), grade_of, code=lambda s: s.grade),
    Column("scored", N_("已计权重"), scored_share, number=True, unit="%"),
    Column("paid", N_("付费比例"), _paid, unit="%", number=True),
    Column("revision", N_("版本"), lambda s: s.revision, number=True, minor=True),
    Column("computed", N_("评分于"), lambda s: s.computed_at, sort=ScorecardRecord.computed_at, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("length", N_("周期"), _length, options=LENGTHS),
    Filter("which", N_("版本"), _latest, options={"latest": N_("最新版本")}, default="latest"),
    Filter("period", N_("期间"), lambda q, v: q.where(ScorecardRecord.month == v)),
]


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS, args=("provider",))
def index() -> str | Response:
    tx = reading()
    query = select(ScorecardRecord).where(_companies_cards(tx)).options(joinedload(ScorecardRecord.provider))
    filters = FILTERS if tx.actor.role is Role.PROVIDER else [*FILTERS, company_filter(tx, ScorecardRecord.provider_id)]
    found = listing(tx, query, COLUMNS, key=ScorecardRecord.id, filters=filters, sort="-period")
    exported = found.exported("scorecards")
    if exported:
        return exported
    return render_template("scorecards/index.html", cards=found, years=_years(tx), companies=_companies(tx))


def _companies_cards(tx: Tx) -> ColumnElement[bool]:
    return and_(ScorecardRecord.provider_id.is_not(None), marks.visible(tx, tx.actor))


def _companies(tx: Tx) -> list[CloudProvider]:
    query = select(CloudProvider).order_by(CloudProvider.name)
    if tx.actor.role is Role.PROVIDER:
        query = query.where(CloudProvider.id == tx.actor.provider_id)
    return list(tx.scalars(query))


def _years(tx: Tx) -> list[int]:
    found = tx.scalars(select(ScorecardRecord.month).where(_companies_cards(tx)).distinct())
    return sorted({int(month[:4]) for month in found}, reverse=True)


@blueprint.get("/<int:scorecard_id>")
@allow(*READERS)
def show(scorecard_id: int) -> str:
    return _page(scorecard_id)


def _page(scorecard_id: int, checked: list[str] | None = None) -> str:
    tx = reading()
    card = marks.scorecard(tx, scorecard_id)
    by = marks.formula_of(card)
    latest = marks.of(tx, card.subject, card.month)
    appeal = appeals.of(tx, card.subject, card.month)
    may_see_appeal = tx.actor.role is not Role.TENANT or appeals.may_file(tx, tx.actor, card.subject)
    return render_template(
        "scorecards/show.html",
        card=card,
        code=code(card),
        grade=_(by.grade_label(card.grade)) if card.grade else None,
        paid=by.paid(card.grade),
        label_of=by.label,
        rows=[(mark, by.label(mark.indicator), reason(card, mark)) for mark in card.marks],
        names={code: label for code, label in (by.vetoes or {}).items() if label},
        by=by,
        weight=by.weight,
        points_of=partial(points, card),
        latest=latest is not None and latest.id == card.id,
        changes=None if _in_part(tx, card) else marks.changes(tx, card),
        appeal=appeal if may_see_appeal else None,
        appeal_link=links.address,
        rectified=_rectified(tx, card),
        rectifiable=tx.actor.role in whose.overseers(card.subject),
        due=_due(tx, card.provider_id) if card.provider_id and tx.actor.role is not Role.TENANT else [],
        closes=appeals.closes(tx, card),
        bundled=_told_whole(tx, card),
        appealable=appeals.appealable(tx, card) and appeals.may_file(tx, tx.actor, card.subject),
        home=home(card),
        head=_head(tx, card),
        rulable=appeal is not None
        and appeal.state == appeals.AppealState.FILED
        and tx.actor.role in (Role.SUPERVISOR, Role.AUTHORITY)
        and tx.actor.login not in _issuers(tx, appeal),
        checked=checked,
        history=timeline(tx, f"scorecard:{card.id}", ACTIONS, FIELDS, {"state": lambda raw: raw}),
    )


def _head(tx: Tx, card: ScorecardRecord) -> str | None:
    """Who headed the department at the period's end; None of others than departments."""
    if card.department_id is None:
        return None
    last = periods.last_day(card.month, tx.now)
    head = headships.standing(tx, [card.department_id], last)[card.department_id].get(Duty.HEAD)
    return _("未登记") if head is None else _("、").join(one for one in (head.name, head.title) if one)


def _told_whole(tx: Tx, card: ScorecardRecord) -> bool:
    """Whether the reader may have every row of a card, with nothing masked: who sees the whole city, and whom it is about."""
    return tx.actor.role in STEWARDS or appeals.may_file(tx, tx.actor, card.subject)


def _in_part(tx: Tx, card: ScorecardRecord) -> bool:
    """Whether the reader is told only those rows that they may see: of the steward's card, which speaks of everybody."""
    return card.subject.type is SubjectType.STEWARD and tx.actor.role not in STEWARDS


def _seen(tx: Tx, card: ScorecardRecord, indicator: str) -> ColumnElement[bool]:
    """Which rows of a mark the reader is told: all, masked, or those about what they may see, each by the rule of its table."""
    if not _in_part(tx, card):
        return true()
    rules: dict[str, tuple[Any, ColumnElement[bool]]] = {
        "case": (cases.Case, cases.visible(tx, tx.actor)),
        "request": (requests.Request, requests.visible(tx)),
        "dispute": (statements.Dispute, disputes.visible(tx.actor)),
        "rectification": (Rectification, rectifications.visible(tx, tx.actor)),
    }
    numbers: dict[str, dict[int, list[int]]] = {}
    told: list[int] = []
    for one in marks.evidence_of(tx, card, indicator):
        kind, _colon, number = one.ref.partition("/")[0].partition(":")
        if kind in rules:
            numbers.setdefault(kind, {}).setdefault(int(number), []).append(one.id)
        else:  # a report, an assessment: of the city as a whole
            told.append(one.id)
    for kind, of in numbers.items():
        model, rule = rules[kind]
        for number in tx.scalars(select(model.id).where(among(model.id, of), rule)):
            told += of[number]
    return among(ScorecardEvidence.id, told)


def _rectified(tx: Tx, card: ScorecardRecord) -> dict[str, list[Rectification]]:
    """Indicator → what was ordered to be put right on the word of any version of the card, as far as the reader may see it."""
    found: dict[str, list[Rectification]] = {}
    for one in rectifications.about_cards(tx, card.subject, card.month):
        found.setdefault(one.source.partition("/")[2], []).append(one)
    return found


def _issuers(tx: Tx, appeal: appeals.Appeal) -> tuple[str | None, str]:
    card = marks.scorecard(tx, appeal.scorecard_id)
    return card.published_by, card.computed_by


EVIDENCE_COLUMNS = [
    Column("ref", N_("依据"), lambda e: evidence_words.called(e.ref), sort=ScorecardEvidence.ref, href=lambda e: links.address(e.ref),
           title=True),
    Column("facts", N_("事实"), lambda e: evidence_words.facts(e.facts, e.indicator, beside=evidence_words.called(e.ref))),
    Column("row", N_("编号"), lambda e: disclosure.ref(e.ref), minor=True),
    Column("position", N_("序号"), lambda e: e.position, sort=ScorecardEvidence.position, number=True, minor=True),
]  # fmt: skip


@blueprint.get("/<int:scorecard_id>/<indicator>")
@allow(*READERS)
@listed(EVIDENCE_COLUMNS)
def evidence(scorecard_id: int, indicator: str) -> str | Response:
    """The rows that one mark rests on."""
    tx = reading()
    card = marks.scorecard(tx, scorecard_id)
    mark = next((mark for mark in card.marks if mark.indicator == indicator), None)
    if mark is None:
        raise NotFound("mark.none", N_("这份评分没有这个指标"))
    by = marks.formula_of(card)
    criterion = by.criterion(indicator)
    source = criterion.source if criterion is not None else indicator
    query = select(ScorecardEvidence).where(
        ScorecardEvidence.scorecard_id == card.id,
        ScorecardEvidence.indicator == source,
        _seen(tx, card, source),
    )
    found = listing(tx, query, EVIDENCE_COLUMNS, key=ScorecardEvidence.id, sort="position")
    evidence_words.learn([row.ref for row in found.rows], [row.facts for row in found.rows])
    known = registry.find(source)
    measure = arithmetic.measure(source, criterion.measure) if criterion is not None else None
    return found.exported(f"evidence-{card.month}-{indicator}") or render_template(
        "scorecards/evidence.html", card=card, home=home(card), mark=mark, points=points(card, mark), label=by.label(indicator), rows=found,
        reason=reason(card, mark),
        part=_in_part(tx, card),
        explanation=(criterion.explanation if criterion is not None else "") or (known.explanation if known is not None else ""),
        figure=evidence_words.figure(mark.figure, (measure and measure.unit) or (known.unit if known is not None else FigureUnit.POINTS))
        if known is not None or criterion is not None and criterion.by_hand
        else None,
        direction=DIRECTIONS[known.direction] if known is not None and not (measure and measure.unit) else "",
    )  # fmt: skip


@blueprint.get("/formula")
@allow(*READERS)
def current_formula() -> str:
    """What our own default is: what is scored by it for whom nothing was enacted."""
    kind = next((one for one in SubjectType if one == request.args.get("subject")), SubjectType.COMPANY)
    return _formula(formula.default(kind), None)


@blueprint.get("/formula/<int:scorecard_id>")
@allow(*READERS)
def formula_of(scorecard_id: int) -> str:
    """What a card was scored by."""
    card = marks.scorecard(reading(), scorecard_id)
    return _formula(marks.formula_of(card), card)


def _formula(shown: Formula, card: ScorecardRecord | None) -> str:
    return render_template(
        "scorecards/formula.html", formula=shown, card=card, home=home(card), told=formula_words.told(shown)
    )


@blueprint.get("/<int:scorecard_id>/bundle.json")
@allow(*READERS)
def bundle(scorecard_id: int) -> Response:
    """The card as a file that proves itself elsewhere; its rows are not masked, so departments and companies get none but
    their own."""
    tx = reading()
    card = marks.scorecard(tx, scorecard_id)
    if not _told_whole(tx, card):
        raise NotAllowed("bundle.not_yours", N_("验算包只给被考核方和监管方"))
    found = Response(marks.bundled(tx, card), mimetype="application/json")
    name = f"scorecard-{card.whose_code}-{card.month}-{card.revision}.json"
    found.headers["Content-Disposition"] = f"attachment; filename={name}"
    return found


@blueprint.post("/<int:scorecard_id>/verify")
@allow(*READERS)
@unfit("it shows a sum and writes nothing")
def verify(scorecard_id: int) -> str:
    """The sum done again from the rows on record."""
    tx = reading()
    checked = marks.agrees(tx, marks.scorecard(tx, scorecard_id))
    return _page(scorecard_id, checked)


@blueprint.post("/<int:scorecard_id>/publish")
@allow(Role.AUTHORITY)
@proven
@takes(None, GENERATION)
def publish(scorecard_id: int) -> Response:
    with transaction() as tx:
        published = marks.publish(tx, scorecard_id, request.form.get("generation", 0, row))
        days = marks.formula_of(published).days.publicity
    flash(_("已公示，公示期 %(days)s 个工作日", days=days), "success")
    return redirect(url_for("scorecards.show", scorecard_id=scorecard_id))


# -------------------------------------------------------------------------------------------------------------- scoring


class ScoreForm(FlaskForm):  # type: ignore[misc]
    provider = SelectField(lazy("云服务商"), coerce=int, choices=[])
    period = StringField(
        lazy("期间"),
        [InputRequired(lazy("请填写期间")), Regexp(r"\d{4}-(\d{2}|Q[1-4])$", message=lazy("写作 2026-10 或 2026-Q4"))],
        description=lazy("写作 2026-10 或 2026-Q4"),
    )
    reason = TextAreaField(lazy("理由"), [Optional(), Length(max=1000)], description=lazy("重新评分时写明"))


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(ScoreForm)
def compute() -> str | Response | tuple[str, int]:
    tx = reading()
    form = ScoreForm(period=periods.before(periods.quarter_of(tx.now)))
    form.provider.choices = [SelectChoice(str(one.id), one.name) for one in _companies(tx)]

    def act() -> Response:
        workbench = Workbench(book(), lake(), settings().data)
        found = scoring.score(
            workbench,
            company(form.provider.data),
            form.period.data,
            actor=actor(),
            reason=(form.reason.data or "").strip(),
        )
        return done(_("已评分，第 %(revision)s 版", revision=found.revision), "scorecards.show", scorecard_id=found.id)

    return answer(form, act, lambda: render_template("scorecards/compute.html", form=form), Refused)


@blueprint.get("/year/<int:provider_id>/<int:year>")
@allow(*STEWARDS, Role.PROVIDER)
def year(provider_id: int, year: int) -> str:
    """The year, of its months, quarters and year-end review, in the shares of the formula that held at its end."""
    tx = reading()
    whom = provider(tx, provider_id)
    if tx.actor.role is Role.PROVIDER and tx.actor.provider_id != provider_id or not 2000 <= year <= 2100:
        raise NotFound("page.none", N_("没有这个页面"))
    by = formulas.in_force(tx, provider_id, f"{year}-Q4")
    lengths = {"quarter": [f"{year}-Q{n}" for n in range(1, 5)], "month": [f"{year}-{n:02d}" for n in range(1, 13)]}
    parts = {
        part: [(period, marks.current(tx, provider_id, period)) for period in lengths[part]]
        for part, share in by.shares.items()
        if share and part in lengths
    }
    review = records.year_end(tx, provider_id, year)
    every = [card for of in parts.values() for _period, card in of if card is not None]
    totals = {part: [card.total if card else None for _period, card in of] for part, of in parts.items()}
    total = annual(by.shares, {**totals, "year_end": [review]})
    vetoed = [card for card in every if card.veto]
    found = Grade.FAIL if vetoed else by.grade(total)
    return render_template(
        "scorecards/year.html", company=whom, year=year, parts=parts, review=review, total=total, vetoed=vetoed,
        grade=_(by.grade_label(found)) if found else None, paid=by.paid(found), grades=grade_of, labels=LENGTHS,
        made=dict(formula_words.told(by).rest)[_("年度构成")], reviewed=bool(by.shares.get("year_end")),
        unrated=any(not card.rated for card in every),
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- appeals


class AppealForm(FlaskForm):  # type: ignore[misc]
    text = TextAreaField(lazy("申诉理由和证据"), [InputRequired(lazy("请写明申诉理由和证据")), Length(max=8000)])
    refs = SelectMultipleField(
        lazy("有异议的依据"), choices=[], description=lazy("可多选；不选表示对整份评分有异议")
    )  # fmt: skip


class RulingForm(FlaskForm):  # type: ignore[misc]
    upheld = RadioField(lazy("裁定"), choices=[], validators=[InputRequired(lazy("请选择裁定结果"))])
    struck = SelectMultipleField(
        lazy("不再计入的依据"), choices=[], description=lazy("申诉成立时必选；据此重新评分，形成新版本")
    )  # fmt: skip
    ruling = TextAreaField(lazy("裁定理由"), [InputRequired(lazy("请写明理由")), Length(max=8000)])


def _refs(tx: Tx, card: ScorecardRecord) -> list[SelectChoice]:
    """Evidence rows that cost something, to choose from: of indicators that lost points, or that have a row that vetoes."""
    rows = marks.evidence_of(tx, card)
    costly = {mark.indicator for mark in card.marks if mark.deduction}
    lost = {one.source for one in marks.formula_of(card).criteria if one.indicator in costly} | {
        row.indicator for row in rows if row.facts.get("veto")
    }
    rows = [row for row in rows if row.indicator in lost and not row.facts.get("ok")][:500]
    evidence_words.learn([row.ref for row in rows], [row.facts for row in rows])
    return [SelectChoice(row.ref, _choice(row)) for row in rows]


def _choice(row: ScorecardEvidence) -> str:
    name = evidence_words.called(row.ref)
    return f"{name} · {evidence_words.facts(row.facts, row.indicator, beside=name)}"[:160]


@blueprint.route("/<int:scorecard_id>/appeal", methods=["GET", "POST"])
@allow(Role.PROVIDER, Role.TENANT)
@takes(AppealForm)
def appeal(scorecard_id: int) -> str | Response | tuple[str, int]:
    tx = reading()
    card = marks.scorecard(tx, scorecard_id)
    form = AppealForm()
    form.refs.choices = _refs(tx, card)

    def act() -> Response:
        with transaction() as write:
            appeals.file(write, scorecard_id, form.text.data, form.refs.data)
        return done(
            _("申诉已提交，%(days)s 个工作日内裁定", days=marks.formula_of(card).days.ruling),
            "scorecards.show",
            scorecard_id=scorecard_id,
        )

    return answer(
        form,
        act,
        lambda: render_template(
            "scorecards/appeal.html", card=card, form=form, closes=appeals.closes(tx, card), by=marks.formula_of(card)
        ),
        Refused,
    )


@blueprint.route("/<int:scorecard_id>/ruling", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(RulingForm)
def rule(scorecard_id: int) -> str | Response | tuple[str, int]:
    tx = reading()
    card = marks.scorecard(tx, scorecard_id)
    filed = appeals.of(tx, card.subject, card.month)
    if filed is None:
        raise NotFound("appeal.none", N_("没有编号为 %(id)s 的申诉"), id=scorecard_id)
    contested = marks.scorecard(tx, filed.scorecard_id)
    form = RulingForm(MultiDict(request.form) if request.method == "POST" else None, struck=filed.refs)
    form.upheld.choices = [SelectChoice("1", _("申诉成立")), SelectChoice("0", _("申诉不成立"))]
    form.struck.choices = _refs(tx, contested)

    def act() -> Response:
        with transaction() as write:
            ruled = appeals.rule(
                write, filed.id, upheld=form.upheld.data == "1", ruling=form.ruling.data, struck=form.struck.data
            )
            result = appeals.resolve(write, ruled) if ruled.struck else None
        return done(_("已裁定"), "scorecards.show", scorecard_id=result.id if result else contested.id)

    return answer(
        form, act, lambda: render_template("scorecards/rule.html", card=contested, filed=filed, form=form), Refused
    )


# ----------------------------------------------------------------------------------------------------------------- home


@frame.home_block(Role.PROVIDER, order=30, side=True)
def _mine(tx: Tx, actor: Actor) -> str | None:
    """The company's latest cards."""
    cards = tx.scalars(
        _latest(select(ScorecardRecord).where(marks.visible(tx, actor)), "")
        .order_by(ScorecardRecord.month.desc())
        .limit(4)
    ).all()
    return render_template("scorecards/_home.html", cards=cards, grade=grade_of, code=code)


def _due(tx: Tx, provider_id: int | None = None) -> list[tuple[consequences.DueConsequence, str]]:
    """Consequences that are due, each as a sentence."""
    return [(one, formula_words.consequence(one.formula, one.place)) for one in consequences.due(tx, provider_id)]


@frame.home_block(Role.SUPERVISOR, Role.AUTHORITY, Role.PROVIDER, order=48)
def _consequences(tx: Tx, actor: Actor) -> str | None:
    """Consequences that are due: of the company itself, or of whom; nothing where there is none."""
    found = _due(tx, actor.provider_id)
    names = {one.id: one.name for one in _companies(tx)}
    return render_template("scorecards/_due.html", found=found, names=names) if found else None


@frame.home_block(Role.SUPERVISOR, Role.AUTHORITY, order=50)
def _appeals(tx: Tx, _actor: Actor) -> str | None:
    """Appeals that wait for a ruling; nothing where there is none."""
    found = tx.scalars(
        select(appeals.Appeal).where(appeals.Appeal.state == appeals.AppealState.FILED.value)
        .options(joinedload(appeals.Appeal.provider), joinedload(appeals.Appeal.department), joinedload(appeals.Appeal.system))
        .order_by(appeals.Appeal.due_at)
    ).all()  # fmt: skip
    return render_template("scorecards/_appeals.html", found=found) if found else None
