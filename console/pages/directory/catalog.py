"""The service catalogue: everybody reads it; the supervisor and the authority offer items and withdraw them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import String, cast, func, select
from werkzeug.wrappers import Response
from wtforms import DecimalField, IntegerField, SelectField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import frame
from console.access import BUSINESS, allow, proven
from console.book import reading, transaction
from console.forms import answer, done
from console.founding import Look, checklist, entering
from console.lists import Column, Filter, Rows, listing
from console.programs import listed, takes
from console.words import ARCH_LABELS, KINDS, ORDERED, _, amounts, item_name, joined, lazy
from quota.actors import Actor, Role
from quota.audit import AuditRecord
from quota.db import Tx
from quota.directory import LONGEST_DELIVERY, CatalogItem, catalog
from quota.errors import N_, Invalid
from quota.requests import OPEN, Request, RequestLine, RequestState
from quota.units import CLASSES, Amount, Arch, base_units

blueprint = Blueprint("catalog", __name__, url_prefix="/catalog")
frame.page("requests", "catalog.index", N_("服务目录"), order=40)

KEEPERS = (Role.SUPERVISOR, Role.AUTHORITY)
STATES = {"offered": N_("可申请"), "retired": N_("已下架")}
CHARGED = (
    N_("台·月"), N_("个·月"), N_("GB·月"), N_("Mbps·月"), N_("实例·月"), N_("套·年"), N_("卡·月"),
)  # fmt: skip
"""What an item is counted by."""
VERBS = {
    "catalog.offer": N_("列入服务目录"),
    "catalog.withdraw": N_("下架"),
    "catalog.restore": N_("重新上架"),
}
MOST = 1_000_000


def standing(item: CatalogItem) -> str:
    return "offered" if item.active else "retired"


def architectures(item: CatalogItem) -> str:
    return joined(ARCH_LABELS[Arch(one)] for one in item.archs)


class ItemForm(FlaskForm):  # type: ignore[misc]
    code = StringField(
        lazy(N_("代码")),
        [InputRequired(lazy(N_("请填写代码"))), Length(max=48)],
        description=lazy(N_("字母、数字和 . - _,列入后不能更改")),
    )
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=96)])
    name_en = StringField(lazy(N_("英文名称")), [Length(max=96)])
    service = SelectField(lazy(N_("服务类型")), [InputRequired(lazy(N_("请选择服务类型")))])
    archs = SelectMultipleField(
        lazy(N_("架构")), [InputRequired(lazy(N_("请选择至少一种架构")))], description=lazy(N_("可多选"))
    )
    unit = SelectField(lazy(N_("计费单位")), [InputRequired()])
    delivery_days = IntegerField(
        lazy(N_("交付时限")),
        [InputRequired(lazy(N_("请填写工作日数"))), NumberRange(1, LONGEST_DELIVERY)],
        default=2,
    )

    fits = StringField(
        lazy(N_("加配于")),
        [Length(max=1000)],
        description=lazy(
            N_("加配件填写可以加配它的条目代码，以空格分开：只能与其中之一同在一份申请中申请；单独提供的留空")
        ),
    )

    def offer(self) -> None:
        """Fill the choices."""
        self.service.choices = [SelectChoice(code, _(label)) for code, label in ORDERED.items()]
        self.archs.choices = [SelectChoice(one.value, _(label)) for one, label in ARCH_LABELS.items()]
        self.unit.choices = [SelectChoice(one, _(one)) for one in CHARGED]

    def figures(self) -> list[Any]:
        """The fields of what one piece takes, in the order of kinds."""
        return [self[kind] for kind in CLASSES.open()]

    def takes(self) -> Amount:
        """What one piece takes, in base units. Raises Invalid for a part of a base unit."""
        return Amount({kind: base_units(kind, self[kind].data) for kind in CLASSES.open() if self[kind].data})


def item_form() -> ItemForm:
    """The form with a field for each resource class that there is."""
    figures: dict[str, Any] = {
        kind: DecimalField(lazy(CLASSES[kind].label), [Optional(), NumberRange(0, MOST)], places=None)
        for kind in CLASSES.open()
    }
    form: ItemForm = type("ItemForm", (ItemForm,), figures)()
    form.offer()
    return form


class WithdrawItemForm(FlaskForm):  # type: ignore[misc]
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=2000)])


def _offered_on(query: Rows, value: str) -> Rows:
    # A list of words in JSON, searched as text: the same on both databases.
    words = cast(CatalogItem.archs, String)
    return query.where(words.like(f'%"{value}"%') | words.like(f'%"{Arch.ANY.value}"%'))


COLUMNS = [
    Column("name", N_("名称"), item_name, sort=CatalogItem.name, title=True,
           href=lambda i: url_for("catalog.show", item_id=i.id)),
    Column("code", N_("代码"), lambda i: i.code, sort=CatalogItem.code),
    Column("service", N_("服务类型"), lambda i: _(KINDS.get(i.service, i.service)), code=lambda i: i.service, sort=CatalogItem.service),
    Column("takes", N_("每件占用"), lambda i: amounts(i.amounts)),
    Column("archs", N_("架构"), architectures),
    Column("unit", N_("计费单位"), lambda i: _(i.unit)),
    Column("delivery_days", N_("交付时限"), lambda i: i.delivery_days, unit=N_("个工作日"), number=True,
           sort=CatalogItem.delivery_days),
    Column("fits", N_("加配于"), lambda i: " ".join(i.fits) or None, minor=True),
    Column("state", N_("状态"), standing, state=True),
]  # fmt: skip
FILTERS = [
    Filter("q", N_("名称或代码"), lambda q, v: q.where(
        frame.matching(v, CatalogItem.name, CatalogItem.code, CatalogItem.name_en))),
    Filter("service", N_("服务类型"), lambda q, v: q.where(CatalogItem.service == v), options=ORDERED),
    Filter("arch", N_("架构"), _offered_on,
           options={one.value: label for one, label in ARCH_LABELS.items() if one is not Arch.ANY}),
    Filter("state", N_("状态"), lambda q, v: q.where(CatalogItem.active.is_(v == "offered")), options=STATES,
           default="offered"),
]  # fmt: skip


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    items = listing(reading(), select(CatalogItem), COLUMNS, key=CatalogItem.id, filters=FILTERS, sort="service")
    return items.exported("catalog") or render_template("catalog/index.html", items=items)


@blueprint.get("/<int:item_id>")
@allow(*BUSINESS)
def show(item_id: int) -> str:
    tx = reading()
    item = catalog.item(tx, item_id)
    return render_template(
        "catalog/show.html",
        item=item,
        name=item_name(item),
        standing=standing(item),
        service=KINDS.get(item.service, item.service),
        architectures=architectures(item),
        history=_history(tx, item),
    )


@blueprint.post("/ready")
@allow(*KEEPERS)
@takes()
def ready() -> Response:
    """Take the ready-made catalogue, without prices; codes that are taken stay as they are."""
    with transaction() as tx:
        count = entering.ready_catalogue(tx)
    flash(_("已列入 %(n)s 个现成条目（示例，不含价格），不用的可以下架", n=count), "success")
    return redirect(url_for("catalog.index"))


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(item_form, sends={"step": "confirm"})
def offer() -> str | Response | tuple[str, int]:
    form = item_form()

    def page() -> str:
        return render_template("catalog/offer.html", form=form, units=CLASSES)

    def act() -> str | Response:
        step = request.form.get("step")
        if step == "edit":
            return page()
        if step != "confirm":
            return render_template("catalog/check.html", answers=_answers(form))
        with transaction() as tx:
            item = catalog.offer(
                tx, form.code.data, form.name.data, form.service.data, form.takes(),
                [Arch(arch) for arch in form.archs.data], name_en=form.name_en.data or "",
                unit=form.unit.data, delivery_days=form.delivery_days.data, fits=(form.fits.data or "").split(),
            )  # fmt: skip
        return done(_("已列入服务目录"), "catalog.show", item_id=item.id)

    return answer(form, act, page)


@blueprint.route("/<int:item_id>/withdraw", methods=["GET", "POST"])
@allow(*KEEPERS)
@proven
@takes(WithdrawItemForm)
def withdraw(item_id: int) -> str | Response | tuple[str, int]:
    tx = reading()
    item, form = catalog.item(tx, item_id), WithdrawItemForm()

    def withdrawn() -> Response:
        with transaction() as writing:
            catalog.withdraw(writing, catalog.item(writing, item_id), form.reason.data)
        return done(_("已下架：%(name)s", name=item_name(item)), "catalog.show", item_id=item_id)

    def page() -> str:
        drafts, open_ = _named_by(tx, item)
        return render_template(
            "catalog/withdraw.html", form=form, item=item, name=item_name(item), drafts=drafts, open=open_
        )

    return answer(form, withdrawn, page)


@blueprint.post("/<int:item_id>/restore")
@allow(*KEEPERS)
@takes()
def restore(item_id: int) -> Response:
    with transaction() as tx:
        item = catalog.item(tx, item_id)
        catalog.restore(tx, item)
    flash(_("已重新上架：%(name)s", name=item_name(catalog.item(reading(), item_id))), "success")
    return redirect(url_for("catalog.show", item_id=item_id))


def _answers(form: ItemForm) -> list[tuple[str, str, str]]:
    """What would be offered, to be looked at once more. Raises Invalid where ``offer`` would for the figures."""
    takes = form.takes()
    if not takes:
        raise Invalid("catalog.empty", N_("条目 %(code)s 没有写明占用的资源"), code=form.code.data, field="vcpu")
    if reading().scalar(select(CatalogItem.id).where(CatalogItem.code == form.code.data)) is not None:
        raise Invalid("catalog.twice", N_("服务目录中已有代码 %(code)s"), code=form.code.data, field="code")
    return [
        (_("代码"), form.code.data, ""),
        (_("名称"), form.name.data, ""),
        (_("英文名称"), form.name_en.data or "—", ""),
        (_("服务类型"), _(KINDS[form.service.data]), ""),
        (_("每件占用"), amounts(takes), ""),
        (_("架构"), joined(ARCH_LABELS[Arch(one)] for one in form.archs.data), ""),
        (_("计费单位"), _(form.unit.data), ""),
        (_("交付时限"), _("%(days)s 个工作日", days=form.delivery_days.data), ""),
        (_("加配于"), form.fits.data or "—", ""),
    ]


def _named_by(tx: Tx, item: CatalogItem) -> tuple[int, int]:
    """How many drafts, and how many requests under way, name ``item``."""
    query = (
        select(func.count(RequestLine.request_id.distinct()))
        .join(Request, Request.id == RequestLine.request_id)
        .where(RequestLine.item_id == item.id)
    )
    return (
        tx.scalar(query.where(Request.state == RequestState.DRAFT.value)) or 0,
        tx.scalar(query.where(Request.state.in_(OPEN))) or 0,
    )


def _history(tx: Tx, item: CatalogItem) -> list[dict[str, object]]:
    records = tx.scalars(
        select(AuditRecord).where(AuditRecord.subject == item.subject).order_by(AuditRecord.sequence.desc())
    )
    return [
        {"at": one.at, "who": one.actor, "what": _(VERBS.get(one.action, one.action)), "reason": one.reason}
        for one in records
    ]


@frame.finder(*BUSINESS, order=60)
def _find(tx: Tx, _actor: Actor, text: str, limit: int) -> list[frame.Hit]:
    found = tx.scalars(
        select(CatalogItem)
        .where(frame.matching(text, CatalogItem.name, CatalogItem.code))
        .order_by(CatalogItem.active.desc(), CatalogItem.code)
        .limit(limit)
    )
    return [
        frame.Hit(
            N_("服务目录"),
            item_name(one),
            url_for("catalog.show", item_id=one.id),
            f"{one.code} · {amounts(one.amounts)}",
            standing(one),
        )
        for one in found
    ]


@checklist.step("catalogue", N_("服务目录"), N_("列出可以申请的规格和服务；没有目录就不能申请。"), Role.AUTHORITY, Role.SUPERVISOR,
                endpoint="catalog.index", order=90)  # fmt: skip
def _offered(look: Look) -> bool:
    return look.tx.scalar(select(CatalogItem.id).where(CatalogItem.active).limit(1)) is not None
