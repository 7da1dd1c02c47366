"""People and their rights: the system administrator enters them, the security administrator grants (三员分立)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import BooleanField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import choices, frame
from console.access import allow, proven
from console.accounts import FactorLoss, LossState, accounts, factors, sessions, throttle
from console.book import reading, settings, transaction
from console.choices import ChoiceField
from console.forms import answer, done
from console.founding import Look, StepStanding, checklist
from console.lists import Column, Filter, listing
from console.mail import mails
from console.programs import Given, listed, takes, unfit
from console.words import _, lazy, role
from quota.actors import HELD, ROLE_LABELS, Actor, Role
from quota.audit import AuditRecord
from quota.db import Tx
from quota.directory import CloudProvider, Department, Person, delegations
from quota.errors import N_, Conflict, Invalid, WrongState

blueprint = Blueprint("people", __name__, url_prefix="/settings/people")
frame.page("settings", "people.index", N_("人员与授权"), order=10)

ROLES = {role.value: ROLE_LABELS[role] for role in HELD}
STATES = {"active": N_("启用"), "inactive": N_("停用"), "ungranted": N_("待授权")}
VERBS = {
    "person.enrol": N_("录入人员"), "person.grant": N_("授权"), "person.activate": N_("启用账号"),
    "person.deactivate": N_("停用账号"), "person.reset": N_("重置密码"), "person.unlock": N_("解除登录限制"),
    "person.password": N_("修改密码"), "person.email": N_("登记邮箱"), "login.lock": N_("账号锁定"),
    "factor.enrol": N_("登记两步验证"), "factor.remove": N_("停用两步验证"), "factor.lost": N_("报告两步验证遗失"),
    "factor.forget": N_("清除两步验证"), "factor.keep": N_("不批准清除两步验证"), "login.end_all": N_("结束全部登录"),
}  # fmt: skip
LABELS = {
    "role": N_("角色"), "department_id": N_("单位"), "provider_id": N_("公司"), "granted": N_("已授权"),
    "active": N_("启用"), "locked_until": N_("锁定至"), "login": N_("登录名"), "name": N_("姓名"),
    "email": N_("邮箱"), "quota_manager": N_("配额统筹"),
}  # fmt: skip


def standing(who: Person) -> str:
    """The state of an account as one word."""
    if not who.active:
        return "inactive"
    return "active" if who.granted else "ungranted"


def place(who: Person) -> str | None:
    return who.department.name if who.department else who.provider.name if who.provider else None


class PersonBelonging(FlaskForm):  # type: ignore[misc]
    role = SelectField(lazy("角色"), choices=[], validators=[InputRequired(lazy("请选择角色"))])
    department = ChoiceField(lazy("单位"), description=lazy("仅使用单位的人员填写"))
    provider = SelectField(lazy("公司"), coerce=int, description=lazy("仅云服务商的人员填写"))

    def offer(self, tx: Tx) -> None:
        """Fill the choices from the book."""
        self.role.choices = [SelectChoice("", "—"), *(SelectChoice(code, _(label)) for code, label in ROLES.items())]
        self.department.offer(tx, choices.departments(), ("0", "—"))
        companies = (
            select(CloudProvider.id, CloudProvider.name).where(CloudProvider.active).order_by(CloudProvider.name)
        )
        offered = [SelectChoice(str(id_), name) for id_, name in tx.execute(companies)]
        self.provider.choices = [SelectChoice("0", "—"), *offered]

    def chosen(self, tx: Tx) -> tuple[Role, Department | None, CloudProvider | None]:
        return (
            Role(self.role.data),
            tx.get(Department, self.department.data or 0),
            tx.get(CloudProvider, self.provider.data or 0),
        )


class RoleGrantForm(PersonBelonging):
    quota_manager = BooleanField(
        lazy("统筹本单位及下级的配额"), description=lazy("仅使用单位的人员：可向下级下拨、收回和调剂配额，不需上级办理")
    )


class EnrolForm(PersonBelonging):
    login = StringField(
        lazy("登录名"),
        [InputRequired(lazy("请输入登录名")), Length(max=64)],
        description=lazy("字母、数字和 . - _"),
    )
    name = StringField(lazy("姓名"), [InputRequired(lazy("请输入姓名")), Length(max=64)])
    email = StringField(lazy("邮箱"), [Length(max=254)], description=lazy("有事待办时发邮件告知；可不填"))


class EmailForm(FlaskForm):  # type: ignore[misc]
    email = StringField(lazy("邮箱"), [Length(max=254)], description=lazy("有事待办时发邮件告知；不填则不发"))


def _state_is(query: object, value: str) -> object:
    return query.where(  # type: ignore[attr-defined]
        {
            "inactive": Person.active.is_(False),
            "ungranted": Person.active & Person.granted.is_(False),
            "active": Person.active & Person.granted,
        }[value]
    )


COLUMNS = [
    Column(
        "name",
        N_("姓名"),
        lambda p: p.name,
        sort=Person.name,
        href=lambda p: url_for("people.show", person_id=p.id),
        title=True,
    ),
    Column("login", N_("登录名"), lambda p: p.login, sort=Person.login),
    Column("role", N_("角色"), lambda p: _(ROLE_LABELS[Role(p.role)]), code=lambda p: p.role, sort=Person.role),
    Column("place", N_("单位或公司"), place),
    Column("state", N_("状态"), standing, state=True),
    Column("last_login", N_("最近登录"), lambda p: p.last_login_at, sort=Person.last_login_at),
]
FILTERS = [
    Filter("q", N_("姓名或登录名"), lambda q, v: q.where(
        frame.matching(v, Person.name, Person.login))),
    Filter("role", N_("角色"), lambda q, v: q.where(Person.role == v), options=ROLES),
    Filter("state", N_("状态"), _state_is, options=STATES),  # type: ignore[arg-type]
]  # fmt: skip


@blueprint.get("/")
@allow(Role.SYSADMIN, Role.SECADMIN, Role.AUDADMIN, Role.AUDITOR)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    query = select(Person).options(joinedload(Person.department), joinedload(Person.provider))
    people = listing(reading(), query, COLUMNS, key=Person.id, filters=FILTERS, sort="name")
    return people.exported("people") or render_template("people/index.html", people=people)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SYSADMIN)
@unfit("a secret is shown once, to a person")
def enrol() -> str | Response | tuple[str, int]:
    form = EnrolForm()
    form.offer(reading())

    def act() -> str:
        with transaction() as tx:
            chosen, department, provider = form.chosen(tx)
            who, first = accounts.enrol(
                tx, form.login.data, form.name.data, chosen, department=department, provider=provider
            )
            mails.write_to(tx, who, form.email.data or "")
        return _told(who.id, first)

    return answer(form, act, lambda: render_template("people/enrol.html", form=form), Invalid, Conflict)


@blueprint.get("/<int:person_id>")
@allow(Role.SYSADMIN, Role.SECADMIN, Role.AUDADMIN, Role.AUDITOR)
def show(person_id: int) -> str:
    tx = reading()
    who = accounts.person(tx, person_id)
    return render_template(
        "people/show.html",
        who=who,
        signs=tx.actor.role is Role.SECADMIN and delegations.signs(who),
        standing=standing(who),
        place=place(who),
        waits=throttle.waits(tx, who.login),
        enrolled=factors.of_person(tx, who.id),
        loss=factors.open_loss(tx, who.id),
        sessions=sessions.of_person(tx, settings(), who.id),
        history=_history(tx, who),
    )


@blueprint.route("/<int:person_id>/grant", methods=["GET", "POST"])
@allow(Role.SECADMIN)
@proven
@unfit("people grant rights")
def grant(person_id: int) -> str | Response | tuple[str, int]:
    who = accounts.person(reading(), person_id)
    form = RoleGrantForm(
        role=who.role,
        department=who.department_id or 0,
        provider=who.provider_id or 0,
        quota_manager=who.quota_manager,
    )
    form.offer(reading())

    def act() -> Response:
        with transaction() as tx:
            chosen, department, provider = form.chosen(tx)
            accounts.grant(
                tx,
                accounts.person(tx, person_id),
                chosen,
                department=department,
                provider=provider,
                quota_manager=form.quota_manager.data,
            )
        return done(
            _("已授权：%(name)s，%(role)s", name=who.name, role=_(ROLE_LABELS[chosen])),
            "people.show",
            person_id=person_id,
        )

    return answer(form, act, lambda: render_template("people/grant.html", form=form, who=who), Invalid, WrongState)


@blueprint.route("/<int:person_id>/email", methods=["GET", "POST"])
@allow(Role.SYSADMIN)
@takes(EmailForm)
def email(person_id: int) -> str | Response | tuple[str, int]:
    """Where mail for somebody goes. Unlike rights and passwords, one may set one's own."""
    who = accounts.person(reading(), person_id)
    form = EmailForm(email=who.email)

    def act() -> Response:
        with transaction() as tx:
            mails.write_to(tx, accounts.person(tx, person_id), form.email.data or "")
        return done(_("已登记邮箱") if form.email.data else _("已删除邮箱"), "people.show", person_id=person_id)

    return answer(form, act, lambda: render_template("people/email.html", form=form, who=who))


@blueprint.post("/<int:person_id>/active")
@allow(Role.SYSADMIN)
@proven
@takes(None, Given("active", bool, label=N_("启用")))
def activate(person_id: int) -> Response:
    wanted = request.form.get("active") == "1"
    with transaction() as tx:
        accounts.activate(tx, accounts.person(tx, person_id), wanted)
    flash(_("账号已启用") if wanted else _("账号已停用，其登录已失效"), "success")
    return redirect(url_for("people.show", person_id=person_id))


@blueprint.post("/<int:person_id>/reset")
@allow(Role.SYSADMIN)
@proven
@unfit("a secret is shown once, to a person")
def reset(person_id: int) -> Response | str:
    with transaction() as tx:
        first = accounts.reset_password(tx, accounts.person(tx, person_id))
    return _told(person_id, first)


@blueprint.post("/<int:person_id>/unlock")
@allow(Role.SYSADMIN)
@takes()
def unlock(person_id: int) -> Response:
    with transaction() as tx:
        accounts.unlock(tx, accounts.person(tx, person_id))
    flash(_("已解除登录限制"), "success")
    return redirect(url_for("people.show", person_id=person_id))


class LossForm(FlaskForm):  # type: ignore[misc]
    reason = StringField(
        lazy("理由"),
        [InputRequired(lazy("请写明理由")), Length(max=500)],
        description=lazy("确认本人身份的方式和遗失的凭据"),
    )


@blueprint.route("/<int:person_id>/factor-lost", methods=["GET", "POST"])
@allow(Role.SYSADMIN)
@proven
@unfit("asked again: its person has to be there")
def factor_lost(person_id: int) -> str | Response | tuple[str, int]:
    """Report that somebody lost factor and recovery codes; the security administrator decides."""
    who, form = accounts.person(reading(), person_id), LossForm()

    def act() -> Response:
        with transaction() as tx:
            factors.report_loss(tx, accounts.person(tx, person_id), form.reason.data)
        return done(_("已报告，等待安全管理员处理"), "people.show", person_id=person_id)

    page = lambda: render_template("people/factor_lost.html", form=form, who=who)  # noqa: E731
    return answer(form, act, page, Invalid, WrongState)


@blueprint.post("/losses/<int:loss_id>/decide")
@allow(Role.SECADMIN)
@proven
@unfit("asked again: its person has to be there")
def decide_loss(loss_id: int) -> Response:
    """Let somebody enrol anew, or not."""
    granted = request.form.get("grant") == "1"
    with transaction() as tx:
        person_id = factors.decide_loss(tx, loss_id, granted).person_id
    said = _("已清除，本人下次登录时可重新登记") if granted else _("未批准")
    return done(said, "people.show", person_id=person_id)


@blueprint.post("/sessions/<int:session_id>/end")
@allow(Role.SECADMIN)
@unfit("asked again: its person has to be there")
def end_session(session_id: int) -> Response:
    """End one session of somebody."""
    with transaction() as tx:
        person_id = sessions.end(tx, session_id).person_id
    return done(_("已结束该登录"), "people.show", person_id=person_id)


@blueprint.post("/<int:person_id>/sessions/end")
@allow(Role.SECADMIN)
@unfit("asked again: its person has to be there")
def end_sessions(person_id: int) -> Response:
    """End every session of somebody."""
    with transaction() as tx:
        sessions.end_all(tx, accounts.person(tx, person_id))
    return done(_("已结束此人的全部登录"), "people.show", person_id=person_id)


def _told(person_id: int, first: str) -> str:
    """The one page that ever shows a first password."""
    return render_template("people/first.html", who=accounts.person(reading(), person_id), first=first)


def _history(tx: Tx, who: Person) -> list[dict[str, object]]:
    records = tx.scalars(
        select(AuditRecord)
        .where(AuditRecord.subject == f"person:{who.id}", AuditRecord.action.in_(VERBS))
        .order_by(AuditRecord.sequence.desc())
        .limit(50)
    )
    return [
        {
            "at": one.at,
            "who": one.actor,
            "what": _(VERBS[one.action]),
            "reason": one.reason,
            "changes": [
                (_(LABELS[k]), _told_as(tx, k, one.before.get(k)), _told_as(tx, k, v))
                for k, v in one.after.items()
                if k in LABELS and one.before.get(k) != v
            ],
        }
        for one in records
    ]


def _told_as(tx: Tx, name: str, value: Any) -> Any:
    """A recorded value as people read it: roles and places by name, instants as such."""
    if value is None or name not in ("role", "department_id", "provider_id", "locked_until"):
        return value
    if name == "role":
        return role(value)
    if name == "locked_until":
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    found = tx.get(Department, value) if name == "department_id" else tx.get(CloudProvider, value)
    return found.name if found else value


@frame.finder(Role.SYSADMIN, Role.SECADMIN, order=90)
def _find(tx: Tx, _actor: Actor, text: str, limit: int) -> list[frame.Hit]:
    found = tx.scalars(
        select(Person).where(frame.matching(text, Person.name, Person.login)).order_by(Person.name).limit(limit)
    )
    return [
        frame.Hit(N_("人员"), one.name, url_for("people.show", person_id=one.id), one.login, standing(one))
        for one in found
    ]


@frame.home_block(Role.SYSADMIN, Role.SECADMIN, order=10)
def _waiting(tx: Tx, _actor: Actor) -> str | None:
    """Accounts that wait for a grant, or for leave to enrol a second factor anew."""
    waiting = ~Person.granted
    lost = select(FactorLoss.person_id).where(FactorLoss.state == LossState.OPEN.value)
    rows = tx.scalars(
        select(Person).where(Person.active, waiting | Person.id.in_(lost)).order_by(Person.name).limit(20)
    ).all()
    losses = set(tx.scalars(lost))
    return render_template("people/_waiting.html", rows=rows, standing=standing, losses=losses)


WANTED = (Role.AUTHORITY, Role.SUPERVISOR)


@checklist.step(
    "people", N_("人员与授权"), N_("主管部门和运营监督方至少各有一人启用并已授权；形式审查和技术评审须由两人办理。"), Role.SYSADMIN, Role.SECADMIN,
    endpoint="people.index", order=20,
)  # fmt: skip
def _manned(look: Look) -> StepStanding:
    roles = select(Person.role).where(Person.role.in_([one.value for one in WANTED]), Person.active, Person.granted)
    there = set(look.tx.scalars(roles.distinct()))
    return StepStanding(len(there) == len(WANTED), len(there), len(WANTED))


@checklist.step(
    "accounts", N_("公司账号"), N_("每家云服务商至少有一个启用并已授权的账号，办理工单、申诉和账单。"), Role.SYSADMIN, Role.SECADMIN,
    endpoint="people.index", order=60,
)  # fmt: skip
def _companies_manned(look: Look) -> StepStanding:
    manned = select(Person.id).where(Person.provider_id == CloudProvider.id, Person.active, Person.granted).exists()
    companies = select(func.count(CloudProvider.id)).where(CloudProvider.active)
    every, done = look.tx.scalar(companies) or 0, look.tx.scalar(companies.where(manned)) or 0
    return StepStanding(0 < every == done, done, every)
