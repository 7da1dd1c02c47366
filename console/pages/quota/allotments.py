"""The authority's direct acts on quota: typed, shown with their consequence, then done."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import SelectField

from console.access import allow
from console.book import reading, transaction
from console.forms import hang
from console.pages.quota.wallet_choices import HOLDERS, WalletForm, departments
from console.security import row
from console.words import _, amount, kind_label, lazy
from quota.actors import Role
from quota.db import Tx
from quota.directory import Department, Pool
from quota.errors import N_, Conflict, Invalid, NotFound, OverCapacity
from quota.ledger import Account, Act, Allotment, Holder, allotments
from quota.units import Commodity

blueprint = Blueprint("allotments", __name__, url_prefix="/quota/acts")


class MoveForm(WalletForm):
    target = SelectField(lazy(N_("接收单位")), coerce=int)


@blueprint.route("/<act>", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
def act(act: str) -> str | Response | tuple[str, int]:
    """Grant, reclaim or move. The first sending shows what would happen, the second (``confirm``) does it."""
    if act not in list(Act):
        raise NotFound("quota.act", N_("没有这种操作"))
    verb = Act(act)
    tx = reading()
    form = MoveForm() if verb is Act.MOVE else WalletForm()
    form.offer(tx)
    if verb is Act.MOVE:
        departments(tx, form.target)
    if request.method == "GET":
        form.department.data = request.args.get("department", type=row) or form.department.data
    if form.validate_on_submit():
        try:
            what = _asked(form, verb)
            if request.form.get("confirm"):
                with transaction() as writing:
                    allotments.carry_out(writing, what, key=f"form:{form.key.data[:64]}")
                flash(_("已办理：%(act)s", act=_(allotments.LABELS[verb])), "success")
                return redirect(url_for("quota.show", department_id=what.target_id or what.department_id))
            effects = _effects(tx, what)
        except (Invalid, OverCapacity, Conflict) as refused:
            hang(form, refused)
        else:
            return render_template("allotments/check.html", form=form, verb=verb, label=allotments.LABELS[verb],
                                   what=what, effects=effects, answers=_answers(tx, what))  # fmt: skip
    return (
        render_template(
            "allotments/act.html", form=form, label=allotments.LABELS[verb], verb=verb, has=_unused(tx, form)
        ),
        422 if form.errors else 200,
    )


def _asked(form: WalletForm, verb: Act) -> Allotment:
    pool_id, cls, figure = form.chosen()
    target = form.target.data if isinstance(form, MoveForm) else None
    return Allotment(verb, pool_id, cls, form.department.data, figure, form.reason.data or "", target)


def _effects(tx: Tx, what: Allotment) -> list[list[str]]:
    """Account by account: who, which holder, before, after."""
    names = {int(id_): str(name) for id_, name in tx.execute(select(Department.id, Department.name))}
    pool = tx.get_one(Pool, what.pool_id).name
    return [
        [
            names[one.department_id] if one.department_id else pool,
            _(HOLDERS[one.holder.value]),
            amount(one.before, what.cls),
            amount(one.after, what.cls),
        ]
        for one in allotments.foreseen(tx, what)
    ]


def _answers(tx: Tx, what: Allotment) -> list[tuple[str, str, str]]:
    pairs = [
        (_("单位"), tx.get_one(Department, what.department_id).name),
        (_("资源池"), tx.get_one(Pool, what.pool_id).name),
        (_("资源"), kind_label(what.cls)),
        (_("数量"), amount(what.amount, what.cls)),
        (_("理由"), what.reason),
    ]
    if what.target_id:
        pairs.insert(1, (_("接收单位"), tx.get_one(Department, what.target_id).name))
    return [(label, value, "") for label, value in pairs]


def _unused(tx: Tx, form: WalletForm) -> list[tuple[str, str]]:
    """What the chosen department has and does not use: known before it is submitted."""
    rows = tx.execute(
        select(Account, Pool.name)
        .join(Pool, Pool.id == Account.pool_id)
        .where(
            Account.department_id == (form.department.data or 0),
            Account.holder == Holder.GRANTED.value,
            Account.balance > 0,
        )
        .order_by(Account.code)
    )
    return [(f"{pool} · {kind_label(_class(one))}", amount(one.balance, one.kind)) for one, pool in rows]


def _class(one: Account) -> Commodity:
    return one.commodity
