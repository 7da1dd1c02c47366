"""应急账号: who comes in by password whatever the rules ask, who named them and why, and when they were used."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, render_template
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import SelectField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import frame
from console.access import allow, proven
from console.accounts import accounts
from console.book import reading, transaction
from console.forms import answer, done
from console.identity import BreakGlass, break_glass, rulebook
from console.pages.identity.source_forms import ReasonForm
from console.programs import unfit
from console.words import _, lazy
from quota.actors import ROLE_LABELS, Actor, Role
from quota.db import Tx
from quota.directory import Person
from quota.errors import N_, Invalid, WrongState

blueprint = Blueprint("break_glass", __name__, url_prefix="/settings/break-glass")
frame.page("settings", "break_glass.index", N_("应急账号"), order=15)

READERS = (Role.SYSADMIN, Role.SECADMIN, Role.AUDADMIN, Role.AUDITOR)
TOLD_DAYS = 7


class EmergencyAccountForm(FlaskForm):  # type: ignore[misc]
    person = SelectField(lazy(N_("账号")), coerce=int)
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])

    def offer(self, tx: Tx) -> None:
        """Open accounts of those who look after the house; of other roles nobody needs one, and there may be thousands."""
        roles = [one.value for one in (Role.SECADMIN, Role.SYSADMIN, Role.AUDADMIN, Role.AUTHORITY, Role.SUPERVISOR)]
        query = select(Person).where(Person.role.in_(roles), Person.active, Person.granted).order_by(Person.name)
        named = set(tx.scalars(select(BreakGlass.person_id)))
        self.person.choices = [
            SelectChoice(str(one.id), f"{one.name} · {one.login} · {_(ROLE_LABELS[Role(one.role)])}")
            for one in tx.scalars(query.limit(500))
            if one.id not in named
        ]


@blueprint.get("/")
@allow(*READERS)
def index() -> str:
    tx = reading()
    uses = break_glass.uses(tx)
    return render_template(
        "break_glass/index.html",
        rows=break_glass.accounts(tx),
        uses=uses,
        used=[(one.at, f"{one.person.name} · {one.person.login}", one.address) for one in uses],
        keepers=rulebook.keepers(tx),
    )


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SECADMIN)
@proven
@unfit("who may come in, people settle")
def name() -> str | Response | tuple[str, int]:
    form = EmergencyAccountForm()
    form.offer(reading())

    def act() -> Response:
        with transaction() as tx:
            row = break_glass.name(tx, accounts.person(tx, form.person.data), form.reason.data)
            who = row.person.name
        return done(_("已指定应急账号：%(name)s", name=who), "break_glass.index")

    return answer(form, act, lambda: render_template("break_glass/name.html", form=form), Invalid, WrongState)


@blueprint.route("/<int:person_id>", methods=["GET", "POST"])
@allow(Role.SECADMIN)
@proven
@unfit("who may come in, people settle")
def release(person_id: int) -> str | Response | tuple[str, int]:
    who = accounts.person(reading(), person_id)
    form = ReasonForm()

    def act() -> Response:
        with transaction() as tx:
            break_glass.release(tx, accounts.person(tx, person_id), form.reason.data)
        return done(_("已取消应急账号：%(name)s", name=who.name), "break_glass.index")

    return answer(
        form, act, lambda: render_template("break_glass/release.html", form=form, who=who), Invalid, WrongState
    )


@frame.home_block(Role.SECADMIN, Role.AUDADMIN, Role.AUDITOR, order=5)
def _used(tx: Tx, _actor: Actor) -> str | None:
    """Uses of the last days, for those who watch."""
    rows = [one for one in break_glass.uses(tx, 5) if tx.now - one.at < timedelta(days=TOLD_DAYS)]
    return render_template("break_glass/_used.html", rows=rows) if rows else None
