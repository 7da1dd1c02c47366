"""监管事项: what is watched, by which means, from what figure on who is warned: drafted and signed by two of the authority."""

from __future__ import annotations

from datetime import date

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import BooleanField, DecimalField, IntegerField, RadioField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange

from console import frame
from console.access import STEWARDS, allow, proven
from console.book import reading, settings, transaction
from console.forms import DateField, answer, done, given_up, signed, signing
from console.lists import Column, Filter, listing
from console.pages.monitoring.supervision_alerts import answers, limited
from console.programs import listed, takes, unfit
from console.words import _, lazy
from metering.supervision import (
    LEVEL_LABELS,
    MEASURES,
    OBJECT_LABELS,
    SIDE_LABELS,
    Answerer,
    SupervisionItem,
    SupervisionLevel,
    SupervisionSide,
    items,
)
from quota.actors import ROLE_LABELS, Role
from quota.errors import N_, Invalid

blueprint = Blueprint("supervision_items", __name__, url_prefix="/supervision/items")
frame.under("supervision_alerts.index", "supervision_items")

COLUMNS = [
    Column("code", N_("编码"), lambda one: one.code, title=True, sort=SupervisionItem.code,
           href=lambda one: url_for("supervision_items.show", item_id=one.id)),
    Column("name", N_("名称"), lambda one: one.name),
    Column("state", N_("状态"), lambda one: f"draft_{one.standing}", state=True),
    Column("stops", N_("停止监测"), lambda one: one.stops, minor=True),
    Column("measure", N_("监测指标"), lambda one: _(one.measured.label), code=lambda one: one.measure),
    Column("type", N_("对象类型"), lambda one: _(OBJECT_LABELS[one.of]), code=lambda one: one.object_type),
    Column("limit", N_("限值"), limited, code=lambda one: one.threshold),
    Column("hold_days", N_("持续天数"), lambda one: one.hold_days, number=True),
    Column("level", N_("级别"), lambda one: _(LEVEL_LABELS[SupervisionLevel(one.level)]), code=lambda one: one.level),
    Column("answerer", N_("由谁答复"), answers, code=lambda one: one.answerer, minor=True),
    Column("effective_from", N_("施行日期"), lambda one: one.effective_from, sort=SupervisionItem.effective_from, text=str),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), lambda q, v: q.where(SupervisionItem.enacted_at.is_not(None) if v == "enacted" else SupervisionItem.enacted_at.is_(None)),
           options={"enacted": N_("已施行"), "other": N_("草案和已撤回")}),
]  # fmt: skip


class SupervisionItemForm(FlaskForm):  # type: ignore[misc]
    code = StringField(lazy(N_("编码")), [InputRequired(lazy(N_("请填写编码"))), Length(max=32)],
                       description=lazy(N_("同一编码的新版本自施行日期起取代旧版本")))  # fmt: skip
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=128)])
    requirement = TextAreaField(lazy(N_("监管要求")), [Length(max=items.LONGEST)])
    means = TextAreaField(lazy(N_("监管方式")), [Length(max=items.LONGEST)])
    measure = SelectField(lazy(N_("监测指标")), choices=[])
    object_type = SelectField(
        lazy(N_("对象类型")), choices=[SelectChoice(one.value, lazy(label)) for one, label in OBJECT_LABELS.items()]
    )
    chosen = TextAreaField(
        lazy(N_("对象编码")), [Length(max=100_000)], description=lazy(N_("每行一个；不填为该类型的全部对象"))
    )
    side = RadioField(lazy(N_("何时超限")), choices=[SelectChoice(one.value, lazy(label)) for one, label in SIDE_LABELS.items()],
                      validators=[InputRequired(lazy(N_("请选择高于或低于")))])  # fmt: skip
    threshold = DecimalField(lazy(N_("限值")), [InputRequired(lazy(N_("请填写限值")))], places=None,
                         description=lazy(N_("按监测指标的单位；恰为限值不算超限")))  # fmt: skip
    hold_days = IntegerField(
        lazy(N_("持续天数")), [InputRequired(lazy(N_("请填写持续天数"))), NumberRange(0, items.MOST_HOLD_DAYS)],
        description=lazy(N_("超限持续满这么多天才预警，0 为立即")),
    )  # fmt: skip
    level = SelectField(
        lazy(N_("级别")), choices=[SelectChoice(one.value, lazy(label)) for one, label in LEVEL_LABELS.items()]
    )
    answerer = SelectField(
        lazy(N_("由谁答复")), choices=[SelectChoice(one.value, lazy(ROLE_LABELS[Role(one.value)])) for one in Answerer],
        description=lazy(N_("使用单位和云服务商指对象所属的一方；运营监督方总会得知")),
    )  # fmt: skip
    tells_authority = BooleanField(lazy(N_("同时告知主管部门")))
    tells_department = BooleanField(lazy(N_("同时告知所属使用单位")))
    tells_provider = BooleanField(lazy(N_("同时告知所属云服务商")))
    reply_days = IntegerField(
        lazy(N_("答复期限（工作日）")),
        [InputRequired(lazy(N_("请填写答复期限"))), NumberRange(1, items.MOST_REPLY_DAYS)],
    )
    effective_from = DateField(lazy(N_("施行日期")), [InputRequired(lazy(N_("请填写施行日期")))])
    reason = TextAreaField(lazy(N_("制定依据")), [InputRequired(lazy(N_("请写明制定依据"))), Length(max=2000)])

    def terms(self) -> items.SupervisionTerms:
        names = set(items.SupervisionTerms.__dataclass_fields__) - {"chosen"}
        chosen = tuple(one.strip() for one in (self.chosen.data or "").splitlines() if one.strip())
        return items.SupervisionTerms(chosen=chosen, **{name: self._fields[name].data for name in names})


class StopForm(FlaskForm):  # type: ignore[misc]
    effective_from = DateField(lazy(N_("自何日起停止监测")), [InputRequired(lazy(N_("请填写日期")))])
    reason = TextAreaField(lazy(N_("制定依据")), [InputRequired(lazy(N_("请写明制定依据"))), Length(max=2000)])


def _today() -> date:
    return reading().now.astimezone(settings().zone).date()


@blueprint.get("/")
@allow(*STEWARDS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    found = listing(reading(), select(SupervisionItem), COLUMNS, key=SupervisionItem.id, filters=FILTERS, sort="code")
    return found.exported("supervision-items") or render_template("supervision_items/index.html", found=found)


@blueprint.get("/<int:item_id>")
@allow(*STEWARDS)
def show(item_id: int) -> str:
    tx = reading()
    one = items.item(tx, item_id)
    watched = items.in_force(tx, _today()).get(one.code)
    told = [
        label
        for label, so in (
            (N_("运营监督方"), True), (N_("主管部门"), one.tells_authority),
            (N_("所属使用单位"), one.tells_department), (N_("所属云服务商"), one.tells_provider),
        )
        if so
    ]  # fmt: skip
    return render_template(
        "supervision_items/show.html", one=one, watched=watched is not None and watched.id == one.id, limit=limited(one), answerer=answers(one),
        measure=_(one.measured.label), of=_(OBJECT_LABELS[one.of]), level=_(LEVEL_LABELS[SupervisionLevel(one.level)]),
        told=_("、").join(_(label) for label in told), chosen=_("、").join(one.chosen) or _("全部"),
        signing=signing(one, "supervision_items.sign", "supervision_items.withdraw", item_id=one.id),
    )  # fmt: skip


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@unfit("who drafts signs, in person")
def draft() -> str | Response | tuple[str, int]:
    """Draft an item; who drafts has signed."""
    form = SupervisionItemForm(
        side=SupervisionSide.ABOVE.value,
        level=SupervisionLevel.WARNING.value,
        hold_days=0,
        reply_days=5,
        effective_from=_today(),
    )
    form.measure.choices = [
        SelectChoice(one.code, _("%(name)s（%(more)s）", name=_(one.label), more=_(one.unit)))
        for one in MEASURES.values()
    ]

    def act() -> Response:
        with transaction() as tx:
            made = items.draft(tx, form.terms(), form.effective_from.data, form.reason.data or "").id
        return done(_("已起草并由您签署，另一人签署后施行"), "supervision_items.show", item_id=made)

    return answer(form, act, lambda: render_template("supervision_items/draft.html", form=form), Invalid)


@blueprint.route("/<int:item_id>/stop", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@unfit("who drafts signs, in person")
def stop(item_id: int) -> str | Response | tuple[str, int]:
    """Draft that it is watched no more; who drafts has signed."""
    one = items.item(reading(), item_id)
    form = StopForm(effective_from=_today())

    def act() -> Response:
        with transaction() as tx:
            made = items.draft_end(tx, item_id, form.effective_from.data, form.reason.data or "").id
        return done(_("已起草并由您签署，另一人签署后施行"), "supervision_items.show", item_id=made)

    return answer(form, act, lambda: render_template("supervision_items/stop.html", form=form, one=one), Invalid)


@blueprint.post("/<int:item_id>/sign")
@allow(Role.AUTHORITY)
@proven
@unfit("two people sign in person, each having looked at the page")
def sign(item_id: int) -> Response:
    """The second signature enacts."""
    return signed(
        lambda tx: items.sign(tx, item_id), _("已签署，自施行日期起监测"), "supervision_items.show", item_id=item_id
    )


@blueprint.post("/<int:item_id>/withdraw")
@allow(Role.AUTHORITY)
@takes(None)
def withdraw(item_id: int) -> Response:
    """Give a draft up."""
    return given_up(lambda tx: items.withdraw(tx, item_id), "supervision_items.show", item_id=item_id)
