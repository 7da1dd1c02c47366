"""Tariffs: every price that was entered, since when it holds; the authority enters and corrects."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from flask import Blueprint, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import IntegerField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import frame
from console.access import BUSINESS, allow
from console.book import reading, transaction
from console.forms import DateField, answer, done
from console.founding import Look, checklist
from console.lists import Column, Filter, listing
from console.programs import listed, takes
from console.words import ARCH_LABELS, CLASS_LABELS, UNKNOWN, _, item_name, kind_label, lazy, who
from metering.statements import PER_LABELS, Per, Tariff, closings, tariffs
from providers.contracts import Contract
from quota.actors import Role
from quota.db import Tx
from quota.directory import CatalogItem, CloudProvider
from quota.errors import N_, Invalid, NotFound
from quota.units import CLASSES, Arch, ClassCode

blueprint = Blueprint("tariffs", __name__, url_prefix="/reports/tariffs")
frame.page("reports", "tariffs.index", N_("价目"), order=40)


def priced(tariff: Tariff) -> str:
    """``46 元/核·月``."""
    return (
        f"{tariff.price.normalize():f} "
        + _("元")
        + f"/{_(CLASSES[ClassCode(tariff.kind)].shown)}·{_(PER_LABELS[Per(tariff.per)])}"
    )


def _scope(tariff: Tariff) -> str:
    parts = [
        _(ARCH_LABELS[Arch(tariff.arch)]) if tariff.arch else "",
        tariff.provider.name if tariff.provider else "",
        item_name(tariff.item) if tariff.item else "",
        _("合同 %(number)s", number=tariff.contract.number) if tariff.contract else "",
    ]
    return " · ".join(part for part in parts if part) or _("通用")


COLUMNS = [
    Column("kind", N_("类别"), lambda t: kind_label(t.kind), code=lambda t: t.kind, sort=Tariff.kind,
           href=lambda t: url_for("tariffs.show", tariff_id=t.id), title=True),
    Column("scope", N_("适用"), _scope),
    Column("price", N_("单价"), lambda t: t.price, sort=Tariff.price, unit=N_("元"), number=True,
           text=lambda v: f"{v.normalize():f}"),
    Column("per", N_("计价单位"), lambda t: f"{_(CLASSES[ClassCode(t.kind)].shown)}·{_(PER_LABELS[Per(t.per)])}"),
    Column("stopped", N_("关机比例"), lambda t: t.stopped_share, unit="%", number=True),
    Column("from", N_("生效日期"), lambda t: t.effective_from, sort=Tariff.effective_from),
    Column("label", N_("标记"), lambda t: _(t.label) if t.label else None),
    Column("entered", N_("录入"), lambda t: t.entered_at, sort=Tariff.entered_at, minor=True),
    Column("by", N_("录入人"), lambda t: t.entered_by, text=who, minor=True),
]  # fmt: skip
FILTERS = [Filter("kind", N_("类别"), lambda q, v: q.where(Tariff.kind == v), options=CLASS_LABELS)]


class TariffForm(FlaskForm):  # type: ignore[misc]
    kind = SelectField(lazy(N_("资源类别")), choices=[])
    arch = SelectField(lazy(N_("架构")), choices=[], description=lazy(N_("仅计算、数据库等分架构的类别可选")))
    provider = SelectField(lazy(N_("云服务商")), coerce=int)
    item = SelectField(lazy(N_("目录条目")), coerce=int)
    contract = SelectField(
        lazy(N_("合同")),
        coerce=int,
        default=0,
        description=lazy(N_("合同自有的价格，先于其他价格；只用于该合同覆盖的部分")),
    )
    price = StringField(lazy(N_("单价(元)")), [InputRequired(lazy(N_("请填写单价"))), Length(max=20)])
    per = SelectField(lazy(N_("计价时间")), choices=[])
    stopped_share = IntegerField(
        lazy(N_("关机计费比例(%)")), [InputRequired(lazy(N_("请填写0至100的整数"))), NumberRange(0, 100)], default=100
    )
    effective_from = DateField(lazy(N_("生效日期")), [InputRequired(lazy(N_("请填写生效日期")))])
    label = StringField(lazy(N_("标记")), [Length(max=32)], description=lazy(N_("未正式批准的价格请标“示例”")))
    reason = StringField(lazy(N_("依据或更正原因")), [Optional(), Length(max=500)])

    def offer(self, tx: Tx) -> None:
        """Fill the choices from the book."""
        self.kind.choices = [SelectChoice(kind, _(CLASSES[kind].label)) for kind in CLASSES.open()]
        self.arch.choices = [
            SelectChoice("", _("不限")),
            *(SelectChoice(arch.value) for arch in Arch if arch is not Arch.ANY),
        ]
        self.per.choices = [SelectChoice(per.value, _(label)) for per, label in PER_LABELS.items()]
        companies = tx.execute(select(CloudProvider.id, CloudProvider.name).order_by(CloudProvider.name))
        self.provider.choices = [
            SelectChoice("0", _("不限")),
            *(SelectChoice(str(one), name) for one, name in companies),
        ]
        items = tx.scalars(select(CatalogItem).order_by(CatalogItem.name))
        self.item.choices = [
            SelectChoice("0", _("不限")),
            *(SelectChoice(str(one.id), item_name(one)) for one in items),
        ]
        agreed = tx.execute(select(Contract.id, Contract.number).order_by(Contract.number))
        self.contract.choices = [
            SelectChoice("0", _("不限")),
            *(SelectChoice(str(one), number) for one, number in agreed),
        ]

    def enter(self, tx: Tx) -> Tariff:
        """Enter what was filled in. Raises Invalid."""
        try:
            price = Decimal(self.price.data.strip())
        except InvalidOperation:
            raise Invalid("tariff.price.text", N_("单价不是数"), field="price") from None
        return tariffs.enter(
            tx,
            ClassCode(self.kind.data),
            price,
            self.effective_from.data,
            per=Per(self.per.data),
            arch=Arch(self.arch.data) if self.arch.data else None,
            provider_id=self.provider.data or None,
            catalog_item_id=self.item.data or None,
            contract_id=self.contract.data or None,
            stopped_share=self.stopped_share.data,
            label=(self.label.data or "").strip(),
            reason=self.reason.data or "",
        )


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    query = select(Tariff).options(joinedload(Tariff.provider), joinedload(Tariff.item), joinedload(Tariff.contract))
    found = listing(reading(), query, COLUMNS, key=Tariff.id, filters=FILTERS, sort="-from")
    return found.exported("tariffs") or render_template("tariffs/index.html", tariffs=found)


@blueprint.get("/<int:tariff_id>")
@allow(*BUSINESS)
def show(tariff_id: int) -> str:
    tx = reading()
    one = tx.get(Tariff, tariff_id)
    if one is None:
        raise NotFound("tariff.none", N_("没有这条价目"))
    last = tariffs.corrected_by(tx, one)
    return render_template(
        "tariffs/show.html", one=one, scope=_scope(one), priced=priced(one),
        corrected=last if last is not None and last.id != one.id else None,
    )  # fmt: skip


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(TariffForm, sends={"sure": "1"})
def enter() -> str | Response | tuple[str, int]:
    """Fill in, look at what it changes, then enter: the second step posts the same fields with ``sure``."""
    form = TariffForm()
    form.offer(reading())

    def act() -> str | Response:
        if request.form.get("sure") != "1":
            return render_template("tariffs/check.html", form=form, **_consequence(form))
        with transaction() as tx:
            tariff = form.enter(tx)
        return done(_("价目已录入"), "tariffs.show", tariff_id=tariff.id)

    return answer(form, act, lambda: render_template("tariffs/enter.html", form=form), Invalid, NotFound)


def _consequence(form: TariffForm) -> dict[str, Any]:
    """What entering it would do, tried on a copy of the book's state that is thrown away."""
    from console.book import actor, book

    with book().transaction(actor()) as tx:
        row = form.enter(tx)
        before = tx.scalar(
            select(Tariff)
            .where(
                Tariff.id < row.id,
                Tariff.kind == row.kind,
                Tariff.effective_from <= row.effective_from,
                *(
                    column == value if value is not None else column.is_(None)
                    for column, value in (
                        (Tariff.arch, row.arch),
                        (Tariff.provider_id, row.provider_id),
                        (Tariff.catalog_item_id, row.catalog_item_id),
                        (Tariff.contract_id, row.contract_id),
                    )
                ),
            )
            .order_by(Tariff.effective_from.desc(), Tariff.id.desc())
            .limit(1)
        )
        closed = [one.month for one in closings.closings(tx) if one.month >= f"{row.effective_from:%Y-%m}"]
        told = {"new": priced(row), "scope": _scope(row), "before": priced(before) if before is not None else UNKNOWN}
        tx.notes.clear()
        tx.rollback()
    return {**told, "closed": closed}


@checklist.step("tariffs", N_("价目"), N_("录入各类资源的单价；没有价目的资源在对账单里没有金额。"), Role.AUTHORITY,
                endpoint="tariffs.index", order=100, optional=True)  # fmt: skip
def _priced(look: Look) -> bool:
    return look.tx.scalar(select(tariffs.Tariff.id).limit(1)) is not None
