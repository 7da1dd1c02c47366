"""Push sources: who may deliver samples, with which token, and what came of it."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import BooleanField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import frame, links
from console.access import STEWARDS, allow
from console.book import reading, transaction
from console.forms import answer
from console.lists import Column, Filter, listing
from console.programs import Given, listed, takes, unfit
from console.words import WORDS, _, lazy, words
from metering.intake import PushSource, SampleRefusal, sources
from quota.actors import Role
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid

DAY = timedelta(days=1)
blueprint = Blueprint("sources", __name__, url_prefix="/resources/sources")
frame.page("resources", "sources.index", N_("推送源"), order=60)


class PushSourceForm(FlaskForm):  # type: ignore[misc]
    code = StringField(lazy(N_("代码")), [InputRequired(lazy(N_("请填写代码"))), Length(max=32)])
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=64)])
    pool = SelectField(lazy(N_("资源池")), coerce=int)
    label = StringField(
        lazy(N_("资源标签")), [InputRequired(lazy(N_("请填写标签名"))), Length(max=64)], default=sources.LABEL
    )
    systems = BooleanField(lazy(N_("可报信息系统的登录与访问")))


COLUMNS = [
    Column(
        "name",
        N_("名称"),
        lambda s: s.name,
        sort=PushSource.name,
        href=lambda s: url_for("sources.show", source_id=s.id),
        title=True,
    ),
    Column("code", N_("代码"), lambda s: s.code, sort=PushSource.code),
    Column("pool", N_("资源池"), lambda s: s.pool.name, href=links.pool(lambda s: s.pool_id)),
    Column("state", N_("状态"), lambda s: "active" if s.active else "inactive", state=True),
    Column("last", N_("最新数据点"), lambda s: s.last_point_at, sort=PushSource.last_point_at),
    Column("points", N_("已收数据点"), lambda s: s.points, sort=PushSource.points, number=True),
    Column("refused", N_("拒收"), lambda s: s.refused, sort=PushSource.refused, number=True),
    Column("ignored", N_("不采用"), lambda s: s.ignored, number=True, minor=True),
]
FILTERS = [Filter("q", N_("名称或代码"), lambda q, v: q.where(
    frame.matching(v, PushSource.name, PushSource.code)))]  # fmt: skip
REFUSALS = [
    Column("at", N_("时间"), lambda r: r.at, sort=SampleRefusal.at),
    Column("reason", N_("原因"), lambda r: words(r.reason), sort=SampleRefusal.reason, title=True),
    Column("code", N_("代码"), lambda r: r.reason, minor=True),
    Column("count", N_("数量"), lambda r: r.count, number=True),
    Column("example", N_("示例"), lambda r: r.example),
]


@blueprint.get("/")
@allow(*STEWARDS, Role.SECADMIN)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    query = select(PushSource).options(joinedload(PushSource.pool))
    found = listing(reading(), query, COLUMNS, key=PushSource.id, filters=FILTERS, sort="name")
    return found.exported("sources") or render_template("sources/index.html", sources=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@unfit("a secret is shown once, to a person")
def register() -> str | Response | tuple[str, int]:
    form = PushSourceForm()
    pools = reading().scalars(select(Pool).order_by(Pool.name))
    form.pool.choices = [SelectChoice(str(one.id), one.name) for one in pools]

    def act() -> str:
        with transaction() as tx:
            row, token = sources.register(
                tx, form.code.data, form.name.data, form.pool.data, form.label.data, systems=form.systems.data
            )
        return _told(row.id, token)

    return answer(form, act, lambda: render_template("sources/register.html", form=form), Invalid, Conflict)


@blueprint.get("/<int:source_id>")
@allow(*STEWARDS, Role.SECADMIN)
def show(source_id: int) -> str | Response:
    tx = reading()
    row = sources.source(tx, source_id)
    query = select(SampleRefusal).where(SampleRefusal.source == f"push.{row.code}")
    refusals = listing(tx, query, REFUSALS, key=SampleRefusal.id, sort="-at")
    recent = query.where(SampleRefusal.at >= tx.now - DAY).order_by(SampleRefusal.reason).limit(len(WORDS))
    told = dict.fromkeys(words(one.reason) for one in tx.scalars(recent))
    root = request.url_root.rstrip("/")
    return refusals.exported("refusals") or render_template(
        "sources/show.html", source=row, refusals=refusals, recent=list(told), root=root
    )


@blueprint.post("/<int:source_id>/rotate")
@allow(Role.SUPERVISOR)
@unfit("a secret is shown once, to a person")
def rotate(source_id: int) -> str:
    with transaction() as tx:
        token = sources.rotate(tx, sources.source(tx, source_id))
    return _told(source_id, token)


@blueprint.post("/<int:source_id>/active")
@allow(Role.SUPERVISOR)
@takes(None, Given("active", bool, label=N_("启用")))
def activate(source_id: int) -> Response:
    wanted = request.form.get("active") == "1"
    with transaction() as tx:
        sources.activate(tx, sources.source(tx, source_id), wanted)
    flash(_("推送源已启用") if wanted else _("推送源已停用,其令牌不再被接受"), "success")
    return redirect(url_for("sources.show", source_id=source_id))


def _told(source_id: int, token: str) -> str:
    """The one page that ever shows a token."""
    row = sources.source(reading(), source_id)
    return render_template("sources/token.html", source=row, token=token, root=request.url_root.rstrip("/"))
