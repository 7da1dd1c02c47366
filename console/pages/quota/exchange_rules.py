"""市场与换算规则: who sees what is offered, what architectures are worth; drafted, signed by two, in force from a day on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from itertools import permutations

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import BooleanField, FieldList, FormField, HiddenField, IntegerField, RadioField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import frame
from console.access import STEWARDS, allow, proven
from console.book import actor, reading, settings, transaction
from console.forms import DateField, InnerForm, answer, done, sent_back
from console.lists import Column, Filter, listing
from console.pages.quota.market import SCOPES
from console.programs import listed, takes, unfit
from console.words import _, amount, kind_label, lazy
from quota.actors import Role
from quota.db import Tx
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid, NotAllowed, WrongState
from quota.exchange import (
    LONGEST_DAYS,
    MOST_CREDIT,
    MOST_WEIGHT,
    ConversionTerms,
    ExchangeRule,
    ExchangeSubject,
    MarketScope,
    MarketTerms,
    rules,
)
from quota.units import CLASSES, Commodity

blueprint = Blueprint("exchange_rules", __name__, url_prefix="/quota/exchange-rules")
frame.page("quota", "exchange_rules.index", N_("市场与换算规则"), order=46)

SUBJECTS = {ExchangeSubject.MARKET.value: N_("配额市场"), ExchangeSubject.CONVERSION.value: N_("架构换算")}
COLUMNS = [
    Column("number", N_("编号"), lambda r: f"JH-{r.id:06d}", title=True, sort=ExchangeRule.id,
           href=lambda r: url_for("exchange_rules.show", rule_id=r.id)),
    Column("state", N_("状态"), lambda r: f"draft_{r.state}", state=True),
    Column("subject", N_("事项"), lambda r: _(SUBJECTS[r.subject]), code=lambda r: r.subject),
    Column("effective_from", N_("生效日期"), lambda r: r.effective_from, text=str),
    Column("reason", N_("制定依据"), lambda r: r.reason),
    Column("drafted_at", N_("起草时间"), lambda r: r.drafted_at, minor=True),
]  # fmt: skip
FILTERS = [Filter("subject", N_("事项"), lambda q, v: q.where(ExchangeRule.subject == v), options=SUBJECTS)]


class ExchangeRuleForm(FlaskForm):  # type: ignore[misc]
    effective_from = DateField(lazy(N_("生效日期")), [InputRequired(lazy(N_("请填写生效日期")))])
    reason = TextAreaField(lazy(N_("制定依据")), [InputRequired(lazy(N_("请写明制定依据"))), Length(max=2000)])


class MarketRuleForm(ExchangeRuleForm):
    scope = RadioField(lazy(N_("开放范围")), choices=[], validators=[InputRequired(lazy(N_("请选择开放范围")))])
    longest_days = IntegerField(
        lazy(N_("出借最长")), [InputRequired(lazy(N_("请填写期限"))), NumberRange(1, LONGEST_DAYS)], default=90
    )
    for_good = BooleanField(lazy(N_("也可以长期调出（由主管部门逐项确认）")))


class WeightForm(InnerForm):
    code = HiddenField()
    weight = IntegerField(lazy(N_("权重")), [Optional(), NumberRange(1, MOST_WEIGHT)])


class ConversionRuleForm(ExchangeRuleForm):
    weights = FieldList(FormField(WeightForm), max_entries=200)
    credit = IntegerField(
        lazy(N_("信创鼓励")), [InputRequired(lazy(N_("请填写信创鼓励，没有的填 0"))), NumberRange(0, MOST_CREDIT)], default=0,
        description=lazy(N_("非信创资源池的一个单位按权重多算百分之几；由信创换回时同样折算，来回不增不减")),
    )  # fmt: skip


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    """Every rule and draft, and what counts today."""
    tx = reading()
    found = listing(tx, select(ExchangeRule), COLUMNS, key=ExchangeRule.id, filters=FILTERS, sort="-number")
    standing = [(_(SUBJECTS[one.value]), rules.in_force(tx, one)) for one in ExchangeSubject]
    return found.exported("exchange-rules") or render_template(
        "exchange_rules/index.html",
        found=found,
        standing=[(label, rule, told(rule) if rule else []) for label, rule in standing],
    )


@blueprint.get("/<int:rule_id>")
@allow(*STEWARDS, Role.TENANT)
def show(rule_id: int) -> str:
    tx = reading()
    one = rules.rule(tx, rule_id)
    return render_template(
        "exchange_rules/show.html", one=one, subject=_(SUBJECTS[one.subject]), told=told(one), parcels=_parcels(one),
        signatures=[(each["by"], datetime.fromisoformat(each["at"])) for each in one.signatures],
        may_sign=rules.may_sign(one, actor()), needed=rules.SIGNATURES - len(one.signatures),
        may_withdraw=one.state == "drafted" and actor().role is Role.AUTHORITY,
        counts=rules.in_force(tx, ExchangeSubject(one.subject)) is one,
    )  # fmt: skip


WAYS = ((False, False), (False, True), (True, False))
"""Whether the pool of what is given, and of what is got, is one of 信创: where both are, it is as where neither is."""


def _parcels(rule: ExchangeRule) -> list[list[str]]:
    """The smallest parcel of each conversion, a row for each pair of architectures and way round; none of a rule of the market."""
    said = rule.says()
    if not isinstance(said, ConversionTerms):
        return []

    def parcel(one: Commodity, other: Commodity, way: tuple[bool, bool]) -> str:
        given, got = said.parcel((one, way[0]), (other, way[1]))
        return f"{amount(given, one)} → {amount(got, other)}"

    return [
        [f"{_(CLASSES[one.kind].label)} {one.arch} → {other.arch}", *(parcel(one, other, way) for way in WAYS)]
        for one, other in permutations(sorted(said.weights, key=str), 2)
        if one.kind == other.kind
    ]


def told(rule: ExchangeRule) -> list[tuple[str, str]]:
    """What a rule says, in words: (what of it, what)."""
    said = rule.says()
    if isinstance(said, MarketTerms):
        return [
            (_("开放范围"), _(SCOPES[said.scope])),
            (_("出借最长"), _("%(days)s 天", days=said.longest_days)),
            (_("长期调出"), _("可以，由主管部门逐项确认") if said.for_good else _("不可以")),
        ]
    weights = sorted(said.weights.items(), key=lambda one: (CLASSES.place(one[0].kind), one[0].arch))
    return [
        *((kind_label(cls), _("每%(unit)s权重 %(weight)s", unit=_(CLASSES[cls.kind].shown), weight=weight)) for cls, weight in weights),
        (_("信创鼓励"), f"{said.credit}%"),
    ]  # fmt: skip


@blueprint.route("/market", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@unfit("who drafts signs, in person")
def draft_market() -> str | Response | tuple[str, int]:
    """Draft who sees what is offered."""
    form = MarketRuleForm(effective_from=_today())
    form.scope.choices = [SelectChoice(code.value, _(label)) for code, label in SCOPES.items()]

    def act() -> Response:
        return _drafted(
            ExchangeSubject.MARKET,
            lambda: MarketTerms(MarketScope(form.scope.data), form.longest_days.data, bool(form.for_good.data)),
            form,
        )

    return answer(form, act, partial(render_template, "exchange_rules/market.html", form=form), Invalid)


@blueprint.route("/conversion", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@unfit("who drafts signs, in person")
def draft_conversion() -> str | Response | tuple[str, int]:
    """Draft what a unit of each class is worth on each architecture."""
    tx = reading()
    standing = rules.in_force(tx, ExchangeSubject.CONVERSION)
    said = standing.says() if standing else None
    known = said if isinstance(said, ConversionTerms) else ConversionTerms({}, 0)
    offered = _commodities(tx)
    form = ConversionRuleForm(
        effective_from=_today(), credit=known.credit,
        weights=[{"code": str(cls), "weight": known.weights.get(cls)} for cls in offered],
    )  # fmt: skip

    def act() -> Response:
        def terms() -> ConversionTerms:
            typed = [(Commodity.parse(one.code.data or ""), one.weight.data) for one in form.weights.entries]
            return ConversionTerms({cls: weight for cls, weight in typed if weight is not None}, form.credit.data)

        return _drafted(ExchangeSubject.CONVERSION, terms, form)

    for one in form.weights.entries:  # each is called as what it weighs
        try:
            one.weight.label.text = kind_label(Commodity.parse(one.code.data or ""))
        except Invalid:
            continue
    return answer(form, act, partial(render_template, "exchange_rules/conversion.html", form=form), Invalid)


def _commodities(tx: Tx) -> list[Commodity]:
    """Every class that has an architecture, on each that a pool has."""
    archs = sorted(set(tx.scalars(select(Pool.arch).where(Pool.active))))
    return [Commodity.parse(f"{code}:{arch}") for code in CLASSES.open() if CLASSES[code].by_arch for arch in archs]


def _drafted(
    subject: ExchangeSubject, terms: Callable[[], MarketTerms | ConversionTerms], form: ExchangeRuleForm
) -> Response:
    with transaction() as tx:
        made = rules.draft(
            tx, subject, terms(), effective_from=form.effective_from.data, reason=form.reason.data or ""
        ).id
    return done(_("已起草并由您签署，另一人签署后自生效日期起施行"), "exchange_rules.show", rule_id=made)


def _today() -> date:
    return reading().now.astimezone(settings().zone).date()


@blueprint.post("/<int:rule_id>/sign")
@allow(Role.AUTHORITY)
@proven
@unfit("two people sign in person, each having looked at the page")
def sign(rule_id: int) -> Response:
    """The second signature enacts."""
    try:
        with transaction() as tx:
            enacted = rules.sign(tx, rule_id).state == "enacted"
    except (Invalid, NotAllowed, WrongState, Conflict) as refused:
        return sent_back(refused, "exchange_rules.show", rule_id=rule_id)
    return done(
        _("已签署,规则自生效日期起施行") if enacted else _("已签署,还须另一人签署"),
        "exchange_rules.show",
        rule_id=rule_id,
    )


@blueprint.post("/<int:rule_id>/withdraw")
@allow(Role.AUTHORITY)
@takes(None)
def withdraw(rule_id: int) -> Response:
    """Give a draft up."""
    try:
        with transaction() as tx:
            rules.withdraw(tx, rule_id)
    except WrongState as refused:
        return sent_back(refused, "exchange_rules.show", rule_id=rule_id)
    return done(_("已撤回草案"), "exchange_rules.show", rule_id=rule_id)
