"""The city's quota board and a department's quota."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import Select, Subquery, case, func, select
from sqlalchemy.orm import aliased, joinedload
from werkzeug.wrappers import Response

from console import frame, links
from console.access import STEWARDS, allow
from console.book import actor, book, reading, settings
from console.charts import Chart, Series, outlooks
from console.lists import ALL, Column, Filter, listing
from console.programs import listed
from console.words import CLASS_LABELS, _, amount, kind_label, number
from metering.judging import findings
from metering.overview import utilizations
from quota import ledger
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Department, Pool, PoolCapacity, departments
from quota.errors import N_, NotFound
from quota.inventory import Resource
from quota.ledger import OWNED, QUOTA, Account, Entry, Holder, Transfer, histories, lending
from quota.requests import KIND_LABELS, OPEN, Request
from quota.units import CLASSES, VCPU, Arch, ClassCode, Commodity, shown

blueprint = Blueprint("quota", __name__, url_prefix="/quota")
frame.page("quota", "quota.index", N_("配额总览"), order=10)
frame.page("quota", "quota.mine", N_("本单位配额"), order=10)

ARCHS = {arch.value: arch.value if arch is not Arch.ANY else N_("不限架构") for arch in Arch}
COMMANDS = {
    "provision": N_("投入容量"), "retire": N_("撤出容量"), "recast": N_("切分加速卡"), "grant": N_("授予"), "use": N_("启用"),
    "release": N_("释放"), "reclaim": N_("回收"), "hold": N_("预占"), "post": N_("入账"), "void": N_("作废"),
    "expire": N_("过期"), "lend": N_("出借"), "give_back": N_("归还"), "hand_over": N_("划转"),
    "share": N_("下拨"), "take_back": N_("收回下拨"), "reallot": N_("下级间调剂"),
    "set_apart": N_("划给系统"), "unset": N_("收回系统份额"), "pass_on": N_("系统间调剂"),
    "convert": N_("架构换算"),
}  # fmt: skip
TREND_DAYS = 30


# -------------------------------------------------------------------------------------------------------------- board


@blueprint.get("/")
@allow(*STEWARDS)
@listed(
    (),
    args=("kind", "pool", "zone", "arch", "q"),
    open=True,
)
def index() -> str | Response:
    tx = reading()
    uses: dict[utilizations.UtilizationKey, utilizations.Utilization] = {}
    columns, query, key = _board(request.args.get("kind", VCPU), uses, ledger.shares.some(tx))
    pools = {str(one.id): one.name for one in tx.scalars(select(Pool).order_by(Pool.id))}
    zones = {zone: zone for zone in tx.scalars(select(Pool.zone).distinct().order_by(Pool.zone))}
    filters = [
        Filter("kind", N_("资源"), lambda q, v: q.where(key.c.kind == v), options=CLASS_LABELS, default=VCPU),
        Filter("pool", N_("资源池"), lambda q, v: q.where(key.c.pool_id == int(v)), options=pools),
        Filter("zone", N_("网络区"), lambda q, v: q.where(Pool.zone == v), options=zones),
        Filter("arch", N_("架构"), lambda q, v: q.where(key.c.arch == v), options=ARCHS),
        Filter("q", N_("单位名称"), lambda q, v: q.where(frame.matching(v, Department.name))),
    ]
    found = listing(tx, query, columns, key=key.c.id, filters=filters, sort="-quota")
    shown_of = {row.department_id for row in found.rows} or None  # an export shows all
    measured = utilizations.measured(tx, departments=shown_of, apart=True)
    uses.update(measured.of)
    return found.exported("quota") or render_template(
        "quota/index.html",
        board=found,
        capacity=capacity(tx, found.values),
        conserved=ledger.conserved(tx),
        measured=measured.run,
    )


def accounts_by_wallet() -> Subquery:
    """The departments' accounts, a row for each department, pool and class, with what lies in each part."""

    def part(*holders: Holder) -> Any:
        chosen = Account.holder.in_([holder.value for holder in holders])
        return func.sum(case((chosen, Account.balance), else_=0))

    return (
        select(
            func.min(Account.id).label("id"),
            Account.department_id,
            Account.pool_id,
            Account.kind,
            Account.arch,
            part(*QUOTA).label("quota"),
            part(Holder.USED).label("used"),
            part(Holder.HELD).label("held"),
            part(Holder.GRANTED).label("granted"),
            part(Holder.SHARED).label("shared"),
            part(Holder.LENT).label("lent"),
        )
        .where(Account.department_id.is_not(None))
        .group_by(Account.department_id, Account.pool_id, Account.kind, Account.arch)
        .subquery()
    )


def _board(
    kind: str, uses: Mapping[utilizations.UtilizationKey, utilizations.Utilization], shares: bool
) -> tuple[list[Column], Select[Any], Any]:
    """Columns, query and grouped accounts: a row for each department, pool and class. ``uses`` are looked up as rows are
    shown. ``shares``: whether systems have shares."""
    grouped = accounts_by_wallet()
    query = (
        select(*grouped.c, Department.name.label("department"), Pool.name.label("pool"))
        .join(Department, Department.id == grouped.c.department_id)
        .join(Pool, Pool.id == grouped.c.pool_id)
    )
    factor = CLASSES[ClassCode(kind)].factor if kind in CLASS_LABELS else 0

    def figure(name: str, label: str, holder: str = "") -> Column:
        column = grouped.c[name]
        return Column(
            name,
            label,
            lambda r: shown(ClassCode(r.kind), int(getattr(r, name))),
            sort=column,
            number=True,
            unit=CLASSES[ClassCode(kind)].shown if factor else "",
            total=func.sum(column) * 1.0 / factor if factor else None,
            href=lambda r: url_for(
                "quota.accounts",
                department=r.department_id,
                pool=r.pool_id,
                kind=r.kind,
                arch=r.arch,
                holder=holder or None,
            ),
        )

    def use(row: Any) -> utilizations.Utilization:
        return uses.get((row.pool_id, row.department_id, ClassCode(row.kind)), utilizations.UNMEASURED)

    columns = [
        Column(
            "department",
            N_("使用单位"),
            lambda r: r.department,
            sort=Department.name,
            href=lambda r: url_for("quota.show", department_id=r.department_id),
            title=True,
        ),
        Column("pool", N_("资源池"), lambda r: r.pool, sort=Pool.name, href=links.pool(lambda r: r.pool_id)),
        Column("class", N_("资源"), lambda r: kind_label(class_of(r))),
        figure("quota", N_("配额")),
        figure("used", N_("在用"), Holder.USED.value),
        figure("held", N_("预占"), Holder.HELD.value),
        figure("granted", N_("未用"), Holder.GRANTED.value),
        *([figure("shared", N_("系统份额未用"), Holder.SHARED.value)] if shares else []),
        figure("lent", N_("借入未用"), Holder.LENT.value),
        Column("mean", N_("实测使用率"), lambda r: _rounded(use(r).mean), number=True, unit="%"),
        Column("coverage", N_("采集覆盖率"), lambda r: _rounded(use(r).coverage), number=True, unit="%", minor=True),
    ]
    return columns, query, grouped


def class_of(row: Any) -> Commodity:
    return Commodity(ClassCode(row.kind), Arch(row.arch))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def capacity(tx: Tx, values: Any) -> list[dict[str, Any]]:
    """Each pool and class that the filters leave: capacity, reserve, overcommit, the identity's parts."""
    by = (Pool.id, Account.kind, Account.arch, Account.holder)
    query = (
        select(Pool, Account.kind, Account.arch, Account.holder, func.sum(Account.balance))
        .join(Pool, Pool.id == Account.pool_id)
        .group_by(*by)
        .order_by(*by)
    )
    for name, column in (
        ("pool", Account.pool_id),
        ("kind", Account.kind),
        ("arch", Account.arch),
        ("zone", Pool.zone),
    ):
        value = values.get(name)
        if value and value != ALL:
            query = query.where(column == (int(value) if name == "pool" else value))
    given = {(one.pool_id, one.kind): one for one in tx.scalars(select(PoolCapacity))}
    rows: dict[tuple[int, Commodity], dict[str, Any]] = {}
    for pool, kind, arch, holder, balance in tx.execute(query):
        cls = Commodity(ClassCode(kind), Arch(arch))
        row = rows.setdefault(
            (pool.id, cls), {"pool": pool, "cls": cls, "capacity": given.get((pool.id, kind)), "parts": {}}
        )
        row["parts"][holder] = int(balance)
    for row in rows.values():
        parts = row["parts"]
        row["sum"] = sum(figure for holder, figure in parts.items() if holder != Holder.SUPPLY.value)
        row["fits"] = row["sum"] == -parts.get(Holder.SUPPLY.value, 0) and (
            row["capacity"] is None or row["capacity"].usable == row["sum"]
        )
    return list(rows.values())


# --------------------------------------------------------------------------------------------------------- department


def mine_or_any(tx: Tx, department_id: int) -> Department:
    """The department, or NotFound: also where a tenant asks for one that is not below its own."""
    who = actor()
    if who.role is Role.TENANT and department_id not in departments.subtree(tx, who.department_id or 0):
        raise NotFound("department.none", N_("没有编号为 %(id)s 的单位"), id=department_id)
    return departments.department(tx, department_id)


@blueprint.get("/mine")
@allow(Role.TENANT)
def mine() -> Response:
    return redirect(url_for("quota.show", department_id=actor().department_id))


@blueprint.get("/departments/<int:department_id>")
@allow(*STEWARDS, Role.TENANT)
def show(department_id: int) -> str:
    tx = reading()
    one = mine_or_any(tx, department_id)
    below = departments.subtree(tx, one.id)
    resources = list(
        tx.scalars(
            select(Resource)
            .where(Resource.department_id.in_(below), Resource.gone_at.is_(None))
            .options(joinedload(Resource.pool))
            .order_by(Resource.name)
        )
    )
    return render_template(
        "quota/show.html",
        one=one,
        forecast=outlooks.has_machines(tx, actor(), Resource.department_id.in_(below)),
        wallets=wallets(tx, below),
        requests=list(tx.scalars(select(Request).where(Request.department_id.in_(below), Request.state.in_(OPEN)))),
        kinds=KIND_LABELS,
        resources=resources[:20],
        count=len(resources),
        loans=lending.outstanding(tx, below),
        chart=_trend(tx, below),
        children=list(tx.scalars(select(Department).where(Department.parent_id == one.id).order_by(Department.name))),
        run=findings.last_run(tx),
    )


def wallets(tx: Tx, department_ids: set[int]) -> list[dict[str, Any]]:
    """Each pool and class in which these departments have something: base units by holder, and the measured use."""
    rows = tx.execute(
        select(Pool, Account.kind, Account.arch, Account.holder, func.sum(Account.balance))
        .join(Pool, Pool.id == Account.pool_id)
        .where(Account.department_id.in_(department_ids))
        .group_by(Pool.id, Account.kind, Account.arch, Account.holder)
        .order_by(Pool.id)
    )
    measured = utilizations.measured(tx, departments=department_ids)
    found: dict[tuple[int, Commodity], dict[str, Any]] = {}
    for pool, kind, arch, holder, balance in rows:
        cls = Commodity(ClassCode(kind), Arch(arch))
        row = found.setdefault((pool.id, cls), {"pool": pool, "cls": cls, **{one.value: 0 for one in OWNED}})
        row[holder] = int(balance)
    result = []
    for (pool_id, cls), row in sorted(found.items(), key=lambda item: (item[0][0], CLASSES.place(item[0][1].kind))):
        row["granted"] += row["shared"]  # what its systems were given and do not use
        row["total"] = row["granted"] + row["held"] + row["used"] + row["lent"]
        if row["total"]:
            use = measured.total(cls.kind, pools=[pool_id])
            row["mean"], row["coverage"] = use.mean, use.coverage
            result.append(row)
    return result


def _trend(tx: Tx, department_ids: set[int]) -> Chart:
    """vCPU of all pools: the quota, and what of it is used, at the ends of the last days."""
    first, last = histories.window(tx.now.astimezone(settings().zone).date(), TREND_DAYS)
    begun = histories.begun(tx, zone=settings().zone)
    first = max(first, begun) if begun else last
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]

    def line(*holders: Holder) -> list[float | None]:
        rows = histories.daily(tx, holders, first, last, department_ids=department_ids, zone=settings().zone)
        many = [row for (_pool, cls), row in rows.items() if cls.kind == VCPU]
        return [float(sum(row[n] for row in many)) for n in range(len(days))]

    return Chart(
        "quota-trend",
        _("vCPU 配额与在用(日末)"),
        days,
        [
            Series(_("配额"), line(*QUOTA), role="capacity"),
            Series(_("在用"), line(Holder.USED)),
        ],
        unit="vCPU",
        period=f"{first} – {last}",
    )


# --------------------------------------------------------------------------------------------------------------- home


@frame.home_block(Role.TENANT, order=30, side=True)
def my_quota(tx: Tx, who: Actor) -> str | None:
    """What the department has: used, held, free."""
    if who.department_id is None:
        return None
    rows = wallets(tx, departments.subtree(tx, who.department_id))
    return render_template("quota/_home.html", rows=rows, department_id=who.department_id)


@frame.home_block(Role.AUTHORITY, order=60)
def since_yesterday(tx: Tx, _who: Actor) -> str | None:
    """What changed on the ledger since this time yesterday, by command and class."""
    since = book().clock() - timedelta(days=1)
    other = aliased(Entry)
    rows = tx.execute(
        select(
            Transfer.command, Account.kind, Account.arch, func.count(func.distinct(Transfer.id)), func.sum(other.delta)
        )
        .join(other, other.transfer_id == Transfer.id)
        .join(Account, Account.id == other.account_id)
        .where(Transfer.at >= since, other.delta > 0)
        .group_by(Transfer.command, Account.kind, Account.arch)
    )
    order = list(COMMANDS)
    changes = sorted(
        (
            (order.index(command) if command in order else len(order), _(COMMANDS.get(command, command)),
             kind_label(Commodity(ClassCode(kind), Arch(arch))), number(count), amount(int(total), kind))
            for command, kind, arch, count, total in rows
        ),
    )  # fmt: skip
    return render_template("quota/_changes.html", changes=[row[1:] for row in changes], since=since)
