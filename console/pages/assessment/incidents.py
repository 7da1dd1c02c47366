"""Incidents: companies report them, the steward settles whose they are, and only then they count."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, RadioField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame, links
from console.access import BUSINESS, allow
from console.book import reading, settings, transaction
from console.charts import moment, timeline
from console.forms import DateTimeLocalField, answer, done, generation
from console.lists import Column, Filter, Rows, listing
from console.pages.orders import company_filter, dialogues
from console.programs import Given, listed, takes
from console.security import row
from console.words import _, disclosure, lazy
from providers.assessment import formulas
from providers.base import IncidentFact, Responsibility
from providers.billing import RESPONSIBILITY_LABELS, Incident, incidents
from providers.incident_terms import IncidentTerms
from providers.monitoring import OutageSignal, outages
from quota.actors import Actor, Role
from quota.calendar import ZONE, WorkingDays, working_days
from quota.db import Tx
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid, NotFound, Refused
from quota.inventory import disclosure as inventory_disclosure

blueprint = Blueprint("incidents", __name__, url_prefix="/incidents")
frame.page("providers", "incidents.index", N_("故障"), order=20)

LEVELS = {"1": N_("一级"), "2": N_("二级"), "3": N_("三级"), "4": N_("四级")}
SIDES = {"provider": N_("云服务商"), "supervisor": N_("运营监督方"), "tenant": N_("使用单位"),
         "monitoring": N_("监测")}  # fmt: skip
STATES = {"open": N_("未恢复"), "unsettled": N_("待定责"), "settled": N_("已定责")}
MOST_OTHERS = 50
"""Incidents at the same time that a page names."""
ACTIONS = {
    "incident.report": N_("报送"), "incident.amend": N_("续报"), "incident.settle": N_("定责"),
    "incident.correct": N_("更正"), "incident.merge": N_("并入同一故障"),
    "remark.comment": N_("发表意见"), "remark.dispute": N_("提出争议"), "remark.upheld": N_("裁定争议成立"),
    "remark.dismissed": N_("裁定争议不成立"),
}  # fmt: skip
FIELDS = {
    "level": N_("级别"), "title": N_("标题"), "started_at": N_("开始"), "responded_at": N_("响应"),
    "recovered_at": N_("恢复"), "announced_at": N_("公告"), "claimed": N_("报送方认为的责任"), "side": N_("报送方"), "description": N_("经过"),
    "evidence": N_("证据"), "responsibility": N_("责任"), "affected": N_("影响范围"), "same_as": N_("并入"),
}  # fmt: skip


def code(incident: Incident) -> str:
    """The state's code among all states."""
    if incident.settled_at is not None:
        return "incident_settled"
    return "incident_open" if incident.recovered_at is None else "incident_unsettled"


def _whose(value: str | None) -> str | None:
    return _(RESPONSIBILITY_LABELS[Responsibility(value)]) if value else None


def title(incident: Incident) -> str:
    """Its title as the reader may read it; the house's own, which stands for what only some may read, in their language."""
    told: str = disclosure.told(incident.title)
    return _(told) if told == incidents.SYSTEM_DOWN else told


def _state(query: Rows, value: str) -> Rows:
    if value == "settled":
        return query.where(Incident.settled_at.is_not(None))
    query = query.where(Incident.settled_at.is_(None))
    return query.where(Incident.recovered_at.is_(None)) if value == "open" else query


def _days() -> WorkingDays:
    """The calendar, looked up once for all rows."""
    if "working_days" not in g:
        g.working_days = working_days(reading())
    days: WorkingDays = g.working_days
    return days


def _held(incident: Incident) -> IncidentTerms:
    """The limits that an incident is held to; what is enacted is looked up once for all rows."""
    if "enacted_formulas" not in g:
        g.enacted_formulas = formulas.enacted(reading())
    enacted: formulas.Enacted = g.enacted_formulas
    return enacted.formula(incident.provider_id, incident.started_at.astimezone(ZONE).date()).incidents


COLUMNS = [
    Column("number", N_("故障编号"), lambda i: i.external_id, sort=Incident.external_id,
           href=lambda i: url_for("incidents.show", incident_id=i.id), title=True),
    Column("state", N_("状态"), code, state=True),
    Column("level", N_("级别"), lambda i: _(LEVELS[str(i.level)]), code=lambda i: i.level, sort=Incident.level),
    Column("title", N_("标题"), title),
    Column("pool", N_("资源池"), lambda i: i.pool.name, href=links.pool(lambda i: i.pool_id)),
    Column("provider", N_("云服务商"), lambda i: i.provider.name, href=links.provider(lambda i: i.provider_id), minor=True),
    Column("started", N_("开始"), lambda i: i.started_at, sort=Incident.started_at),
    Column("recovered", N_("恢复"), lambda i: i.recovered_at, sort=Incident.recovered_at),
    Column("side", N_("报送方"), lambda i: _(SIDES[i.side]), code=lambda i: i.side, minor=True),
    Column("whose", N_("责任"), lambda i: _("同一故障") if i.same_as_id else _whose(i.responsibility),
           code=lambda i: "same" if i.same_as_id else i.responsibility),
    Column("misses", N_("超时"), lambda i: incidents.misses(i, _days(), reading().now, _held(i)), unit=N_("次"),
           number=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state, options=STATES),
    Filter("level", N_("级别"), lambda q, v: q.where(Incident.level == int(v)), options=LEVELS),
    Filter("whose", N_("责任"), lambda q, v: q.where(Incident.responsibility == v),
           options={whose.value: label for whose, label in RESPONSIBILITY_LABELS.items()}),
    Filter("q", N_("编号或标题"), lambda q, v: q.where(
        frame.matching(v, Incident.external_id, Incident.title))),
]  # fmt: skip


def rows(tx: Tx) -> Rows:
    return (
        select(Incident)
        .where(incidents.visible(tx.actor))
        .options(joinedload(Incident.pool), joinedload(Incident.provider))
    )


class ReportForm(FlaskForm):  # type: ignore[misc]
    pool = SelectField(lazy("资源池"), coerce=int, choices=[])
    external_id = StringField(
        lazy("故障编号"), [Optional(), Length(max=128)],
        description=lazy("贵公司自己的编号，必填；同一编号再次报送即为续报"),
    )  # fmt: skip
    level = SelectField(lazy("级别"), coerce=int, choices=[])
    title = StringField(lazy("标题"), [InputRequired(lazy("请填写标题")), Length(max=256)])
    started_at = DateTimeLocalField(lazy("开始"), validators=[InputRequired(lazy("请填写开始时间"))])
    responded_at = DateTimeLocalField(lazy("响应"), validators=[Optional()], description=lazy("尚未响应可不填"))
    recovered_at = DateTimeLocalField(lazy("恢复"), validators=[Optional()], description=lazy("尚未恢复可不填"))
    affected = TextAreaField(
        lazy("影响的资源"), [Optional(), Length(max=20000)],
        description=lazy("每行一个云侧编号；不填表示整个资源池"),
    )  # fmt: skip
    description = TextAreaField(lazy("经过"), [InputRequired(lazy("请写明经过")), Length(max=8000)])
    evidence = TextAreaField(
        lazy("证据"), [Optional(), Length(max=8000)], description=lazy("日志、工单号、公告文号等")
    )  # fmt: skip
    claimed = RadioField(lazy("自述责任"), choices=[], validators=[InputRequired(lazy("请选择责任方"))])
    announced_at = DateTimeLocalField(
        lazy("维护公告时间"), validators=[Optional()],
        description=lazy("仅供参考：能否定为已公告的维护，只看本系统的维护公告"),
    )  # fmt: skip

    def offer(self, tx: Tx) -> None:
        """The choices. Others than a company report of any pool, under a number that the house gives."""
        pools = select(Pool.id, Pool.name).order_by(Pool.name)
        if tx.actor.role is Role.PROVIDER:
            pools = pools.where(Pool.provider_id == tx.actor.provider_id)
        else:
            del self.external_id
            self.claimed.label.text = _("责任方（报送方认为）")
        self.pool.choices = [SelectChoice(str(id_), name) for id_, name in tx.execute(pools)]
        self.level.choices = [SelectChoice(level, _(label)) for level, label in LEVELS.items()]
        self.claimed.choices = [SelectChoice(whose.value, _(label)) for whose, label in RESPONSIBILITY_LABELS.items()]

    def fact(self, number: str) -> IncidentFact:
        """What was typed, its times in the city's zone."""
        return IncidentFact(
            external_id=number,
            level=self.level.data,
            title=self.title.data,
            started_at=_zoned(self.started_at.data) or reading().now,
            responded_at=_zoned(self.responded_at.data),
            recovered_at=_zoned(self.recovered_at.data),
            responsibility=Responsibility(self.claimed.data),
            affected=_lines(self.affected.data),
            announced_at=_zoned(self.announced_at.data),
        )


class SettleForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    responsibility = RadioField(lazy("责任"), choices=[], validators=[InputRequired(lazy("请选择责任方"))])
    reason = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=4000)])


class CorrectForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    level = SelectField(lazy("级别"), coerce=int, choices=[])
    started_at = DateTimeLocalField(lazy("开始"), validators=[InputRequired(lazy("请填写开始时间"))])
    recovered_at = DateTimeLocalField(lazy("恢复"), validators=[Optional()], description=lazy("尚未恢复可不填"))
    affected = TextAreaField(
        lazy("影响的资源"), [Optional(), Length(max=20000)],
        description=lazy("每行一个云侧编号；不填表示整个资源池"),
    )  # fmt: skip
    reason = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=4000)])


class MergeForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    into = SelectField(lazy("并入"), coerce=int, choices=[])
    reason = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=4000)])


class RespondForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    responded_at = DateTimeLocalField(lazy("响应"), validators=[InputRequired(lazy("请填写响应时间"))])


def _lines(typed: str | None) -> tuple[str, ...]:
    """Ids as they were typed, one a line, each once."""
    return tuple(dict.fromkeys(filter(None, map(str.strip, (typed or "").splitlines()))))


def _zoned(value: datetime | None) -> datetime | None:
    return value.replace(tzinfo=settings().zone) if value is not None else None


def _local(value: datetime | None) -> datetime | None:
    return value.astimezone(settings().zone).replace(tzinfo=None) if value is not None else None


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS, args=("provider", links.WATCHED))
def index() -> str | Response:
    tx = reading()
    own = tx.actor.role is Role.PROVIDER
    filters = [*FILTERS, *links.watched(tx, Incident), *([] if own else [company_filter(tx, Incident.provider_id)])]
    found = listing(tx, rows(tx), COLUMNS, key=Incident.id, filters=filters, sort="-started")
    disclosure.learn(incident.title for incident in found.rows)
    return found.exported("incidents") or render_template("incidents/index.html", incidents=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.PROVIDER, Role.SUPERVISOR, Role.TENANT)
@takes(ReportForm, args=(Given("amend", int),))
def report() -> str | Response | tuple[str, int]:
    """Report an incident, or with ``?amend=ID`` add to one that was not settled."""
    tx = reading()
    amended = _amended(tx)
    form = ReportForm(data=_known(amended) if amended is not None else None)
    form.offer(tx)

    def act() -> Response:
        with transaction() as write:
            pool = write.get(Pool, form.pool.data)
            if pool is None:
                raise NotFound("pool.none", N_("没有编号为 %(id)s 的资源池"), id=form.pool.data)
            number = _number(write, pool, form, amended)
            found = incidents.report(
                write, pool, form.fact(number), description=form.description.data, evidence=form.evidence.data or ""
            )
        return done(_("已报送，等待运营监督方定责"), "incidents.show", incident_id=found.id)

    return answer(form, act, lambda: render_template("incidents/report.html", form=form, amended=amended), Refused)


def _amended(tx: Tx) -> Incident | None:
    wanted = request.args.get("amend", 0, row)
    found = incidents.incident(tx, wanted) if wanted else None
    if found is not None and not incidents.amendable(tx, found):
        raise NotFound("incident.none", N_("没有编号为 %(id)s 的故障"), id=wanted)
    return found


def _number(tx: Tx, pool: Pool, form: ReportForm, amended: Incident | None) -> str:
    """The number that is reported under: a company's own, the house's where others report. Refuses a new report under a known
    number: what was reported is added to on its own page."""
    if form.external_id is None:
        return amended.external_id if amended is not None else incidents.number(tx)
    number = (form.external_id.data or "").strip()
    if not number:
        raise Invalid("incident.number", N_("请填写故障编号"), field="external_id")
    if amended is not None:
        return number
    known = select(Incident.id).where(Incident.pool_id == pool.id, Incident.external_id == number)
    if tx.scalar(known) is not None:
        raise Conflict(
            "incident.known", N_("故障 %(id)s 已报送过，请在其页面续报"), id=number, field="external_id"
        )  # fmt: skip
    return number


def _known(incident: Incident) -> dict[str, Any]:
    return {
        "pool": incident.pool_id, "external_id": incident.external_id, "level": incident.level, "title": incident.title,
        "started_at": _local(incident.started_at), "responded_at": _local(incident.responded_at),
        "recovered_at": _local(incident.recovered_at), "affected": "\n".join(incident.affected),
        "description": incident.description, "evidence": incident.evidence, "claimed": incident.claimed,
        "announced_at": _local(incident.announced_at),
    }  # fmt: skip


@blueprint.get("/<int:incident_id>")
@allow(*BUSINESS)
def show(incident_id: int) -> str:
    tx = reading()
    incident = incidents.incident(tx, incident_id)
    days = working_days(tx)
    respond_by, recover_by = incidents.limits(incident, days, _held(incident))
    subject = f"incident:{incident.id}"
    times = dict.fromkeys(("started_at", "responded_at", "recovered_at", "announced_at"), moment)
    return render_template(
        "incidents/show.html",
        incident=incident,
        code=code(incident),
        level=LEVELS[str(incident.level)],
        respond_by=respond_by,
        recover_by=recover_by,
        misses=incidents.misses(incident, days, tx.now, _held(incident)),
        window=incidents.window(tx, incident, days, _held(incident)),
        held=_held(incident),
        side=_(SIDES[incident.side]),
        responding=tx.actor.role is Role.PROVIDER and incident.side != "provider" and not incident.settled_at,
        title=title(incident),
        signals=[(one, _tells(tx, one)) for one in outages.signals(tx, incident.id)],
        correctable=incident.side == incidents.MONITORING and not (incident.settled_at and incident.recovered_at),
        others=tx.scalars(incidents.alongside(incident).limit(MOST_OTHERS)).all(),
        amendable=not incident.settled_at and incidents.amendable(tx, incident),
        claimed=_whose(incident.claimed),
        whose=_whose(incident.responsibility),
        **dialogues.thread(tx, subject),
        history=timeline(
            tx,
            subject,
            ACTIONS,
            FIELDS,
            {
                **times,
                "side": lambda raw: _(SIDES.get(raw, raw)),
                "claimed": _whose,
                "responsibility": _whose,
                "affected": disclosure.own_ids,
            },
        ),
    )


def _tells(tx: Tx, signal: OutageSignal) -> str:
    """What a signal says, to whoever may know: of a system's, its department and those who see every department's."""
    actor = tx.actor
    open_ = (
        signal.system is None
        or inventory_disclosure.sees_all(actor)
        or signal.system.department_id == actor.department_id
    )
    return disclosure.told(signal.name) if open_ else _("〔其他单位的信息系统〕")


@blueprint.route("/<int:incident_id>/correct", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(CorrectForm)
def correct(incident_id: int) -> str | Response | tuple[str, int]:
    """Say otherwise of what monitoring found."""
    incident = incidents.incident(reading(), incident_id)
    form = CorrectForm(
        data={
            "generation": incident.generation, "level": incident.level, "started_at": _local(incident.started_at),
            "recovered_at": _local(incident.recovered_at), "affected": "\n".join(incident.affected),
        }
    )  # fmt: skip
    form.level.choices = [SelectChoice(level, _(label)) for level, label in LEVELS.items()]

    def act() -> Response:
        with transaction() as write:
            incidents.correct(
                write, incident_id, generation(form), level=form.level.data,
                started_at=_exact(form.started_at.data, incident.started_at) or reading().now,
                recovered_at=_exact(form.recovered_at.data, incident.recovered_at), affected=_lines(form.affected.data),
                reason=form.reason.data,
            )  # fmt: skip
        return done(_("已更正，监测不再改动这起故障"), "incidents.show", incident_id=incident_id)

    return answer(
        form, act, lambda: render_template("incidents/correct.html", incident=incident, form=form), Refused
    )  # fmt: skip


def _exact(typed: datetime | None, known: datetime | None) -> datetime | None:
    """The time that was typed; where the field still says what it showed, to the second and below as it was."""
    shown = _local(known)
    if typed is not None and shown is not None and typed.replace(second=0) == shown.replace(second=0, microsecond=0):
        return known
    return _zoned(typed)


@blueprint.route("/<int:incident_id>/merge", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(MergeForm)
def merge(incident_id: int) -> str | Response | tuple[str, int]:
    """Rule that two reports are of one outage."""
    tx = reading()
    incident = incidents.incident(tx, incident_id)
    others = tx.scalars(incidents.alongside(incident).limit(MOST_OTHERS)).all()
    form = MergeForm(data={"generation": incident.generation})
    form.into.choices = [
        SelectChoice(str(one.id), f"{one.external_id} {title(one)} {moment(one.started_at)}") for one in others
    ]

    def act() -> Response:
        with transaction() as write:
            incidents.merge(write, incident_id, generation(form), form.into.data, form.reason.data)
        return done(_("已并入，只计一起"), "incidents.show", incident_id=incident_id)

    return answer(form, act, lambda: render_template("incidents/merge.html", incident=incident, form=form), Refused)


@blueprint.route("/<int:incident_id>/respond", methods=["GET", "POST"])
@allow(Role.PROVIDER)
@takes(RespondForm)
def respond(incident_id: int) -> str | Response | tuple[str, int]:
    """When a company responded to what others entered."""
    incident = incidents.incident(reading(), incident_id)
    form = RespondForm(data={"generation": incident.generation, "responded_at": _local(incident.responded_at)})

    def act() -> Response:
        with transaction() as write:
            at = form.responded_at.data.replace(tzinfo=settings().zone)
            incidents.respond(write, incident_id, generation(form), at)
        return done(_("响应时间已填报"), "incidents.show", incident_id=incident_id)

    return answer(
        form, act, lambda: render_template("incidents/respond.html", incident=incident, form=form), Refused
    )  # fmt: skip


@blueprint.route("/<int:incident_id>/settle", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(SettleForm)
def settle(incident_id: int) -> str | Response | tuple[str, int]:
    tx = reading()
    incident = incidents.incident(tx, incident_id)
    form = SettleForm(generation=incident.generation)
    form.responsibility.choices = [
        SelectChoice(whose.value, _(label)) for whose, label in RESPONSIBILITY_LABELS.items()
    ]

    def act() -> Response:
        with transaction() as write:
            whose = Responsibility(form.responsibility.data)
            incidents.settle(write, incident_id, generation(form), whose, form.reason.data)
        return done(_("已定责"), "incidents.show", incident_id=incident_id)

    def page() -> str:
        misses = incidents.misses(incident, working_days(tx), tx.now, _held(incident))
        return render_template(
            "incidents/settle.html", incident=incident, form=form, misses=misses, held=_held(incident)
        )

    return answer(form, act, page, Refused)


@blueprint.post("/<int:incident_id>/remark")
@allow(Role.PROVIDER, Role.SUPERVISOR, Role.AUTHORITY, Role.TENANT)
@takes(None, *dialogues.REMARK)
def remark(incident_id: int) -> Response:
    incident = incidents.incident(reading(), incident_id)
    dialogues.say(f"incident:{incident.id}", incident.provider_id)
    return redirect(url_for("incidents.show", incident_id=incident_id))


@blueprint.post("/<int:incident_id>/rule")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(None, *dialogues.RULING)
def rule(incident_id: int) -> Response:
    dialogues.rule(f"incident:{incidents.incident(reading(), incident_id).id}")
    return redirect(url_for("incidents.show", incident_id=incident_id))


@frame.home_block(Role.SUPERVISOR, order=45)
def _unsettled(tx: Tx, _actor: Actor) -> str | None:
    """Incidents whose responsibility nobody has settled; nothing where there is none."""
    found = tx.scalars(
        rows(tx).where(Incident.settled_at.is_(None)).order_by(Incident.level, Incident.started_at).limit(8)
    ).all()
    return render_template("incidents/_home.html", rows=found, code=code, levels=LEVELS) if found else None


@frame.finder(*BUSINESS, order=45)
def _find(tx: Tx, _actor: Actor, text: str, limit: int) -> list[frame.Hit]:
    found = tx.scalars(
        rows(tx)
        .where(frame.matching(text, Incident.external_id, Incident.title))
        .order_by(Incident.started_at.desc())
        .limit(limit)
    )
    return [
        frame.Hit(N_("故障"), f"{incident.external_id} {title(incident)}", url_for("incidents.show", incident_id=incident.id),
                  incident.pool.name, code(incident))
        for incident in found
    ]  # fmt: skip
