"""信息系统台账: each system with what is said of it, its resources and their use."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload, with_expression
from werkzeug.wrappers import Response
from wtforms import BooleanField, IntegerField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length
from wtforms.validators import Optional as Maybe

from console import choices, frame, links
from console.access import STEWARDS, allow, may
from console.book import actor, reading, transaction
from console.choices import ChoiceField
from console.forms import DateField, answer, done
from console.founding import Look, checklist
from console.lists import Column, Filter, listing
from console.pages.cases import growth_evidence
from console.pages.quota import share_table
from console.programs import listed, takes
from console.words import _, lazy, number
from metering.intake import PushSource
from metering.overview import measured
from metering.visits import MeasuredVisits
from quota.actors import Actor, Role
from quota.audit import AuditRecord
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import DATA_LEVELS, FIELDS, System, funded_projects, likeness
from quota.directory import departments as agencies
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound
from quota.inventory import Resource, ServiceKind, readiness, tiers
from quota.units import MEMORY, VCPU, Amount, Arch

blueprint = Blueprint("systems", __name__, url_prefix="/systems")
frame.page("resources", "systems.index", N_("信息系统台账"), order=20)

said = lazy
"""``lazy`` for words that are marked where they are named."""


class SystemForm(FlaskForm):  # type: ignore[misc]
    code = StringField(lazy(N_("编码")), [Length(max=32)])
    department = ChoiceField(lazy(N_("使用单位")))
    name = StringField(said(FIELDS["name"]), [InputRequired(lazy(N_("请填写名称"))), Length(max=128)])
    owner = StringField(said(FIELDS["owner"]), [Length(max=64)])
    phone = StringField(said(FIELDS["phone"]), [Length(max=32)])
    approval_number = StringField(said(FIELDS["approval_number"]), [Length(max=128)])
    funding = StringField(said(FIELDS["funding"]), [Length(max=64)])
    users = StringField(said(FIELDS["users"]), [Length(max=64)])
    mlps_level = SelectField(
        said(FIELDS["mlps_level"]), coerce=int, choices=[SelectChoice(str(n), str(n)) for n in range(1, 6)], default=2
    )
    mlps_record = StringField(said(FIELDS["mlps_record"]), [Length(max=64)])
    mlps_assessed_on = DateField(said(FIELDS["mlps_assessed_on"]), [Maybe()])
    crypto_level = IntegerField(said(FIELDS["crypto_level"]), [Maybe()])
    crypto_assessed_on = DateField(said(FIELDS["crypto_assessed_on"]), [Maybe()])
    zone = StringField(said(FIELDS["zone"]), [Length(max=64)])
    arch = SelectField(
        said(FIELDS["arch"]),
        choices=[SelectChoice("", "—"), *(SelectChoice(a.value, a.value) for a in Arch if a is not Arch.ANY)],
    )
    online_on = DateField(said(FIELDS["online_on"]), [Maybe()])
    offline_on = DateField(said(FIELDS["offline_on"]), [Maybe()])
    registered_users = IntegerField(said(FIELDS["registered_users"]), [Maybe()])
    monthly_active_users = IntegerField(said(FIELDS["monthly_active_users"]), [Maybe()])
    last_business_login_on = DateField(said(FIELDS["last_business_login_on"]), [Maybe()])
    backup = StringField(said(FIELDS["backup"]), [Length(max=128)])
    rto_minutes = IntegerField(said(FIELDS["rto_minutes"]), [Maybe()], description=lazy(N_("分钟")))
    rpo_minutes = IntegerField(said(FIELDS["rpo_minutes"]), [Maybe()], description=lazy(N_("分钟")))
    vendor = StringField(said(FIELDS["vendor"]), [Length(max=128)])
    data_level = SelectField(said(FIELDS["data_level"]), choices=[], default="")
    xinchuang_by = DateField(said(FIELDS["xinchuang_by"]), [Maybe()])
    active = BooleanField(said(FIELDS["active"]), default=True)

    def facts(self) -> dict[str, Any]:
        return {name: self._fields[name].data for name in FIELDS}


COLUMNS = [
    Column("name", N_("名称"), lambda s: s.name, sort=System.name, title=True,
           href=lambda s: url_for("systems.show", system_id=s.id)),
    Column("code", N_("编码"), lambda s: s.code, sort=System.code),
    Column("department", N_("使用单位"), lambda s: s.department.name, href=links.department(lambda s: s.department_id)),
    Column("mlps_level", FIELDS["mlps_level"], lambda s: s.mlps_level, sort=System.mlps_level, number=True),
    Column("data_level", FIELDS["data_level"], lambda s: _(DATA_LEVELS[s.data_level]) if s.data_level else None,
           code=lambda s: s.data_level or None, sort=System.data_level),
    Column("ipv6", N_("IPv6"), lambda s: _(readiness.REACH_LABELS[readiness.Ipv6Reach(s.ipv6)]) if s.ipv6 else None,
           code=lambda s: s.ipv6),
    Column("owner", FIELDS["owner"], lambda s: s.owner),
    Column("online_on", FIELDS["online_on"], lambda s: s.online_on, sort=System.online_on),
    Column("registered_users", FIELDS["registered_users"], lambda s: s.registered_users, sort=System.registered_users,
           number=True),
    Column("monthly", FIELDS["monthly_active_users"], lambda s: s.monthly_active_users, sort=System.monthly_active_users,
           number=True),
    Column("login", FIELDS["last_business_login_on"], lambda s: s.last_business_login_on,
           sort=System.last_business_login_on),
    Column("state", N_("状态"), lambda s: "active" if s.active else "inactive", state=True),
]  # fmt: skip


WHAT = {
    "system.register": N_("登记"),
    "authorisation.grant": N_("办理常备授权"),
    "authorisation.revoke": N_("撤销常备授权"),
}
"""What was done to a system: action → words; the rest are changes."""


def _visible(tx: Tx, who: Actor) -> Any:
    query = select(System)
    if who.role is Role.TENANT:
        query = query.where(System.department_id.in_(agencies.subtree(tx, who.department_id or 0)))
    return query


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(
    COLUMNS,
    args=("q", "department", "level", "data_level"),
)
def index() -> str | Response:
    tx = reading()
    query = _visible(tx, actor()).options(
        joinedload(System.department), with_expression(System.ipv6, readiness.reach())
    )
    own = agencies.subtree(tx, actor().department_id or 0) if actor().role is Role.TENANT else None
    filters = [
        Filter("q", N_("名称或编码"), lambda q, v: q.where(frame.matching(v, System.name, System.code))),
        Filter("department", N_("使用单位"), lambda q, v: q.where(System.department_id == int(v)),
               among=choices.departments(within=own, ended=True)),
        Filter("level", FIELDS["mlps_level"], lambda q, v: q.where(System.mlps_level == int(v)),
               options={str(n): str(n) for n in range(1, 6)}),
        Filter("data_level", FIELDS["data_level"], lambda q, v: q.where(System.data_level == v), options=DATA_LEVELS),
    ]  # fmt: skip
    found = listing(tx, query, COLUMNS, key=System.id, filters=filters, sort="code")
    return found.exported("systems") or render_template("systems/index.html", systems=found)


def _mine(tx: Tx, system_id: int) -> System:
    found: System | None = tx.scalar(_visible(tx, actor()).where(System.id == system_id))
    if found is None:
        raise NotFound("system.none", N_("没有编号为 %(id)s 的信息系统"), id=system_id)
    return found


@blueprint.get("/<int:system_id>")
@allow(*STEWARDS, Role.TENANT)
def show(system_id: int) -> str:
    tx = reading()
    one = _mine(tx, system_id)
    resources = list(
        tx.scalars(
            select(Resource)
            .where(Resource.system_id == one.id, Resource.gone_at.is_(None))
            .options(joinedload(Resource.pool))
            .order_by(Resource.name)
        )
    )
    records = tx.scalars(
        select(AuditRecord)
        .where(AuditRecord.subject == f"system:{one.id}")
        .order_by(AuditRecord.sequence.desc())
        .limit(50)
    )
    use, today = measured(tx, systems=[one.id]), tx.now.astimezone(ZONE).date()
    return render_template(
        "systems/show.html",
        one=one,
        resources=resources,
        has=Amount.total(row.actual() for row in resources),
        use={kind: use.total(kind) for kind in (VCPU, MEMORY)},
        visits=_visits(tx, one.id),
        run=use.run,
        growth=growth_evidence.standing(tx, one.id),
        tiers=tiers.open_of(tx, one.id),
        shares=share_table(tx, one.id),
        may_declare=may("tiers.declare") and any(row.kind == ServiceKind.VM for row in resources),
        projects=[
            (each, f"project_{each.state(today).value}") for each in funded_projects.of_system(tx, one.id)
        ],
        facts=[(_(label), _written(name, getattr(one, name))) for name, label in FIELDS.items() if name not in ("name", "active")],
        history=[
            {
                "at": row.at, "who": row.actor, "reason": row.reason,
                "what": _(WHAT.get(row.action, N_("变更"))),
                "changes": [
                    (_(FIELDS[n]), _written(n, row.before.get(n)), _written(n, v)) for n, v in row.after.items() if n in FIELDS
                ],
            }
            for row in records
        ],
    )  # fmt: skip


def _visits(tx: Tx, system_id: int) -> list[tuple[str, str, str | None]]:
    """What was measured of who comes to it, and who says so: label, figure, source."""
    one = tx.get(MeasuredVisits, system_id)
    if one is None:
        return []
    names: dict[int | None, str] = dict(tx.execute(select(PushSource.id, PushSource.name)).all())
    told = [
        (_("最近登录"), one.last_login_on, one.logins_by),
        (_("近30天登录次数"), one.logins, one.logins_by),
        (_("登录计数完整起于"), one.known_since, one.logins_by),
        (_("近30天访问次数"), one.visits, one.visits_by),
        (_("近30天活跃用户数"), one.active_users, one.users_by),
    ]
    return [
        (label, number(figure) if isinstance(figure, int) else figure.isoformat(), names.get(by))
        for label, figure, by in told
        if figure is not None
    ]


def _written(name: str, value: Any) -> Any:
    if name == "data_level" and value:
        return _(DATA_LEVELS[value])
    return _("%(n)s 分钟", n=value) if name in ("rto_minutes", "rpo_minutes") and value is not None else value


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.SUPERVISOR, Role.TENANT)
@takes(SystemForm, sends={"confirm": "1"})
def register() -> str | Response | tuple[str, int]:
    """Where there are systems of such a name, the first sending asks whether it is another (``confirm``)."""
    form = _form()

    def act() -> str | Response:
        sent = request.form
        known = bool(sent.get("confirm")) and sent.get("about", form.name.data) == form.name.data
        if not known and (alike := likeness.alike(reading(), form.name.data)):
            return page(alike)
        with transaction() as tx:
            one = agencies.enter(tx, form.code.data, form.department.data, form.facts())
        return done(_("已登记：%(name)s", name=one.name), "systems.show", system_id=one.id)

    def page(alike: likeness.LikeSystems | None = None) -> str:
        return render_template("systems/edit.html", form=form, one=None, alike=alike)

    return answer(form, act, page, Invalid, Conflict)


@blueprint.route("/<int:system_id>/edit", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.SUPERVISOR, Role.TENANT)
@takes(SystemForm)
def edit(system_id: int) -> str | Response | tuple[str, int]:
    one = _mine(reading(), system_id)
    form = _form(one)

    def act() -> Response:
        with transaction() as tx:
            agencies.amend(tx, agencies.system(tx, system_id), form.facts())
        return done(_("已保存"), "systems.show", system_id=system_id)

    return answer(form, act, lambda: render_template("systems/edit.html", form=form, one=one), Invalid, NotAllowed)


def _form(system: System | None = None) -> SystemForm:
    form = SystemForm(obj=system, department=system.department_id if system else 0)
    who = actor()
    within = agencies.subtree(reading(), who.department_id or 0) if who.role is Role.TENANT else None
    form.department.offer(reading(), choices.departments(within=within))
    form.data_level.choices = [
        SelectChoice("", "—"),
        *(SelectChoice(code, _(label)) for code, label in DATA_LEVELS.items()),
    ]
    if system is not None:  # who owns it changes by a reorganisation alone
        del form.department, form.code
    return form


@checklist.step("systems", N_("信息系统"), N_("登记各单位的信息系统：申请、资源和评估都按系统归集。"), Role.AUTHORITY, Role.SUPERVISOR,
                endpoint="systems.index", order=40)  # fmt: skip
def _registered(look: Look) -> bool:
    return look.tx.scalar(select(System.id).where(System.active).limit(1)) is not None
