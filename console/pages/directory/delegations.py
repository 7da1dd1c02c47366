"""委托代办: who is away, and which colleague signs meanwhile what is named or handed to him."""

from __future__ import annotations

from datetime import date

from flask import Blueprint, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import TextAreaField
from wtforms.validators import InputRequired, Length

from console import frame
from console.access import allow, proven
from console.accounts import accounts
from console.book import actor, reading, settings, transaction
from console.choices import ChoiceField
from console.forms import DateField, answer, done
from console.lists import Column, Filter, Rows, listing
from console.programs import Given, listed, takes
from console.security import row
from console.words import _, events, lazy, who
from quota import audit
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Delegation, Person, delegations
from quota.errors import N_, NotFound, Refused

blueprint = Blueprint("delegations", __name__, url_prefix="/delegations")
frame.page("requests", "delegations.index", N_("委托代办"), order=70)

ENTER = (*delegations.SIGNERS, Role.SECADMIN)
READERS = (*ENTER, Role.AUDITOR, Role.AUDADMIN)
SHOWN = 5
STATES = {"now": N_("未结束"), "over": N_("已结束")}


def _today() -> date:
    return reading().now.astimezone(settings().zone).date()


def _state_is(query: Rows, value: str) -> Rows:
    standing = Delegation.revoked_at.is_(None) & (Delegation.until_on >= _today())
    return query.where(standing if value == "now" else ~standing)


COLUMNS = [
    Column("person", N_("委托人"), lambda d: d.person.name, title=True,
           href=lambda d: url_for("delegations.show", delegation_id=d.id)),
    Column("deputy", N_("受托人"), lambda d: d.deputy.name),
    Column("from_on", N_("自"), lambda d: d.from_on, sort=Delegation.from_on),
    Column("until_on", N_("至"), lambda d: d.until_on, sort=Delegation.until_on),
    Column("state", N_("状态"), lambda d: f"delegation_{d.state(_today())}", state=True),
    Column("reason", N_("事由"), lambda d: d.reason, minor=True),
    Column("by", N_("登记人"), lambda d: d.entered_by, text=who, minor=True),
]  # fmt: skip
FILTERS = [Filter("state", N_("状态"), _state_is, options=STATES)]


class DelegationForm(FlaskForm):  # type: ignore[misc]
    deputy = ChoiceField(lazy(N_("受托人")))
    from_on = DateField(lazy(N_("自")), [InputRequired(lazy(N_("请填写日期")))])
    until_on = DateField(lazy(N_("至")), [InputRequired(lazy(N_("请填写日期")))], description=lazy(N_("含当日")))
    reason = TextAreaField(lazy(N_("事由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=2000)])


class RevokeForm(FlaskForm):  # type: ignore[misc]
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=2000)])


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    rows = (
        select(Delegation)
        .where(delegations.visible(actor()))
        .options(joinedload(Delegation.person), joinedload(Delegation.deputy))
    )
    found = listing(tx, rows, COLUMNS, key=Delegation.id, filters=FILTERS, sort="-until_on")
    return found.exported("delegations") or render_template("delegations/index.html", found=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*ENTER)
@proven
@takes(DelegationForm, args=(Given("person", int, N_("委托人:安全管理员代为登记时填写")),))
def enter() -> str | Response | tuple[str, int]:
    """Name who stands in; the security administrator does it for ``person``, who cannot himself."""
    if actor().role is Role.SECADMIN and request.method == "GET" and "person" not in request.args:
        return redirect(url_for("people.index"))
    tx, form = reading(), DelegationForm()
    person = _person(tx)
    form.deputy.offer(
        tx, select(Person.id, Person.login.label("code"), Person.name).where(delegations.may_stand_in_for(person))
    )

    def act() -> Response:
        with transaction() as writing:
            made = delegations.delegate(
                writing, person.id, form.deputy.data, form.from_on.data, form.until_on.data, form.reason.data
            )
        return done(_("已登记委托"), "delegations.show", delegation_id=made.id)

    return answer(form, act, lambda: render_template("delegations/enter.html", form=form, person=person), Refused)


def _person(tx: Tx) -> Person:
    """Who is away: the visitor, or for the security administrator whom the address names."""
    if actor().role is Role.SECADMIN:
        return accounts.person(tx, request.args.get("person", 0, row) or 0)
    found = tx.scalar(select(Person).where(Person.login == actor().login))
    if found is None:
        raise NotFound("person.none", N_("没有这个人员"))
    return found


@frame.home_block(*delegations.SIGNERS, order=61, side=True)
def _deputy(tx: Tx, _who: Actor) -> str | None:
    """For whom the visitor stands in, now or soon."""
    query = (
        select(Delegation)
        .join(Person, Person.id == Delegation.deputy_id)
        .where(Person.login == actor().login, Delegation.revoked_at.is_(None), Delegation.until_on >= _today())
        .options(joinedload(Delegation.person))
    )
    rows = tx.scalars(query.order_by(Delegation.from_on, Delegation.id).limit(SHOWN)).all()
    return render_template("delegations/_home.html", rows=rows) if rows else None


@blueprint.get("/<int:delegation_id>")
@allow(*READERS)
def show(delegation_id: int) -> str:
    tx = reading()
    one = delegations.delegation(tx, delegation_id)
    mine = actor().role is Role.SECADMIN or actor().login in (one.person.login, one.deputy.login)
    return render_template(
        "delegations/show.html",
        one=one,
        state=f"delegation_{one.state(_today())}",
        ends=mine and one.state(_today()) in ("coming", "standing"),
        history=events(audit.of(tx, one.subject, 50)),
    )


@blueprint.route("/<int:delegation_id>/revoke", methods=["GET", "POST"])
@allow(*ENTER)
@proven
@takes(RevokeForm)
def revoke(delegation_id: int) -> str | Response | tuple[str, int]:
    one, form = delegations.delegation(reading(), delegation_id), RevokeForm()

    def act() -> Response:
        with transaction() as tx:
            delegations.revoke(tx, delegation_id, form.reason.data)
        return done(_("已撤销委托"), "delegations.show", delegation_id=delegation_id)

    return answer(form, act, lambda: render_template("delegations/revoke.html", form=form, one=one), Refused)
