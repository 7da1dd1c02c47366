"""Direct acts on quota, the authority's and those of a node of the tree: typed, shown with their consequence, then done."""

from __future__ import annotations

from flask import Blueprint, render_template, request, url_for
from sqlalchemy import Select, select
from werkzeug.wrappers import Response
from wtforms.validators import Optional

from console import frame
from console.access import allow
from console.book import actor, reading, transaction
from console.choices import ChoiceField, departments
from console.forms import DateField, answer, done
from console.pages.quota.wallet_choices import HOLDERS, WalletForm
from console.programs import Takes, takes
from console.security import row
from console.words import _, amount, kind_label, lazy
from quota.actors import Role
from quota.db import Tx
from quota.directory import Department, Pool
from quota.errors import N_, Conflict, Invalid, NotFound, OverCapacity
from quota.ledger import CITYS, TARGETED, Account, Act, Allotment, Holder, allotments, tree
from quota.units import Commodity

blueprint = Blueprint("allotments", __name__, url_prefix="/quota/acts")
frame.under("quota.index", "allotments")


TERM = lazy(N_("不填为长期；年度配额填 12 月 31 日，临时配额填最后一天。到期收回未用部分，在用的不受影响"))


class MoveForm(WalletForm):
    target = ChoiceField(lazy(N_("接收单位")))


class AllotmentForm(WalletForm):
    ends_on = DateField(lazy(N_("有效期至")), [Optional()], description=TERM)


class ShareForm(WalletForm):
    target = ChoiceField(lazy(N_("下级单位")))
    ends_on = DateField(lazy(N_("有效期至")), [Optional()], description=TERM)


class TakeBackForm(WalletForm):
    target = ChoiceField(lazy(N_("下级单位")))


class ReallotForm(WalletForm):
    department = ChoiceField(lazy(N_("转出的下级")))
    target = ChoiceField(lazy(N_("转入的下级")))


FORMS = {
    Act.GRANT: AllotmentForm,
    Act.MOVE: MoveForm,
    Act.SHARE: ShareForm,
    Act.TAKE_BACK: TakeBackForm,
    Act.REALLOT: ReallotForm,
}


@blueprint.route("/<act>", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.TENANT)
@takes(each=lambda: {one.value: Takes(FORMS.get(one, WalletForm), sends={"confirm": "1"}) for one in Act}, of="act")
def act(act: str) -> str | Response | tuple[str, int]:
    """Grant, reclaim or move; share out, take back or pass on. The first sending shows what would happen, the second (``confirm``)
    does it. NotAllowed for acts of the authority, and for who manages no quota."""
    if act not in list(Act):
        raise NotFound("quota.act", N_("没有这种操作"))
    verb = Act(act)
    tx = reading()
    form = FORMS.get(verb, WalletForm)()
    _offer(tx, form, verb)
    label = allotments.LABELS[verb]

    def carry_out() -> str | Response:
        what = _asked(form, verb)
        if not request.form.get("confirm"):
            return render_template("allotments/check.html", form=form, verb=verb, label=label, what=what, back=_back(verb),
                                   effects=_effects(tx, what), answers=_answers(tx, form, what))  # fmt: skip
        with transaction() as writing:
            allotments.carry_out(writing, what, key=f"form:{form.key.data[:64]}")
        said = _("已办理：%(act)s", act=_(label))
        if verb in CITYS:
            return done(said, "quota.show", department_id=what.target_id or what.department_id)
        return done(said, "tree.show", department_id=_node(tx, what), kind=what.cls.kind)

    def page() -> str:
        return render_template(
            "allotments/act.html", form=form, label=label, verb=verb, back=_back(verb), has=_unused(tx, form)
        )

    return answer(form, carry_out, page, Invalid, OverCapacity, Conflict)


def _back(verb: Act) -> tuple[str, str]:
    """The page that an act hangs on: (name, address)."""
    if verb in CITYS:
        return _("配额总览"), url_for("quota.index")
    return _("配额树"), url_for("tree.index")


def _node(tx: Tx, what: Allotment) -> int:
    """The node whose page shows what an act of its own did."""
    if what.act is not Act.REALLOT:
        return what.department_id
    return tx.get_one(Department, what.department_id).parent_id or what.department_id


def _offer(tx: Tx, form: WalletForm, verb: Act) -> None:
    """Fill the choices from the book: of an act of the tree only what lies below the nodes that the visitor manages."""
    if verb in CITYS:
        actor().must_be(Role.AUTHORITY)
        form.offer(tx)
        if isinstance(form, MoveForm):
            form.target.offer(tx, departments())
    else:
        managed = tree.manages(tx, actor())
        if managed == set():
            tree.must_manage(tx, None)
        node = request.args.get("node", type=row) or request.form.get("department", type=row)
        node = node or request.args.get("department", type=row)
        if verb is Act.REALLOT and request.method == "POST":
            node = tx.scalar(select(Department.parent_id).where(Department.id == node))
        nodes = managed if node is None or (managed is not None and node not in managed) else {node}
        below = set(tx.scalars(_children(nodes)))
        form.offer(tx, Holder.GRANTED, within=below if verb is Act.REALLOT else managed)
        form["target"].offer(tx, departments(within=below))
    if request.method == "GET":
        form.department.data = request.args.get("department", type=row) or form.department.data


def _children(nodes: set[int] | None) -> Select[int]:
    """Ids of those that lie directly under ``nodes`` (None: under any)."""
    query = select(Department.id)
    return query.where(Department.parent_id.is_not(None) if nodes is None else Department.parent_id.in_(nodes))


def _asked(form: WalletForm, verb: Act) -> Allotment:
    pool_id, cls, figure = form.chosen()
    target = form["target"].data if verb in TARGETED else None
    ends_on = form["ends_on"].data if "ends_on" in form else None
    return Allotment(verb, pool_id, cls, form.department.data, figure, form.reason.data or "", target, ends_on)


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


def _answers(tx: Tx, form: WalletForm, what: Allotment) -> list[tuple[str, str, str]]:
    pairs = [
        (form.department.label.text, tx.get_one(Department, what.department_id).name),
        (_("资源池"), tx.get_one(Pool, what.pool_id).name),
        (_("资源"), kind_label(what.cls)),
        (_("数量"), amount(what.amount, what.cls)),
        (_("理由"), what.reason),
    ]
    if what.ends_on:
        pairs.insert(-1, (_("有效期至"), str(what.ends_on)))
    if what.target_id:
        pairs.insert(1, (form["target"].label.text, tx.get_one(Department, what.target_id).name))
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


def _class(account: Account) -> Commodity:
    return account.commodity
