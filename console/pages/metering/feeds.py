"""用量源: stores that are asked what a pool's machines use: registered, tested, changed, and how they stand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, IntegerField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import frame, links
from console.access import STEWARDS, allow
from console.book import reading, settings, transaction
from console.forms import DateTimeLocalField, answer, done
from console.lists import Column, Filter, listing
from console.pages.directory import connections
from console.programs import Given, listed, takes
from console.words import WORDS, _, lazy, sentence, words
from metering.intake import Feed, SampleRefusal, ShortDelivery, feed_readings, feeds, probes, schedules
from providers import registry
from providers.base import QueryProof
from providers.paces import USUAL
from quota.actors import Role
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid, NotFound

blueprint = Blueprint("feeds", __name__, url_prefix="/resources/feeds")
frame.page("resources", "feeds.index", N_("用量源"), order=55)

COLUMNS = [
    Column("name", N_("名称"), lambda f: f.name, sort=Feed.name, title=True, href=lambda f: url_for("feeds.show", feed_id=f.id)),
    Column("code", N_("代码"), lambda f: f.code, sort=Feed.code),
    Column("pool", N_("资源池"), lambda f: f.pool.name, href=links.pool(lambda f: f.pool_id)),
    Column("adapter", N_("适配器"), lambda f: f.adapter, minor=True),
    Column("state", N_("状态"), lambda f: standing(f), state=True),
    Column("until", N_("采集至"), lambda f: f.collected_until, sort=Feed.collected_until),
    Column("newest", N_("最新数据点"), lambda f: f.newest_at, sort=Feed.newest_at),
    Column("samples", N_("最近一次的样本"), lambda f: f.samples, number=True),
]  # fmt: skip
FILTERS = [Filter("q", N_("名称或代码"), lambda q, v: q.where(frame.matching(v, Feed.name, Feed.code)))]
REFUSALS = [
    Column("at", N_("时间"), lambda r: r.at, sort=SampleRefusal.at),
    Column("reason", N_("原因"), lambda r: words(r.reason), sort=SampleRefusal.reason, title=True),
    Column("code", N_("代码"), lambda r: r.reason, minor=True),
    Column("count", N_("数量"), lambda r: r.count, number=True),
    Column("example", N_("示例"), lambda r: r.example),
]

PROOFS: dict[str, str] = {
    QueryProof.EXPORTER: N_("用采集器本身验证"),
    QueryProof.DOCUMENTED: N_("用按其官方文档生成、已知真值的样本验证"),
    QueryProof.OWN: N_("自己写的查询：请核对下面的数值"),
    QueryProof.NONE: N_("照其官方文档编写，未经验证：请核对下面的数值"),
}
"""With what a query was tried, in words."""


class FeedForm(FlaskForm):  # type: ignore[misc]
    code = StringField(lazy(N_("代码")), [InputRequired(lazy(N_("请填写代码"))), Length(max=32)])
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=64)])
    pool = SelectField(lazy(N_("资源池")), coerce=int)
    history_days = IntegerField(
        lazy(N_("首次补采（天）")),
        [InputRequired(lazy(N_("请填写数量"))), NumberRange(0, feeds.MOST_HISTORY)],
        default=30,
    )
    every_minutes = IntegerField(
        lazy(N_("采集间隔（分钟）")), [InputRequired(lazy(N_("请填写数量"))), NumberRange(5, 1440)], default=5
    )
    lookback_hours = IntegerField(
        lazy(N_("回看（小时）")), [Optional(), NumberRange(schedules.LEAST_LOOKBACK, schedules.MOST_LOOKBACK)], default=2,
        description=lazy(N_("每次采集从上次采集之前这么多小时起再问一遍，收下对方迟到的样本；每天六点以后还会把前一天重读一遍")),
    )  # fmt: skip
    adapter = SelectField(lazy(N_("适配器")))
    shown = HiddenField()


class ChangeForm(FlaskForm):  # type: ignore[misc]
    seen = HiddenField(lazy(connections.SEEN))
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=64)])
    history_days = IntegerField(
        lazy(N_("首次补采（天）")), [InputRequired(lazy(N_("请填写数量"))), NumberRange(0, feeds.MOST_HISTORY)]
    )
    every_minutes = IntegerField(
        lazy(N_("采集间隔（分钟）")), [InputRequired(lazy(N_("请填写数量"))), NumberRange(5, 1440)]
    )
    lookback_hours = IntegerField(
        lazy(N_("回看（小时）")), [Optional(), NumberRange(schedules.LEAST_LOOKBACK, schedules.MOST_LOOKBACK)],
        description=lazy(N_("每次采集从上次采集之前这么多小时起再问一遍，收下对方迟到的样本；每天六点以后还会把前一天重读一遍")),
    )  # fmt: skip


class WeighForm(FlaskForm):  # type: ignore[misc]
    vantage = SelectField(
        lazy(N_("视角")), description=lazy(N_("从机器内部看，还是从宿主机看；从内部看的会与服务商的清单核对")),
        choices=[SelectChoice(value, lazy(label)) for value, label in feeds.VANTAGES.items()],
    )  # fmt: skip
    trust = IntegerField(
        lazy(N_("信任次序")), [InputRequired(lazy(N_("请填写数量"))), NumberRange(1, feeds.MOST_TRUST)],
        description=lazy(N_("1 最先；次序相同的，后到的数值为准")),
    )  # fmt: skip


class NamesForm(FlaskForm):  # type: ignore[misc]
    names = TextAreaField(
        lazy(N_("资源对照")), [Optional(), Length(max=2_000_000)],
        description=lazy(N_("每行一条：标签值 = 资源编号。对得上台账的编号、名称或地址的不必写")),
    )  # fmt: skip


class AgainForm(FlaskForm):  # type: ignore[misc]
    since = DateTimeLocalField(lazy(N_("从何时起")), [InputRequired(lazy(N_("请填写时间")))])


def standing(feed: Feed) -> str:
    """The state of a feed, as its word has it."""
    if not feed.active:
        return "inactive"
    if feed.fault:
        return "probe_bad"
    return "probe_good" if feed.succeeded_at else "never_collected"


def meters() -> list[str]:
    """What usage can be asked of."""
    return [name for name in registry.adapters() if registry.is_meter(name)]


@blueprint.get("/")
@allow(*STEWARDS, Role.SECADMIN)
@listed(COLUMNS, FILTERS, more=[connections.told(lambda one: one.options, Role.AUTHORITY, Role.SUPERVISOR)])
def index() -> str | Response:
    query = select(Feed).options(joinedload(Feed.pool))
    found = listing(reading(), query, COLUMNS, key=Feed.id, filters=FILTERS, sort="name")
    return found.exported("feeds") or render_template("feeds/index.html", feeds=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes(FeedForm, connections.OPTIONS, own=("shown",))
def register() -> str | Response | tuple[str, int]:
    """Enter a feed of a pool; its connection and its queries are tested at once."""
    kinds = meters()
    name = wanted if (wanted := request.values.get("adapter", "")) in kinds else kinds[0]
    form = connections.with_options(FeedForm, name)()
    rows = reading().execute(select(Pool.id, Pool.name).where(Pool.active).order_by(Pool.name))
    form.pool.choices = [SelectChoice(str(id_), title) for id_, title in rows]
    form.adapter.choices = [SelectChoice(one, one) for one in kinds]
    other = request.method == "POST" and form.shown.data not in (None, name)
    form.shown.data = name
    if request.method == "GET":
        form.adapter.data = name

    def page() -> str:
        return render_template("feeds/register.html", form=form)

    if other:  # another adapter was chosen: its own fields, and nothing is wrong yet
        return page()

    def enter() -> Response:
        options = connections.given(form, name)
        connections.opens(name, options)
        with transaction() as tx:
            options |= connections.kept_secrets(tx, form, name, f"feed.{form.code.data}")
            one = feeds.register(
                tx, form.code.data, form.name.data, form.pool.data, name, options,
                history_days=form.history_days.data, every_minutes=form.every_minutes.data,
                lookback_hours=form.lookback_hours.data or USUAL.lookback_hours,
            )  # fmt: skip
            _tested(tx, one)
        return done(_("已登记：%(name)s", name=one.name), "feeds.show", feed_id=one.id)

    return answer(form, enter, page, Invalid, Conflict, NotFound, hung=connections.hang)


def _tested(tx: Any, feed: Feed) -> None:
    if registry.is_probed(feed.adapter):
        probes.ask(tx, feed.subject)
    feeds.ask_trial(tx, feed)


@blueprint.get("/<int:feed_id>")
@allow(*STEWARDS, Role.SECADMIN)
def show(feed_id: int) -> str | Response:
    """One feed: how it stands, what it misses, and in words why."""
    tx = reading()
    one = feeds.feed(tx, feed_id)
    query = select(SampleRefusal).where(SampleRefusal.source == f"feed.{one.code}")
    fault = sentence(connections.PROBED.get(one.fault, connections.PROBED["fault"])) if one.fault else ""
    refused = listing(tx, query, REFUSALS, key=SampleRefusal.id, sort="-at")
    return refused.exported("refusals") or render_template(
        "feeds/show.html",
        one=one,
        state=standing(one),
        fault=fault,
        lag=tx.now - one.collected_until if one.collected_until else None,
        probe=connections.probed(tx, one.subject),
        named=len(feeds.names(tx, one.id)),
        vantage=feeds.VANTAGES[one.vantage],
        short=tx.scalar(
            select(func.count(ShortDelivery.id)).where(
                ShortDelivery.feed_id == one.id,
                ShortDelivery.confirmed_at.is_not(None),
                ShortDelivery.ended_at.is_(None),
            )
        ),
        refusals=refused,
        lately=list(dict.fromkeys(words(r.reason) for r in tx.scalars(query.limit(len(WORDS))))),
    )


@blueprint.get("/<int:feed_id>/trial")
@allow(*STEWARDS)
def trial(feed_id: int) -> str:
    """What the last test of the queries found, what it missed, and why."""
    one = feeds.feed(reading(), feed_id)
    fault = one.trial.get("fault", "")
    said = sentence(connections.PROBED.get(fault, connections.PROBED["fault"])) if fault else ""
    doubts = [(words(code), names) for code, names in one.trial.get("doubts", {}).items()]
    return render_template("feeds/trial.html", one=one, trial=one.trial, fault=said, doubts=doubts, proofs=PROOFS)


@blueprint.post("/<int:feed_id>/trial")
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes()
def test(feed_id: int) -> Response:
    """Ask for a test of connection and queries; the jobs' process, which has the secrets, carries it out."""
    with transaction() as tx:
        _tested(tx, feeds.feed(tx, feed_id))
    flash(_("已安排测试，一分钟内见结果"), "success")
    return redirect(url_for("feeds.trial", feed_id=feed_id))


@blueprint.route("/<int:feed_id>/connection", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes(ChangeForm, connections.OPTIONS)
def connect(feed_id: int) -> str | Response | tuple[str, int]:
    """How a feed is asked, to be changed; who changed it before."""
    tx = reading()
    one = feeds.feed(tx, feed_id)
    form = connections.with_options(ChangeForm, one.adapter)()
    if request.method == "GET":
        connections.fill(form, one.adapter, one.options)
        form.name.data, form.seen.data = one.name, connections.mark(one.options)
        form.history_days.data, form.every_minutes.data = one.history_days, one.every_minutes
        form.lookback_hours.data = one.lookback_hours

    def configure() -> Response:
        if form.seen.data != connections.mark(one.options):
            raise Conflict("feed.stale", N_("连接参数已被他人修改,请重新打开页面"))
        options = connections.given(form, one.adapter, one.options)
        connections.opens(one.adapter, options)
        with transaction() as writing:
            options |= connections.kept_secrets(writing, form, one.adapter, f"feed.{one.code}")
            row = feeds.feed(writing, feed_id)
            feeds.configure(
                writing, row, options, name=form.name.data, history_days=form.history_days.data,
                every_minutes=form.every_minutes.data, lookback_hours=form.lookback_hours.data, before=one.options,
            )  # fmt: skip
            _tested(writing, row)
        return done(_("连接已保存"), "feeds.show", feed_id=feed_id)

    def page() -> str:
        history = connections.history(tx, one.subject, "feed.connect", "feed.register")
        return render_template("feeds/connect.html", form=form, one=one, history=history)

    return answer(form, configure, page, Invalid, Conflict, NotFound, hung=connections.hang)


@blueprint.route("/<int:feed_id>/weigh", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes(WeighForm)
def weigh(feed_id: int) -> str | Response | tuple[str, int]:
    """From where a feed sees machines, and how far it is trusted."""
    one = feeds.feed(reading(), feed_id)
    form = WeighForm(data={"vantage": one.vantage, "trust": one.trust})

    def act() -> Response:
        with transaction() as tx:
            feeds.weigh(tx, feeds.feed(tx, feed_id), form.vantage.data, form.trust.data)
        return done(_("视角与信任已保存"), "feeds.show", feed_id=feed_id)

    return answer(form, act, lambda: render_template("feeds/weigh.html", form=form, one=one))


@blueprint.route("/<int:feed_id>/names", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes(NamesForm)
def names(feed_id: int) -> str | Response | tuple[str, int]:
    """Which machine each of the feed's names is, where the inventory does not know it."""
    tx = reading()
    one = feeds.feed(tx, feed_id)
    form = NamesForm()
    suggested = feed_readings.suggested(tx, one)
    if request.method == "GET":
        form.names.data = "\n".join(f"{label} = {to}" for label, to in sorted(feeds.names(tx, feed_id).items()))

    def keep() -> Response:
        called = feeds.parsed(form.names.data or "")
        with transaction() as writing:
            fresh = set(called.items()) - set(feeds.names(writing, feed_id).items())
            feeds.call(writing, feeds.feed(writing, feed_id), called)
        if fresh and one.collected_until is not None:
            return done(
                _("资源对照已保存；新写明的机器从下次采集起入库，此前的样本用“补采”读入"), "feeds.show", feed_id=feed_id
            )
        return done(_("资源对照已保存"), "feeds.show", feed_id=feed_id)

    return answer(form, keep, lambda: render_template("feeds/names.html", form=form, one=one, suggested=suggested))


@blueprint.route("/<int:feed_id>/again", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes(AgainForm)
def again(feed_id: int) -> str | Response | tuple[str, int]:
    """Read once more from a moment on, for what the store got late."""
    one = feeds.feed(reading(), feed_id)
    form = AgainForm()

    def read_again() -> Response:
        since: datetime = form.since.data.replace(tzinfo=settings().zone)
        with transaction() as tx:
            feeds.again_from(tx, feeds.feed(tx, feed_id), since)
        return done(_("下一次采集从那时起补采"), "feeds.show", feed_id=feed_id)

    return answer(form, read_again, lambda: render_template("feeds/again.html", form=form, one=one))


@blueprint.post("/<int:feed_id>/active")
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes(None, Given("active", bool, label=N_("启用")))
def activate(feed_id: int) -> Response:
    wanted = request.form.get("active") == "1"
    with transaction() as tx:
        feeds.activate(tx, feeds.feed(tx, feed_id), wanted)
    flash(_("用量源已启用，停用期间的用量会补采") if wanted else _("用量源已停用"), "success")
    return redirect(url_for("feeds.show", feed_id=feed_id))
