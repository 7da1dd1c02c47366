"""Who else is assessed: departments, systems and the steward itself, ranked by period and by year; scored and published together."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from flask import Blueprint, g, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional, Regexp

from console import frame, scoring
from console.access import STEWARDS, allow, proven
from console.book import actor, book, lake, reading, settings, transaction
from console.forms import answer, done
from console.lists import Column, Filter, Rows, listing
from console.pages.assessment.scorecards import LENGTHS, code, grade_of, scored_share
from console.programs import listed, takes
from console.words import _, lazy
from metering.workbench import Workbench
from providers.assessment import (
    STEWARD,
    SUBJECT_LABELS,
    CardSubject,
    ScorecardRecord,
    SubjectType,
    annual,
    appeals,
    formulas,
    periods,
    whose,
)
from providers.assessment import cards as marks
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Department, System, subtree
from quota.errors import N_, Invalid, NotFound, Refused

blueprint = Blueprint("rankings", __name__, url_prefix="/rankings")
frame.page("reports", "rankings.index", N_("考核排名"), order=45)

READERS = (*STEWARDS, Role.TENANT, Role.PROVIDER)
KINDS = {kind.value: SUBJECT_LABELS[kind] for kind in SubjectType if kind is not SubjectType.COMPANY}
AT_ONCE = 50
"""So many cards are scored while somebody waits for the page."""
PERIOD = Regexp(r"\d{4}-(\d{2}|Q[1-4])$", message=lazy("写作 2026-10 或 2026-Q4"))


def _open_to(who: Actor, kind: SubjectType) -> bool:
    return who.role is not Role.PROVIDER or kind is SubjectType.STEWARD


def _kind() -> SubjectType:
    """Of which type the list is; what the address says wrongly is the first."""
    asked = request.args.get("kind", "")
    kind = SubjectType(asked) if asked in KINDS else SubjectType.DEPARTMENT
    return kind if _open_to(reading().actor, kind) else SubjectType.STEWARD


def _public() -> bool:
    """Whether the reader is told only of what was published."""
    return reading().actor.role in (Role.TENANT, Role.PROVIDER)


def _standing(tx: Tx, kind: SubjectType) -> ColumnElement[bool]:
    """What of one type the reader sees in the ranking: departments every one that was published, and their own systems."""
    found = marks.newest(kind, published=_public())
    if tx.actor.role is Role.TENANT and kind is SubjectType.SYSTEM:
        own = subtree(tx, tx.actor.department_id) if tx.actor.department_id is not None else set()
        return and_(found, ScorecardRecord.system_id.in_(select(System.id).where(System.department_id.in_(own))))
    return found


def _place(card: ScorecardRecord) -> int | None:
    """Its place among all of its type and period, as far as the reader is told of them."""
    known: dict[Any, dict[int, int]] = g.setdefault("ranks", {})
    key = (card.subject.type, card.month)
    if key not in known:
        known[key] = marks.ranks(reading(), *key, published=_public())
    return known[key].get(card.id)


def _address(card: ScorecardRecord) -> str | None:
    """The card's page, for those who may see what it rests on."""
    may: set[int] | None = g.get("shown_cards")
    return url_for("scorecards.show", scorecard_id=card.id) if may is None or card.id in may else None


def _department(card: ScorecardRecord) -> str | None:
    return card.system.department.name if card.system is not None else None


def _length(query: Rows, value: str) -> Rows:
    quarter = ScorecardRecord.month.like("%-Q_")
    return query.where(quarter if value == "quarter" else ~quarter)


COLUMNS = [
    Column("whom", N_("被考核方"), lambda s: _(s.whose), code=lambda s: s.whose_code, href=_address, title=True),
    Column("department", N_("使用单位"), _department, minor=True),
    Column("period", N_("期间"), lambda s: s.month, sort=ScorecardRecord.month),
    Column("place", N_("名次"), _place, number=True),
    Column("total", N_("总分"), lambda s: s.total, sort=ScorecardRecord.total, number=True),
    Column("grade", N_("等次"), grade_of, code=lambda s: s.grade),
    Column("state", N_("状态"), code, state=True),
    Column("scored", N_("已计权重"), scored_share, number=True, unit="%"),
    Column("revision", N_("版本"), lambda s: s.revision, number=True, minor=True),
    Column("computed", N_("评分于"), lambda s: s.computed_at, sort=ScorecardRecord.computed_at, minor=True),
]
FILTERS = [
    Filter("kind", N_("被考核方"), lambda query, _value: query, options=KINDS, default=SubjectType.DEPARTMENT.value),
    Filter("length", N_("周期"), _length, options=LENGTHS),
    Filter("period", N_("期间"), lambda q, v: q.where(ScorecardRecord.month == v)),
]


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx, kind = reading(), _kind()
    query = (
        select(ScorecardRecord)
        .where(_standing(tx, kind))
        .options(
            joinedload(ScorecardRecord.department), joinedload(ScorecardRecord.system).joinedload(System.department)
        )
    )
    newest = tx.scalar(query.with_only_columns(ScorecardRecord.month).order_by(ScorecardRecord.month.desc()).limit(1))
    filters = [*FILTERS[:2], Filter(FILTERS[2].key, FILTERS[2].label, FILTERS[2].apply, default=newest or "")]
    found = listing(tx, query, COLUMNS, key=ScorecardRecord.id, filters=filters, sort="-total")
    if _public():
        shown = and_(ScorecardRecord.id.in_([one.id for one in found.rows]), marks.visible(tx, tx.actor))
        g.shown_cards = set(tx.scalars(select(ScorecardRecord.id).where(shown)))
    return found.exported(f"ranking-{kind.value}") or render_template(
        "rankings/index.html", found=found, kind=kind, kinds=KINDS, years=_years(tx), waiting=_waiting(tx, kind, found.values["period"]),
        open_to={one: _open_to(tx.actor, SubjectType(one)) for one in KINDS},
    )  # fmt: skip


def _years(tx: Tx) -> list[int]:
    if tx.actor.role is Role.PROVIDER:
        return []
    found = tx.scalars(select(ScorecardRecord.month).where(_standing(tx, SubjectType.DEPARTMENT)).distinct())
    return sorted({int(month[:4]) for month in found}, reverse=True)


def _waiting(tx: Tx, kind: SubjectType, period: str) -> tuple[int, str] | None:
    """How many cards of the period could be published together, and its name."""
    if tx.actor.role is not Role.AUTHORITY or not period:
        return None
    count = tx.scalar(select(func.count()).where(marks.waiting(kind), ScorecardRecord.month == period))
    return (count, period) if count else None


class RankingPublishForm(FlaskForm):  # type: ignore[misc]
    kind = SelectField(lazy("被考核方"), choices=[])
    period = StringField(lazy("期间"), [InputRequired(lazy("请填写期间")), PERIOD])
    shown = HiddenField()


def _choices(*kinds: SubjectType) -> list[SelectChoice]:
    return [SelectChoice(kind.value, _(SUBJECT_LABELS[kind])) for kind in kinds or [SubjectType(one) for one in KINDS]]


@blueprint.route("/publish", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(RankingPublishForm)
def publish() -> str | Response | tuple[str, int]:
    """The ranking of a type and period, published together: what would be published is shown before."""
    tx, kind = reading(), _kind()
    period = request.args.get("period", "") or periods.before(periods.quarter_of(tx.now))
    form = RankingPublishForm(kind=kind.value, period=period)
    form.kind.choices = _choices()
    rows = marks.unpublished(tx, SubjectType(form.kind.data), form.period.data or "") if form.kind.data in KINDS else []

    def act() -> Response:
        with transaction() as write:
            count = marks.publish_all(write, SubjectType(form.kind.data), form.period.data, form.shown.data or "")
        told = _("已公示 %(count)s 份评分", count=count)
        return done(told, "rankings.index", kind=form.kind.data, period=form.period.data)

    def page() -> str:
        form.shown.data = marks.shown_as(rows)  # of what this very page lists, whatever was sent
        return render_template("rankings/publish.html", form=form, rows=rows, grade=grade_of)

    return answer(form, act, page, Refused)


class RankingScoreForm(FlaskForm):  # type: ignore[misc]
    kind = SelectField(lazy("被考核方"), choices=[])
    code = StringField(lazy("代码"), [Optional(), Length(max=32)],
                       description=lazy("使用单位或信息系统的代码；不填时为全部使用单位评分"))  # fmt: skip
    period = StringField(
        lazy("期间"), [InputRequired(lazy("请填写期间")), PERIOD], description=lazy("写作 2026-10 或 2026-Q4")
    )
    reason = TextAreaField(lazy("理由"), [Optional(), Length(max=1000)], description=lazy("重新评分时写明"))


def _wanted(tx: Tx, form: RankingScoreForm) -> list[CardSubject]:
    kind, named = SubjectType(form.kind.data), (form.code.data or "").strip()
    if kind is SubjectType.STEWARD:
        return [STEWARD]
    if not named and kind is SubjectType.DEPARTMENT:
        found = scoring.departments(tx)
        if len(found) > AT_ONCE:
            raise Invalid(
                "ranking.many",
                N_("全部 %(count)s 个使用单位由任务进程每夜评分；在这里请填写代码"),
                count=len(found),
                field="code",
            )
        return found
    return [whose.by_code(tx, kind, named)]


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(RankingScoreForm)
def compute() -> str | Response | tuple[str, int]:
    tx = reading()
    form = RankingScoreForm(kind=_kind().value, period=periods.before(periods.quarter_of(tx.now)))
    form.kind.choices = _choices()

    def act() -> Response:
        workbench = Workbench(book(), lake(), settings().data)
        why = (form.reason.data or "").strip()
        found = [
            scoring.score(workbench, one, form.period.data, actor=actor(), reason=why) for one in _wanted(tx, form)
        ]
        told = _("已评分 %(count)s 份", count=len(found))
        if len(found) == 1:
            return done(told, "scorecards.show", scorecard_id=found[0].id)
        return done(told, "rankings.index", kind=form.kind.data, period=form.period.data)

    return answer(form, act, lambda: render_template("rankings/compute.html", form=form), Refused)


# ------------------------------------------------------------------------------------------------------------ the year


class RankedYear:
    """The quarters of every department in a year, as they were published, and what they come to. ``unpublished``: how many of
    the newest cards are not yet."""

    def __init__(self, tx: Tx, year: int) -> None:
        self.year, self.quarters = year, [f"{year}-Q{n}" for n in range(1, 5)]
        by = formulas.enacted(tx)
        self.formula = by.formula_of(CardSubject(SubjectType.DEPARTMENT, 0), periods.first_day(self.quarters[-1]))
        standing = marks.newest(SubjectType.DEPARTMENT, published=True)
        lengths = [*self.quarters, *(f"{year}-{n:02d}" for n in range(1, 13))]
        self.cards: dict[tuple[int | None, str], ScorecardRecord] = {
            (one.department_id, one.month): one
            for one in tx.scalars(select(ScorecardRecord).where(standing, ScorecardRecord.month.in_(lengths)))
        }
        drafts = marks.newest(SubjectType.DEPARTMENT), ~ScorecardRecord.published, ScorecardRecord.month.in_(lengths)
        self.unpublished = 0 if _public() else tx.scalar(select(func.count(ScorecardRecord.id)).where(*drafts)) or 0
        whom = {department for department, _period in self.cards}
        self.totals = {one: self._total(one, lengths) for one in whom if one is not None}
        told = [total for total in self.totals.values() if total is not None]
        self.places: Mapping[int, int] = {
            one: 1 + sum(other > total for other in told) for one, total in self.totals.items() if total is not None
        }

    def _total(self, department: int, lengths: list[str]) -> Decimal | None:
        found = {period: self.cards.get((department, period)) for period in lengths}
        totals = {period: card.total for period, card in found.items() if card is not None}
        quarter = [totals.get(period) for period in self.quarters]
        month = [total for period, total in totals.items() if not periods.is_quarter(period)]
        return annual(self.formula.shares, {"quarter": quarter, "month": month})

    def grade(self, department: int) -> str | None:
        found = self.formula.grade(self.totals.get(department))
        return None if found is None else _(self.formula.grade_label(found))


def _of_year() -> RankedYear:
    found: RankedYear = g.ranked_year
    return found


def _quarter(number: int) -> Column:
    def total(one: Department) -> Decimal | None:
        card = _of_year().cards.get((one.id, _of_year().quarters[number - 1]))
        return card.total if card is not None else None

    return Column(
        f"q{number}", (N_("一季度"), N_("二季度"), N_("三季度"), N_("四季度"))[number - 1], total, number=True
    )


YEAR_COLUMNS = [
    Column("name", N_("使用单位"), lambda one: one.name, code=lambda one: one.code, sort=Department.name, title=True),
    Column("code", N_("代码"), lambda one: one.code, sort=Department.code, minor=True),
    *map(_quarter, range(1, 5)),
    Column("total", N_("年度总分"), lambda one: _of_year().totals.get(one.id), number=True),
    Column("grade", N_("等次"), lambda one: _of_year().grade(one.id)),
    Column("place", N_("名次"), lambda one: _of_year().places.get(one.id), number=True),
]


@blueprint.get("/year/<int:year>")
@allow(*STEWARDS, Role.TENANT)
@listed(YEAR_COLUMNS)
def year(year: int) -> str | Response:
    """Every department's year, for the annual assessment."""
    tx = reading()
    if not 2000 <= year <= 2100:
        raise NotFound("page.none", N_("没有这个页面"))
    g.ranked_year = found = RankedYear(tx, year)
    rows = select(Department).where(or_(Department.id.in_(found.totals), Department.id == 0))
    page = listing(tx, rows, YEAR_COLUMNS, key=Department.id, sort="code")
    return page.exported(f"ranking-{year}") or render_template(
        "rankings/year.html", found=page, year=year, years=_years(tx), unpublished=found.unpublished
    )


# ----------------------------------------------------------------------------------------------------------------- home


@frame.home_block(Role.TENANT, order=60, side=True)
def _mine(tx: Tx, who: Actor) -> str | None:
    """The department's own published cards of late, with their place; nothing where there is none."""
    if who.department_id is None:
        return None
    mine = whose.about(ScorecardRecord, CardSubject(SubjectType.DEPARTMENT, who.department_id))
    found = tx.scalars(
        select(ScorecardRecord)
        .where(marks.newest(SubjectType.DEPARTMENT, published=True), mine)
        .order_by(ScorecardRecord.month.desc())
        .limit(4)
    ).all()
    rows = [(one, _place(one), appeals.appealable(tx, one)) for one in found]
    return render_template("rankings/_home.html", rows=rows, grade=grade_of, code=code) if rows else None
