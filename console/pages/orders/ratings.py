"""Satisfaction: a department rates what it accepted; the companies and the city see how they were found."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import RadioField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame, links
from console.access import BUSINESS, allow
from console.book import reading, transaction
from console.forms import answer, done
from console.lists import Column, Filter, listing
from console.programs import listed, takes
from console.words import _, lazy
from providers import orders
from providers.assessment import STAR_LABELS, Rating, ratings
from providers.orders import OrderState, WorkOrder
from quota.actors import Actor, Role
from quota.db import Tx
from quota.errors import N_, NotFound, Refused

blueprint = Blueprint("ratings", __name__, url_prefix="/ratings")
frame.page("providers", "ratings.index", N_("满意度"), order=50)

COLUMNS = [
    Column("order", N_("工单号"), lambda r: r.order.number, href=lambda r: url_for("orders.show", order_id=r.order_id),
           title=True),
    Column("stars", N_("评分"), lambda r: r.stars, sort=Rating.stars, number=True),
    Column("word", N_("意见"), lambda r: r.word or None),
    Column("department", N_("使用单位"), lambda r: r.department.name, href=links.department(lambda r: r.department_id)),
    Column("provider", N_("云服务商"), lambda r: r.provider.name, href=links.provider(lambda r: r.provider_id)),
    Column("at", N_("评价于"), lambda r: r.at, sort=Rating.at),
]  # fmt: skip
FILTERS = [
    Filter("stars", N_("评分"), lambda q, v: q.where(Rating.stars == int(v)),
           options={str(stars): label for stars, label in STAR_LABELS.items()}),
]  # fmt: skip


class RatingForm(FlaskForm):  # type: ignore[misc]
    stars = RadioField(lazy("评分"), choices=[], coerce=int, validators=[InputRequired(lazy("请选择 1 至 5 分"))])
    word = TextAreaField(lazy("意见"), [Optional(), Length(max=2000)], description=lazy("2 分及以下请写明原因"))


def _unrated(tx: Tx) -> Any:
    """Accepted orders of the visitor's departments that were not rated."""
    return (
        select(WorkOrder)
        .outerjoin(Rating, Rating.order_id == WorkOrder.id)
        .where(orders.visible(tx, tx.actor), WorkOrder.state == OrderState.ACCEPTED.value, Rating.id.is_(None),
               WorkOrder.request_id.is_not(None))
        .order_by(WorkOrder.accepted_at.desc())
    )  # fmt: skip


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = (
        select(Rating)
        .where(ratings.visible(tx, tx.actor))
        .options(joinedload(Rating.order), joinedload(Rating.department), joinedload(Rating.provider))
    )
    found = listing(tx, query, COLUMNS, key=Rating.id, filters=FILTERS, sort="-at")
    waiting = tx.scalars(_unrated(tx).limit(20)).all() if tx.actor.role is Role.TENANT else []
    return found.exported("ratings") or render_template("ratings/index.html", ratings=found, waiting=waiting)


@blueprint.get("/<int:rating_id>")
@allow(*BUSINESS)
def show(rating_id: int) -> Response:
    """The rating stands on its order's page."""
    tx = reading()
    found = tx.scalar(select(Rating).where(Rating.id == rating_id, ratings.visible(tx, tx.actor)))
    if found is None:
        raise NotFound("rating.none", N_("没有编号为 %(id)s 的评价"), id=rating_id)
    return redirect(url_for("orders.show", order_id=found.order_id))


@blueprint.route("/orders/<int:order_id>", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(RatingForm)
def rate(order_id: int) -> str | Response | tuple[str, int]:
    order = orders.order(reading(), order_id)
    form = RatingForm()
    form.stars.choices = [SelectChoice(str(stars), _(label)) for stars, label in STAR_LABELS.items()]

    def act() -> Response:
        with transaction() as tx:
            ratings.rate(tx, order_id, form.stars.data, form.word.data or "")
        return done(_("谢谢，评价已计入云服务商考核"), "orders.show", order_id=order_id)

    return answer(form, act, lambda: render_template("ratings/rate.html", one=order, form=form), Refused)


@frame.home_block(Role.TENANT, order=60)
def _to_rate(tx: Tx, _actor: Actor) -> str | None:
    """What was accepted and not rated; nothing where there is none."""
    found = tx.scalars(_unrated(tx).limit(5)).all()
    return render_template("ratings/_home.html", waiting=found) if found else None
