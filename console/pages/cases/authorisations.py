"""常备授权: which systems' machines their departments let the steward enlarge for some hours, and what is on loan so."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import or_, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import BooleanField, DateField, IntegerField, SelectField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame, links
from console.access import STEWARDS, allow, proven
from console.book import actor, reading, transaction
from console.forms import answer, done
from console.lists import Column, Filter, Rows, listing
from console.pages.cases import growth_evidence
from console.programs import Given, listed, takes
from console.security import row
from console.words import _, amounts, lazy
from console.words import who as named
from metering.cases import Authorisation, Case, authorisations
from quota.actors import Actor, Role
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import Department, System, departments, subtree
from quota.errors import N_, Invalid, NotAllowed
from quota.units import Amount

blueprint = Blueprint("authorisations", __name__, url_prefix="/authorisations")
frame.page("cases", "authorisations.index", N_("常备授权"), order=55)


class AuthorisationForm(FlaskForm):  # type: ignore[misc]
    system = SelectField(lazy(N_("信息系统")), coerce=int)
    ends_on = DateField(lazy(N_("授权到")), [InputRequired(lazy(N_("请写明授权到哪一天,不能早于今天")))],
                        description=lazy(N_("最长一年;可随时撤销")))  # fmt: skip
    vcpu = IntegerField(lazy(N_("同时扩容上限(vCPU)")), [InputRequired(lazy(N_("请填写数量")))])
    memory_gb = IntegerField(lazy(N_("同时扩容上限(内存)")), [InputRequired(lazy(N_("请填写数量")))])
    block = IntegerField(
        lazy(N_("块存储扩容上限(GB)")), [Optional()], description=lazy(N_("留空则不即时扩容；扩了不归还，授权期内累计"))
    )
    object = IntegerField(
        lazy(N_("对象存储扩容上限(GB)")),
        [Optional()],
        description=lazy(N_("留空则不即时扩容；扩了不归还，授权期内累计")),
    )
    bandwidth = IntegerField(
        lazy(N_("同时扩容上限(带宽 Mbps)")), [Optional()], description=lazy(N_("留空则不即时扩容"))
    )
    any_time = BooleanField(lazy(N_("变更窗口之外也即时扩容(封网期除外)")))
    reason = TextAreaField(lazy(N_("说明")), [Optional(), Length(max=500)])

    def others(self) -> Amount:
        """What is allowed beside vCPU and memory, base units."""
        return Amount({cls: self[cls].data for cls in authorisations.OTHERS if self[cls].data is not None})

    def offer(self, tx: Tx) -> None:
        mine = subtree(tx, actor().department_id or -1)
        found = tx.scalars(
            select(System)
            .where(System.department_id.in_(mine), System.active)
            .options(joinedload(System.department))
            .order_by(System.name)
        )
        self.system.choices = [SelectChoice(str(one.id), f"{one.name} · {one.department.name}") for one in found]


def _state(authorisation: Authorisation) -> str:
    """The state of an authorisation as one word: it has ended for who is no longer the system's department, too."""
    if authorisation.revoked_at is not None or authorisation.department_id != authorisation.system.department_id:
        return "case_revoked"
    return "case_holding" if authorisation.holds(reading().now.astimezone(ZONE).date()) else "case_over"


def _state_is(query: Rows, value: str) -> Rows:
    today = reading().now.astimezone(ZONE).date()
    holds = (
        Authorisation.revoked_at.is_(None)
        & (Authorisation.ends_on >= today)
        & (Authorisation.department_id == System.department_id)
    )
    return query.where(holds if value == "holding" else ~holds)


COLUMNS = [
    Column("system", N_("信息系统"), lambda a: a.system.name, title=True, href=links.system(lambda a: a.system_id)),
    Column("department", N_("使用单位"), lambda a: a.department.name, href=links.department(lambda a: a.department_id)),
    Column("state", N_("状态"), _state, state=True),
    Column("ceiling", N_("同时扩容上限"), lambda a: amounts(a.ceiling())),
    Column("any_time", N_("变更窗口之外"), lambda a: _("也即时扩容") if a.any_time else _("不即时扩容,只通知"), minor=True),
    Column("ends_on", N_("授权到"), lambda a: a.ends_on, sort=Authorisation.ends_on),
    Column("granted_by", N_("授权人"), lambda a: a.granted_by, text=named),
    Column("granted_at", N_("授权时间"), lambda a: a.granted_at, sort=Authorisation.granted_at),
    Column("revoked_at", N_("撤销时间"), lambda a: a.revoked_at, minor=True),
    Column("revoked_by", N_("撤销人"), lambda a: a.revoked_by or None, text=named, minor=True),
    Column("reason", N_("说明"), lambda a: a.reason, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state_is, options={"holding": N_("生效中"), "over": N_("已结束")}, default="holding"),
    Filter("q", N_("系统或单位"), lambda q, v: q.where(or_(
        frame.matching(v, System.name), Authorisation.department.has(frame.matching(v, Department.name))))),
]  # fmt: skip


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = (
        select(Authorisation)
        .join(System, System.id == Authorisation.system_id)
        .options(joinedload(Authorisation.system), joinedload(Authorisation.department))
    )
    where: tuple[Any, ...] = ()
    if actor().role is Role.TENANT:
        mine = subtree(tx, actor().department_id or -1)
        query = query.where(Authorisation.department_id.in_(mine))
        where = (Case.department_id.in_(mine),)
    found = listing(tx, query, COLUMNS, key=Authorisation.id, filters=FILTERS, sort="ends_on")
    return found.exported("authorisations") or render_template(
        "authorisations/index.html",
        authorisations=found,
        on_loan=growth_evidence.on_loan(tx, *where),
        grows=growth_evidence.grows(tx),
    )


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.TENANT)
@proven
@takes(AuthorisationForm, sends={"step": "confirm"})
def grant() -> str | Response | tuple[str, int]:
    """Authorise; the first sending shows what it means."""
    tx = reading()
    form = AuthorisationForm()
    form.offer(tx)
    if request.method == "GET":
        form.system.data = request.args.get("system", type=row) or form.system.data
        before = authorisations.holding(tx, form.system.data) if form.system.data else None
        if before is not None:
            form.ends_on.data, form.vcpu.data = before.ends_on, before.vcpu
            form.memory_gb.data, form.any_time.data = before.memory_mb // 1024, before.any_time
            for cls, figure in before.others.items():
                form[cls].data = figure

    def page() -> str:
        return render_template("authorisations/grant.html", form=form)

    def act() -> str | Response:
        step = request.form.get("step")
        if step == "edit":
            return page()
        system = departments.system(tx, form.system.data)
        typed, others = (form.ends_on.data, form.vcpu.data, form.memory_gb.data), form.others()
        if step == "confirm":
            with transaction() as writing:
                authorisations.grant(
                    writing,
                    departments.system(writing, system.id),
                    *typed,
                    reason=form.reason.data or "",
                    any_time=form.any_time.data,
                    others=others,
                )
            said = _("常备授权已生效,到 %(day)s", day=form.ends_on.data)
            return done(said, "systems.show", system_id=system.id)
        authorisations.checked(tx, system, *typed, others)
        return render_template(
            "authorisations/check.html",
            form=form,
            system=system,
            standing=growth_evidence.standing(tx, system.id),
            answers=[
                (_("信息系统"), system.name, ""),
                (_("使用单位"), system.department.name, ""),
                (_("授权到"), form.ends_on.data, ""),
                (_("同时扩容上限"), f"{form.vcpu.data} vCPU · {form.memory_gb.data} GB", ""),
                (_("其他扩容上限"), amounts(others) if others else _("不即时扩容"), ""),
                (_("变更窗口之外"), _("也即时扩容") if form.any_time.data else _("不即时扩容,只通知"), ""),
                (_("说明"), form.reason.data, ""),
            ],
        )

    return answer(form, act, page, Invalid, NotAllowed)


@blueprint.route("/<int:authorisation_id>/revoke", methods=["GET", "POST"])
@allow(Role.TENANT, Role.AUTHORITY)
@takes(None, Given("reason", label=N_("理由"), required=True))
def revoke(authorisation_id: int) -> str | Response:
    """Take an authorisation back, at once; the page says what goes on nonetheless."""
    if request.method == "POST":
        with transaction() as tx:
            one = authorisations.authorisation(tx, authorisation_id)
            authorisations.revoke(tx, one, request.form.get("reason", ""))
            system_id = one.system_id
        flash(_("常备授权已撤销"), "success")
        return redirect(url_for("systems.show", system_id=system_id))
    tx = reading()
    one = authorisations.authorisation(tx, authorisation_id)
    return render_template(
        "authorisations/revoke.html", one=one, on_loan=growth_evidence.on_loan(tx, Case.system_id == one.system_id)
    )


@frame.home_block(Role.TENANT, order=7)
def enlarged(tx: Tx, who: Actor) -> str | None:
    """What is enlarged on the department's own authorisation now."""
    rows = growth_evidence.on_loan(tx, Case.department_id.in_(subtree(tx, who.department_id or -1)), limit=8)
    return render_template("authorisations/_home.html", on_loan=rows) if rows else None
