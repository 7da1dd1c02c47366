"""系统份额: what systems were given of their department's quota, and the acts that give it, take it back and pass it on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import uuid4

from flask import Blueprint, render_template, request, url_for
from sqlalchemy import Select, select, true
from werkzeug.wrappers import Response
from wtforms.fields.choices import SelectChoice

from console import choices, frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, transaction
from console.choices import ChoiceField
from console.forms import answer, done
from console.lists import Column, Filter, listing
from console.pages.quota.wallet_choices import WalletForm, parsed, wallets
from console.programs import Takes, listed, takes
from console.security import row
from console.words import CLASS_LABELS, _, kind_label, lazy
from quota.actors import Role
from quota.db import Tx
from quota.directory import Department, System, departments
from quota.errors import N_, Conflict, Invalid, NotFound, OverCapacity, WrongState
from quota.ledger import SHARE_ACTS, Holder, ShareAct, ShareOrder, SystemShare, shares, tree
from quota.units import CLASSES, base_units, shown

blueprint = Blueprint("system_shares", __name__, url_prefix="/quota/systems")
frame.under("tree.index", "system_shares")

HELD = shares.held().scalar_subquery()


def _share(found: Any) -> SystemShare:
    return found.SystemShare  # type: ignore[no-any-return]


def _figure(name: str, label: str, value: Any) -> Column:
    return Column(name, label, lambda r: shown(_share(r).commodity.kind, int(value(r))), number=True)


COLUMNS = [
    Column("system", N_("信息系统"), lambda r: _share(r).system.name, sort=SystemShare.system_id, title=True,
           href=lambda r: url_for("systems.show", system_id=_share(r).system_id)),
    Column("department", N_("单位"), lambda r: r.department, sort=Department.name),
    Column("pool", N_("资源池"), lambda r: _share(r).pool.name, href=links.pool(lambda r: _share(r).pool_id)),
    Column("class", N_("资源"), lambda r: kind_label(_share(r).commodity)),
    _figure("amount", N_("份额"), lambda r: _share(r).amount),
    _figure("used", N_("在用"), lambda r: _share(r).used),
    _figure("held", N_("预占"), lambda r: r.held),
    _figure("unused", N_("未用"), lambda r: _share(r).amount - _share(r).used - r.held),
    Column("unit", N_("计量单位"), lambda r: _(CLASSES[_share(r).commodity.kind].shown)),
]  # fmt: skip
FILTERS = [
    Filter("kind", N_("资源"), lambda q, v: q.where(SystemShare.kind == v), options=CLASS_LABELS),
    Filter("q", N_("信息系统名称"), lambda q, v: q.where(frame.matching(v, System.name))),
]


def rows(tx: Tx, system_id: int | None = None) -> Select[Any]:
    """The shares that the visitor may see, of one system or of all."""
    who = actor()
    seen = departments.subtree(tx, who.department_id or 0) if who.role is Role.TENANT else None
    return (
        select(SystemShare, Department.name.label("department"), HELD.label("held"))
        .join(System, System.id == SystemShare.system_id)
        .join(Department, Department.id == System.department_id)
        .where(
            SystemShare.amount > 0,
            true() if seen is None else System.department_id.in_(seen),
            true() if system_id is None else SystemShare.system_id == system_id,
        )
    )


def share_table(tx: Tx, system_id: int) -> tuple[list[tuple[str, bool]], list[list[str]]]:
    """Of a system's page: each share with its figures; heads and rows."""
    columns = [column for column in COLUMNS if column.key not in ("system", "department")]
    found = tx.execute(rows(tx, system_id).order_by(SystemShare.pool_id, SystemShare.kind, SystemShare.arch))
    heads = [(_(column.label), column.number) for column in columns]
    return heads, [[str(column.value(each)) for column in columns] for each in found]


class SystemShareForm(WalletForm):
    """The department is the system's; it is not asked for."""

    department = None  # type: ignore[assignment]
    system = ChoiceField(lazy(N_("信息系统")))

    def offer(self, tx: Tx, holder: Holder = Holder.GRANTED, *, within: Collection[int] | None = None) -> None:
        """Fill the choices from the book: of the systems those of the departments ``within``."""
        self.key.data = self.key.data or uuid4().hex
        self.wallet.choices = [SelectChoice(code, label) for code, label in wallets(tx, holder).items()]
        for name in ("system", "target"):
            if name in self:
                self[name].offer(tx, choices.systems(within=within))


class PassOnForm(SystemShareForm):
    system = ChoiceField(lazy(N_("转出的信息系统")))
    target = ChoiceField(lazy(N_("转入的信息系统")))


class EndShareForm(SystemShareForm):
    amount = None


FORMS = {ShareAct.REALLOT: PassOnForm, ShareAct.END: EndShareForm}
SAID = {
    ShareAct.GIVE: N_("从本单位未用的配额中划出，只供该系统的申请使用；该类资源划给份额后，该系统的申请以份额为限。"),
    ShareAct.TAKE_BACK: N_("未用的份额回到本单位；在用的和申请预占的不受影响。"),
    ShareAct.REALLOT: N_("同一单位的信息系统之间调剂未用的份额。"),
    ShareAct.END: N_("未用的份额回到本单位，该系统的申请改用本单位未划出的配额；在用的不受影响。"),
}


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    found = listing(tx, rows(tx), COLUMNS, key=SystemShare.id, filters=FILTERS, sort="system")
    return found.exported("system-shares") or render_template(
        "system_shares/index.html", found=found, acts=SHARE_ACTS, manages=tree.manages(tx, actor()) != set()
    )


@blueprint.route("/<act>", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.TENANT)
@takes(each=lambda: {one.value: Takes(FORMS.get(one, SystemShareForm)) for one in ShareAct}, of="act")
def act(act: str) -> str | Response | tuple[str, int]:
    """Give a system a share, take back what of it is unused, pass it on to another, or end it. NotAllowed for who manages no quota."""
    if act not in list(ShareAct):
        raise NotFound("quota.act", N_("没有这种操作"))
    verb, tx = ShareAct(act), reading()
    managed = tree.manages(tx, actor())
    if managed == set():
        tree.must_manage(tx, None)
    form = FORMS.get(verb, SystemShareForm)()
    form.offer(tx, Holder.GRANTED if verb is ShareAct.GIVE else Holder.SHARED, within=managed)
    if request.method == "GET":
        form.system.data = request.args.get("system", type=row) or form.system.data

    def carry_out() -> Response:
        pool_id, cls = parsed(form.wallet.data)
        figure = base_units(cls.kind, form.amount.data or 0) if "amount" in form else 0
        target = form["target"].data if "target" in form else None
        order = ShareOrder(verb, form.system.data, pool_id, cls, figure, form.reason.data or "", target)
        with transaction() as writing:
            shares.carry_out(writing, order, key=f"form:{form.key.data[:64]}")
        return done(_("已办理：%(act)s", act=_(SHARE_ACTS[verb])), "system_shares.index")

    def page() -> str:
        return render_template("system_shares/act.html", form=form, label=SHARE_ACTS[verb], said=SAID[verb])

    return answer(form, carry_out, page, Invalid, OverCapacity, Conflict, WrongState)
