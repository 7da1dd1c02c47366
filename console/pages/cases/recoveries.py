"""The city's 闲收忙扩 at a glance: what could be recovered, what is on its way, what was, where it went, what we regret."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import uuid4

from flask import Blueprint, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from werkzeug.wrappers import Response
from wtforms import HiddenField, IntegerField, RadioField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import frame, links
from console.access import STEWARDS, allow, may, proven
from console.book import reading, transaction
from console.charts import Chart, Series
from console.forms import answer, done, sent_back
from console.lists import Column, as_csv, as_xlsx, page_of
from console.pages.cases.evidence import conduct
from console.programs import Given, takes
from console.words import UNKNOWN, _, amount, amounts, kind_label, lazy
from metering.cases import STATE_LABELS, Case, CaseState, matching, openings, recoveries, suspensions
from metering.judging import findings, policies
from metering.scale_outs import sums
from quota.actors import Role
from quota.calendar import ZONE
from quota.db import Tx
from quota.errors import N_, Conflict, Invalid, NotAllowed, OverCapacity
from quota.exchange import OfferWay
from quota.ledger import MAX_DAYS
from quota.units import CLASSES, MEMORY, VCPU, Amount, ClassCode, Commodity, base_units, shown

blueprint = Blueprint("recoveries", __name__, url_prefix="/recoveries")
frame.page("cases", "recoveries.index", N_("总览"), order=10)


@blueprint.get("/")
@allow(*STEWARDS)
def index() -> str:
    tx = reading()
    today = tx.now.astimezone(ZONE)
    year = today.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    run = findings.last_run(tx)
    now = recoveries.recoverable(tx, run) if run else {}
    found = recoveries.recoveries(tx, year)
    table = _by_class(now, found)
    _version, rules = conduct(tx)
    opening = tx.scalar(select(openings.Opening).order_by(openings.Opening.id.desc()).limit(1))
    return render_template(
        "recoveries/index.html",
        run=run,
        year=today.year,
        found=found,
        table=table,
        figures=_figures(now, found),
        sideways=sums.summed(tx, year),
        by_class=_class_chart(now, found),
        by_month=_month_chart(tx, year, today),
        by_state=_state_chart(tx),
        regret=recoveries.regret(tx),
        limit=rules.regret_limit,
        versions=_versions(tx),
        went=recoveries.went_to(tx, year, most=15),
        address=links.address,
        accounts=lambda department_id: url_for("quota.accounts", department=department_id),
        classes=_classes,
        matches=matching.matches(tx)[:20],
        opening=opening,
        skips=[(_(openings.SKIPS[code]), count) for code, count in sorted(opening.why().items())] if opening else [],
    )


MATCHES = [
    Column("place", N_("架构与网络区"), lambda m: " · ".join(m.donor.place)),
    Column("donor", N_("让出单位"), lambda m: m.donor.department),
    Column(
        "donor_number", N_("让出案件"), lambda m: m.donor.number, title=True, href=lambda m: links.address(m.donor.key)
    ),
    Column("what", N_("可调剂"), lambda m: amounts(m.what)),
    Column("asker", N_("需求单位"), lambda m: m.asker.department),
    Column("asker_number", N_("需求"), lambda m: m.asker.number, href=lambda m: links.address(m.asker.key)),
    Column("needs", N_("所需"), lambda m: amounts(m.asker.what)),
    Column("covered", N_("可满足"), lambda m: _("是") if m.covered else _("部分")),
    Column(
        "arrange",
        N_("办理"),
        lambda m: _("出借或划转") if _arrangeable(m) else None,
        href=lambda m: url_for("recoveries.arrange", donor=m.donor.key, asker=m.asker.key) if _arrangeable(m) else None,
    ),
]


@blueprint.get("/matches")
@allow(*STEWARDS)
def matches() -> str | Response:
    """Donors and requesters of one architecture and zone."""
    tx = reading()
    rows = matching.matches(tx)
    if request.args.get("export") == "xlsx":
        return as_xlsx("matches.xlsx", MATCHES, rows)
    if request.args.get("export") == "csv":
        return as_csv("matches.csv", MATCHES, rows)
    return render_template("recoveries/matches.html", matches=page_of(tx, rows, MATCHES))


def _arrangeable(match: matching.Match) -> bool:
    return match.movable and may("recoveries.arrange")


class ArrangeForm(FlaskForm):  # type: ignore[misc]
    """How much of what goes to who asks, for a time or for good. Of the amounts those stay that the match has."""

    key = HiddenField()
    way = RadioField(lazy("方式"), choices=[], validators=[InputRequired(lazy("请选择方式"))])
    days = IntegerField(lazy("期限"), [Optional(), NumberRange(1, MAX_DAYS)], default=30)
    guaranteed_days = IntegerField(
        lazy("保证期"), [Optional(), NumberRange(0, MAX_DAYS)], default=7, description=lazy("此期内召回不生效")
    )
    notice_days = IntegerField(
        lazy("召回提前期"), [Optional(), NumberRange(0, MAX_DAYS)], default=5, description=lazy("召回后满此天数才到期")
    )
    reason = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=500)])

    def offer(self, found: list[matching.MatchPart]) -> None:
        self.way.choices = [
            SelectChoice("lend", _("出借：由需求单位接受，到期归还")),
            SelectChoice("give", _("划转：即时办理，不再归还")),
        ]
        self.key.data = self.key.data or uuid4().hex
        known = {f"amount_{one.cls.kind}": one for one in found}
        for code in matching.MATCHED:
            if f"amount_{code}" not in known:
                del self[f"amount_{code}"]
        for name, one in known.items():
            field = self[name]
            field.label.text = kind_label(one.cls)
            field.description = _(
                "可调剂 %(wanted)s，让出单位未使用 %(idle)s",
                wanted=amount(one.wanted, one.cls),
                idle=amount(one.idle, one.cls),
            )
            if request.method == "GET":
                field.data = int(shown(one.cls.kind, min(one.wanted, one.idle)))

    def chosen(self, found: list[matching.MatchPart]) -> dict[Commodity, int]:
        """In base units; without what is nothing."""
        typed = {one.cls: self[f"amount_{one.cls.kind}"].data or 0 for one in found}
        return {cls: base_units(cls.kind, figure) for cls, figure in typed.items() if figure}


for _code in matching.MATCHED:
    setattr(
        ArrangeForm, f"amount_{_code}", IntegerField(lazy(CLASSES[_code].label), [Optional(), NumberRange(0, 10**9)])
    )


@blueprint.route("/matches/arrange", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(ArrangeForm, args=(Given("donor", required=True), Given("asker", required=True)))
def arrange() -> str | Response | tuple[str, int]:
    """Lend or move to who asks what the other has unused: ``?donor=case:12&asker=request:7``."""
    tx = reading()
    donor, asker = request.args.get("donor", "")[:64], request.args.get("asker", "")[:64]
    try:
        match = matching.standing(tx, donor, asker)
    except (Conflict, Invalid) as refused:
        return sent_back(refused, "recoveries.matches")
    found = matching.parts(tx, match)
    form = ArrangeForm()
    form.offer(found)

    def act() -> Response:
        way = OfferWay(form.way.data)
        with transaction() as write:
            made = matching.arrange(
                write, donor, asker, way, form.chosen(found), days=form.days.data or 0,
                guaranteed_days=form.guaranteed_days.data or 0, notice_days=form.notice_days.data or 0,
                reason=form.reason.data, key=f"form:{form.key.data[:64]}",
            )  # fmt: skip
        if way is OfferWay.LEND:
            return done(_("已提出 %(n)s 笔出借，等待需求单位接受", n=len(made)), "loans.index")
        return done(_("已划转 %(n)s 笔", n=len(made)), "quota.show", department_id=match.asker.department_id)

    def page() -> str:
        return render_template(
            "recoveries/arrange.html", form=form, match=match, address=links.address,
            idle=any(one.idle for one in found), parts=found,
        )  # fmt: skip

    return answer(form, act, page, Invalid, OverCapacity, Conflict, NotAllowed)


def _figures(now: Mapping[Commodity, int], found: recoveries.Recoveries) -> dict[str, str]:
    return {
        "now": _main(now),
        "under_way": _main(found.under_way),
        "recovered": _main(found.recovered),
        "given": _main(found.given),
    }


def _main(what: Mapping[Commodity, int]) -> str:
    """vCPU and memory over all architectures; the rest is in the table."""
    sums: dict[ClassCode, int] = {}
    for cls, figure in what.items():
        if cls.kind in (VCPU, MEMORY):
            sums[cls.kind] = sums.get(cls.kind, 0) + figure
    return amounts(Amount(sums))


def _classes(what: Mapping[Commodity, int]) -> str:
    """``vCPU · aarch64 32 vCPU、…``"""
    return _("、").join(f"{kind_label(cls)} {amount(figure, cls)}" for cls, figure in sorted(what.items())) or UNKNOWN


def _by_class(now: Mapping[Commodity, int], found: recoveries.Recoveries) -> list[list[str]]:
    every = sorted({*now, *found.under_way, *found.recovered, *found.given}, key=lambda c: (CLASSES.place(c.kind), c))
    return [
        [
            kind_label(cls),
            *(
                amount(part[cls], cls) if cls in part else amount(0, cls)
                for part in (now, found.under_way, found.recovered, found.given)
            ),
        ]
        for cls in every
    ]


def _class_chart(now: Mapping[Commodity, int], found: recoveries.Recoveries) -> Chart:
    classes = sorted({cls for part in (now, found.under_way, found.recovered) for cls in part if cls.kind == VCPU})
    return Chart(
        "by-class",
        _("CPU 核数:可回收、在办、本年已回收"),
        [kind_label(cls) for cls in classes],
        [
            Series(_("现可回收"), [float(now.get(cls, 0)) for cls in classes], kind="bar"),
            Series(_("在办"), [float(found.under_way.get(cls, 0)) for cls in classes], kind="bar"),
            Series(_("本年已回收"), [float(found.recovered.get(cls, 0)) for cls in classes], kind="bar"),
        ],
        unit="vCPU",
        x_label=_("类别"),
    )


def _month_chart(tx: Tx, year: datetime, today: datetime) -> Chart:
    starts = [year.replace(month=n) for n in range(1, today.month + 1)]
    months = [f"{one:%Y-%m}" for one in starts]
    ends = [*starts[1:], year.replace(year=year.year + 1)]
    sums: dict[tuple[str, ClassCode], int] = {}
    for month, freed in zip(months, recoveries.by_month(tx, list(zip(starts, ends, strict=True))), strict=True):
        for cls, figure in freed.items():
            sums[month, cls.kind] = sums.get((month, cls.kind), 0) + figure
    return Chart(
        "by-month",
        _("本年逐月回收"),
        months,
        [
            Series(
                _("%(name)s（%(more)s）", name=_(CLASSES[kind].label), more=CLASSES[kind].shown),
                [float(shown(kind, sums.get((month, kind), 0))) for month in months],
                kind="bar",
            )
            for kind in (VCPU, MEMORY)
        ],
        period=str(year.year),
        x_label=_("月份"),
    )


def _state_chart(tx: Tx) -> Chart:
    worth = select(Case.state, func.sum(Case.worth)).where(Case.state != CaseState.CLOSED.value).group_by(Case.state)
    rows = {state: float(figure) for state, figure in tx.execute(worth)}
    states = [state for state in CaseState if state.value in rows]
    return Chart(
        "by-state",
        _("在办案件按环节(折合 vCPU)"),
        [_(STATE_LABELS[state]) for state in states],
        [Series(_("折合"), [round(rows[state.value], 1) for state in states], kind="bar")],
        unit="vCPU",
        x_label=_("环节"),
        horizontal=True,
        links=[url_for("cases.index", state=state.value) for state in states],
    )


def _versions(tx: Tx) -> list[dict[str, object]]:
    """Every version under which something was taken, or that is suspended, with its regret."""
    known = recoveries.regrets(tx)
    held = {one.policy_version_id: one for one in suspensions.suspensions(tx) if one.lifted_at is None}
    return [
        {
            "version": version,
            "regret": known.get(version.id, recoveries.Regret(0, 0)),
            "suspended": held.get(version.id),
        }
        for version in policies.versions(tx)
        if version.id in known or version.id in held
    ]
