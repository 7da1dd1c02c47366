"""What keeps cases from doing harm, where it can be set: change windows, freezes, protected tags, suspensions, ceilings."""

from __future__ import annotations

from dataclasses import replace
from datetime import time, timedelta
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import (
    FloatField,
    HiddenField,
    IntegerField,
    SelectField,
    SelectMultipleField,
    StringField,
    TimeField,
)
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame
from console.access import STEWARDS, allow, proven
from console.book import reading, transaction
from console.forms import DateField, answer
from console.pages.cases.evidence import conduct
from console.programs import Given, takes
from console.words import _, lazy
from metering.cases import protections, suspensions, windows
from metering.judging import Procedure, policies
from quota.actors import Role
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid

blueprint = Blueprint("safeguards", __name__, url_prefix="/safeguards")
frame.page("cases", "safeguards.index", N_("办案约束"), order=65)

WEEKDAYS = {
    "1": N_("周一"), "2": N_("周二"), "3": N_("周三"), "4": N_("周四"), "5": N_("周五"), "6": N_("周六"), "7": N_("周日"),
}  # fmt: skip
PROCEDURE: tuple[tuple[str, str, str], ...] = (
    ("review_days", N_("审核"), N_("个工作日")),
    ("reply_days", N_("答复"), N_("个工作日")),
    ("reminder_days", N_("答复提醒"), N_("个工作日")),
    ("ruling_days", N_("裁定"), N_("个工作日")),
    ("act_days", N_("执行"), N_("个工作日")),
    ("confirm_days", N_("确认删除"), N_("个工作日")),
    ("fresh_days", N_("执行前评估数据不早于"), N_("天")),
    ("stop_watch_days", N_("关机观察"), N_("天")),
    ("bin_days", N_("回收站"), N_("天")),
    ("listing_hours", N_("回收、删除所依据清单的最长时效"), N_("小时")),
    ("shrink_watch_days", N_("缩容观察"), N_("天")),
    ("rollback_level", N_("缩容后P95超过此值即提出回退"), "%"),
    ("exemption_days", N_("豁免最长"), N_("天")),
    ("newcomer_days", N_("新上线豁免到上线后"), N_("天")),
    ("fast_growth", N_("快速通道增幅上限"), "×100%"),
    ("temporary_days", N_("临时扩容最长"), N_("天")),
    ("temporary_growth", N_("临时扩容增幅上限"), "×100%"),
    ("cases_per_run", N_("单次立案上限"), N_("件")),
    ("worth_per_run", N_("单次回收上限"), "vCPU"),
    ("cases_per_department", N_("一个单位在办上限"), N_("件")),
    ("worth_per_department", N_("一个单位在办回收上限"), "vCPU"),
    ("backoff_days", N_("首次静默期(每次加倍)"), N_("天")),
    ("backoff_limit_days", N_("静默期最长"), N_("天")),
    ("attempts", N_("工单失败几次即结案"), N_("次")),
    ("system_slack", N_("系统整体CPU均值低于此值时不扩容"), "%"),
    ("tier_busy", N_("同构组整体CPU达到此值时增加一台云主机"), "%"),
    ("tier_calm", N_("减少一台后同构组整体CPU仍低于此值才归还"), "%"),
    ("tier_hold_hours", N_("归还前须持续低于该值"), N_("小时")),
    ("regret_limit", N_("误回收率上限,超过即暂停策略版本"), "×100%"),
    ("regret_least", N_("误回收率至少按多少件计算"), N_("件")),
)
"""Every parameter of a procedure that people are told of: name, words, unit."""


class SuspensionForm(FlaskForm):  # type: ignore[misc]
    pool = SelectField(lazy("资源池"), coerce=int)

    def offer(self, tx: Tx) -> None:
        rows = tx.execute(select(Pool.id, Pool.name).where(Pool.active).order_by(Pool.name))
        self.pool.choices = [SelectChoice("0", _("全部资源池")), *(SelectChoice(str(id_), name) for id_, name in rows)]

    def chosen(self) -> int | None:
        return self.pool.data or None


class WindowForm(SuspensionForm):
    weekdays = SelectMultipleField(lazy("星期"), choices=[], description=lazy("按起始那天算;可多选"))
    begins = TimeField(lazy("起"), [InputRequired(lazy("请填写起始时刻"))])
    ends = TimeField(lazy("止"), [InputRequired(lazy("请填写结束时刻"))], description=lazy("早于起始时刻的为次日"))

    def offer(self, tx: Tx) -> None:
        super().offer(tx)
        self.weekdays.choices = [SelectChoice(day, _(label)) for day, label in WEEKDAYS.items()]


class FreezeForm(SuspensionForm):
    first_day = DateField(lazy("首日"), [InputRequired(lazy("请填写首日"))])
    last_day = DateField(lazy("末日"), [InputRequired(lazy("请填写末日"))])
    reason = StringField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=256)])


class TagForm(FlaskForm):  # type: ignore[misc]
    name = StringField(lazy("标签名"), [InputRequired(lazy("请填写标签名")), Length(max=64)])
    value = StringField(lazy("标签值"), [Optional(), Length(max=128)], description=lazy("不填则凡有此标签的都受保护"))
    reason = StringField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=256)])


def hours(window: windows.ChangeWindow) -> str:
    """``周六、周日 22:00–次日06:00``"""
    days = _("、").join(_(WEEKDAYS[day]) for day in window.weekdays)
    ends = _clock(window.ends)
    until = _("次日%(at)s", at=ends) if window.ends <= window.begins else ends
    return f"{days} {_clock(window.begins)}–{until}"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


@blueprint.get("/")
@allow(*STEWARDS)
def index() -> str:
    tx = reading()
    version, rules = conduct(tx)
    return render_template(
        "safeguards/index.html",
        windows=windows.windows(tx),
        freezes=windows.freezes(tx),
        tags=protections.tags(tx),
        suspensions=suspensions.suspensions(tx),
        version=version,
        procedure=procedure(rules),
        hours=hours,
    )


def procedure(rules: Procedure) -> list[tuple[str, str, Any]]:
    """(words, unit, figure) of every parameter."""
    return [(_(label), _(unit), getattr(rules, name)) for name, label, unit in PROCEDURE]


@blueprint.route("/windows/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(WindowForm)
def set_window() -> str | Response | tuple[str, int]:
    form = WindowForm()
    form.offer(reading())

    def act() -> Response:
        with transaction() as tx:
            windows.set_window(
                tx, "".join(form.weekdays.data or []), _minutes(form.begins.data), _minutes(form.ends.data),
                form.chosen(),
            )  # fmt: skip
        return _back(_("变更窗口已设定"))

    told = _("回收和缩容的工单只在窗口内执行;归还和扩容不受限。没有窗口时随时可执行。")
    return answer(form, act, lambda: _page(form, _("设定变更窗口"), told))


def _minutes(at: time) -> int:
    return at.hour * 60 + at.minute


@blueprint.route("/freezes/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(FreezeForm)
def freeze() -> str | Response | tuple[str, int]:
    form = FreezeForm()
    form.offer(reading())

    def act() -> Response:
        with transaction() as tx:
            windows.freeze(tx, form.first_day.data, form.last_day.data, form.reason.data, form.chosen())
        return _back(_("封网期已设定"))

    told = _("封网期内不执行回收和缩容;已下达而未发出的工单顺延。")
    return answer(form, act, lambda: _page(form, _("设定封网期"), told))


@blueprint.route("/tags/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(TagForm)
def protect_tag() -> str | Response | tuple[str, int]:
    form = TagForm()

    def act() -> Response:
        with transaction() as tx:
            protections.add(tx, form.name.data, form.value.data or "", form.reason.data)
        return _back(_("保护标签已设定"))

    told = _("带此标签的资源不再被回收或缩容,在办的案件随即结束。")
    return answer(form, act, lambda: _page(form, _("设定保护标签"), told), Invalid, Conflict)


class ProcedureForm(FlaskForm):  # type: ignore[misc]
    effective_from = DateField(lazy("生效日"), [InputRequired(lazy("请填写生效日"))])
    reason = StringField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=500)])
    confirmed = HiddenField()


for _name, _label, _unit in PROCEDURE:
    _kind = FloatField if isinstance(getattr(Procedure(), _name), float) else IntegerField
    setattr(
        ProcedureForm,
        _name,
        _kind(
            lazy(_label),
            [InputRequired(lazy("请填写正数"))],
            description=lazy(_unit) if _unit[0] not in "%×v" else _unit,
        ),
    )


@blueprint.route("/procedure", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(ProcedureForm)
def amend() -> str | Response | tuple[str, int]:
    """Change clocks and ceilings: the next version of the policy, with the same rules; differences are shown first."""
    tx = reading()
    version, _rules = conduct(tx)
    if version is None:
        return _back(_("还没有启用策略"))
    newest = policies.newest(tx, version.name) or version
    tomorrow = tx.now.astimezone(ZONE).date() + timedelta(days=1)
    day = max(tomorrow, newest.effective_from)
    form = ProcedureForm(data={**newest.rules().to_json(), "effective_from": day})

    def page(changes: list[tuple[str, str, Any, Any]] | None = None) -> str:
        fields = [form[name] for name, _l, _u in PROCEDURE]
        return render_template(
            "safeguards/procedure.html", form=form, fields=fields, changes=changes or [], version=newest
        )

    def act() -> str | Response:
        wanted = replace(newest.rules(), **{name: form[name].data for name, _l, _u in PROCEDURE})
        changes = [
            (_(label), _(unit), getattr(newest.rules(), name), getattr(wanted, name))
            for name, label, unit in PROCEDURE
            if getattr(newest.rules(), name) != getattr(wanted, name)
        ]
        if changes and form.confirmed.data != "1":
            return page(changes)
        with transaction() as writing:
            if suspensions.holding(writing, newest.id) is not None:
                raise Invalid("procedure.suspended", N_("策略版本已暂停,须先恢复执行或启用新的策略"))
            policies.amend(
                writing, version.name, wanted, effective_from=form.effective_from.data, reason=form.reason.data
            )
        return _back(_("办案参数已修订,自 %(day)s 起生效", day=form.effective_from.data))

    return answer(form, act, page)


@blueprint.post("/<kind>/<int:row_id>/lift")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@proven
@takes()
def lift(kind: str, row_id: int) -> Response:
    """A window, a freeze or a tag holds no longer."""
    with transaction() as tx:
        if kind == "tags":
            protections.lift(tx, protections.tag(tx, row_id))
        elif kind == "freezes":
            windows.lift(tx, windows.frozen(tx, row_id))
        else:
            windows.lift(tx, windows.window(tx, row_id))
    return _back(_("已取消"))


@blueprint.post("/suspensions/<int:suspension_id>/lift")
@allow(Role.AUTHORITY)
@takes(None, Given("reason", label=N_("理由"), required=True))
def resume(suspension_id: int) -> Response:
    """Let a suspended policy version take again."""
    with transaction() as tx:
        suspensions.lift(tx, suspensions.suspension(tx, suspension_id), request.form.get("reason", ""))
    return _back(_("策略版本已恢复执行"))


def _back(said: str) -> Response:
    flash(said, "success")
    return redirect(url_for("safeguards.index"))


def _page(form: FlaskForm, title: str, said: str) -> str:
    return render_template("safeguards/new.html", form=form, title=title, said=said)
