"""The authority's direct acts on quota: typed, shown with their consequence, then done."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import SelectField

from console import frame
from console.access import allow
from console.book import reading, transaction
from console.forms import answer, done
from console.pages.quota.wallet_choices import HOLDERS, WalletForm, departments
from console.programs import Takes, takes
from console.security import row
from console.words import _, amount, kind_label, lazy
from quota.actors import Role
from quota.db import Tx
from quota.directory import Department, Pool
from quota.errors import N_, Conflict, Invalid, NotFound, OverCapacity
from quota.ledger import Account, Act, Allotment, Holder, allotments
from quota.units import Commodity

blueprint = Blueprint("allotments", __name__, url_prefix="/quota/acts")
frame.under("quota.index", "allotments")


class MoveForm(WalletForm):
    target = SelectField(lazy(N_("接收单位")), coerce=int)


@blueprint.route("/<act>", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(
    each=lambda: {one.value: Takes(MoveForm if one is Act.MOVE else WalletForm, sends={"confirm": "1"}) for one in Act},
    of="act",
)
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
    label = allotments.LABELS[verb]

    def carry_out() -> str | Response:
        what = _asked(form, verb)
        if not request.form.get("confirm"):
            return render_template("allotments/check.html", form=form, verb=verb, label=label, what=what,
                                   effects=_effects(tx, what), answers=_answers(tx, what))  # fmt: skip
        with transaction() as writing:
            allotments.carry_out(writing, what, key=f"form:{form.key.data[:64]}")
        receiver = what.target_id or what.department_id
        return done(_("已办理：%(act)s", act=_(label)), "quota.show", department_id=receiver)

    def page() -> str:
        return render_template("allotments/act.html", form=form, label=label, verb=verb, has=_unused(tx, form))

    return answer(form, carry_out, page, Invalid, OverCapacity, Conflict)


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
