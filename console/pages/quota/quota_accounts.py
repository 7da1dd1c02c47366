"""The accounts of the ledger with their rows, replayed to any instant: further pages of the quota."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from console import choices, links
from console.access import STEWARDS, allow
from console.book import actor, reading, settings
from console.lists import Column, Filter, Rows, listing, since, until
from console.pages.quota.quota import ARCHS, COMMANDS, class_of, mine_or_any
from console.pages.quota.quota import blueprint as of_quota
from console.pages.quota.wallet_choices import HOLDERS
from console.programs import listed
from console.words import CLASS_LABELS, _, kind_label, names, number
from quota import ledger
from quota.actors import Role
from quota.directory import Department, Pool
from quota.directory import departments as agencies
from quota.errors import N_, NotFound
from quota.ledger import Account, Entry, Transfer, histories
from quota.units import CLASSES, ClassCode, shown

VERIFIED_AT_ONCE = 2000
"""An account with more entries is verified when asked for."""

ACCOUNTS = [
    Column("code", N_("账户"), lambda a: a.code, sort=Account.code, title=True,
           href=lambda a: url_for("quota.account", account_id=a.id)),
    Column("department", N_("使用单位"), lambda a: a.owner, href=links.department(lambda a: a.department_id)),
    Column("pool", N_("资源池"), lambda a: a.pool, href=links.pool(lambda a: a.pool_id)),
    Column("class", N_("资源"), lambda a: kind_label(class_of(a))),
    Column("holder", N_("去向"), lambda a: _(HOLDERS[a.holder]), code=lambda a: a.holder, sort=Account.holder),
    Column("balance", N_("余额"), lambda a: shown(ClassCode(a.kind), a.balance), sort=Account.balance, number=True),
    Column("unit", N_("计量单位"), lambda a: _(CLASSES[ClassCode(a.kind)].shown)),
    Column("entries", N_("分录数"), lambda a: a.entries, sort=Account.entries, number=True),
]  # fmt: skip


@of_quota.get("/accounts/")
@allow(*STEWARDS, Role.TENANT)
@listed(
    ACCOUNTS,
    args=("department", "pool", "kind", "arch", "holder"),
)
def accounts() -> str | Response:
    """The ledger's accounts; a department sees its own and those below it."""
    tx = reading()
    who = actor()
    own = agencies.subtree(tx, who.department_id or 0) if who.role is Role.TENANT else None
    pools = {str(one.id): one.name for one in tx.scalars(select(Pool).order_by(Pool.id))}
    departments = choices.departments(within=own, ended=True)
    filters = [
        Filter("department", N_("使用单位"), lambda q, v: q.where(Account.department_id == int(v)), among=departments),
        Filter(
            "under",
            N_("单位及下级"),
            lambda q, v: q.where(Account.department_id.in_(agencies.subtree(tx, int(v)))),
            among=departments,
        ),
        Filter("pool", N_("资源池"), lambda q, v: q.where(Account.pool_id == int(v)), options=pools),
        Filter("kind", N_("资源"), lambda q, v: q.where(Account.kind == v), options=CLASS_LABELS),
        Filter("arch", N_("架构"), lambda q, v: q.where(Account.arch == v), options=ARCHS),
        Filter("holder", N_("去向"), lambda q, v: q.where(Account.holder == v), options=HOLDERS),
    ]
    shown_of: list[Any] = [
        Account.id,
        Account.code,
        Account.kind,
        Account.arch,
        Account.holder,
        Account.balance,
        Account.entries,
        Account.department_id,
        Account.pool_id,
        Department.name.label("owner"),
        Pool.name.label("pool"),
    ]
    query: Rows = (
        select(*shown_of)
        .join(Pool, Pool.id == Account.pool_id)
        .outerjoin(Department, Department.id == Account.department_id)
    )  # fmt: skip
    if own is not None:
        query = query.where(Account.department_id.in_(own))
    found = listing(tx, query, ACCOUNTS, key=Account.id, filters=filters, sort="code")
    return found.exported("accounts") or render_template("quota/accounts.html", accounts=found)


def _instant(text: str) -> datetime | None:
    """``2026-11-23T14:05`` in the city's time (a zone in the text wins); None for what is none."""
    try:
        at = datetime.fromisoformat(text.strip().replace(" ", "T", 1))
        return (at if at.tzinfo else at.replace(tzinfo=settings().zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


ENTRY_FILTERS = [
    Filter("from", N_("自"), since(Transfer.at), kind="date"),
    Filter("to", N_("至"), until(Transfer.at), kind="date"),
    Filter("subject", N_("事由"), lambda q, v: q.where(Transfer.subject == v)),
]


@of_quota.get("/accounts/<int:account_id>")
@allow(*STEWARDS, Role.TENANT)
@listed((), ENTRY_FILTERS, args=("verify", "at"), open=True, at="entries")
def account(account_id: int) -> str | Response:
    """One account with its rows; ``?at=`` replays it to an instant. NotFound for one that is not the tenant's."""
    tx = reading()
    one = ledger.account(tx, account_id)
    if actor().role is Role.TENANT:
        if one.department_id is None:
            raise NotFound("account.none", N_("没有编号为 %(id)s 的账户"), id=account_id)
        mine_or_any(tx, one.department_id)
    kind = ClassCode(one.kind)
    columns = [
        Column("at", N_("时间"), lambda r: r.at, sort=Transfer.at),
        Column("sequence", N_("序号"), lambda r: r.sequence, sort=Entry.sequence, number=True),
        Column(
            "command", N_("操作"), lambda r: _(COMMANDS.get(r.command, r.command)), sort=Transfer.command, title=True
        ),
        Column("subject", N_("事由"), lambda r: r.subject, text=names.subject, href=lambda r: links.address(r.subject)),
        Column(
            "delta", N_("变动"), lambda r: shown(kind, r.delta), number=True, unit=CLASSES[kind].shown, text=_signed
        ),
        Column("balance", N_("余额"), lambda r: shown(kind, r.balance), number=True, unit=CLASSES[kind].shown),
        Column("actor", N_("经办"), lambda r: r.actor, text=names.who),
        Column("memo", N_("说明"), lambda r: r.memo),
        Column("transfer", N_("流水号"), lambda r: r.transfer_id, number=True, minor=True),
        Column("digest", N_("封印"), lambda r: r.digest[:12], minor=True),
    ]
    shown_of: list[Any] = [
        Entry.id,
        Entry.sequence,
        Entry.delta,
        Entry.balance,
        Entry.digest,
        Entry.transfer_id,
        Transfer.at,
        Transfer.command,
        Transfer.subject,
        Transfer.actor,
        Transfer.memo,
    ]
    query: Rows = (
        select(*shown_of)
        .join(Transfer, Transfer.id == Entry.transfer_id)
        .where(Entry.account_id == one.id)
    )  # fmt: skip
    found = listing(tx, query, columns, key=Entry.id, filters=ENTRY_FILTERS, sort="-sequence")
    exported = found.exported(f"account-{one.id}")
    if exported:
        return exported
    at = _instant(request.args.get("at", ""))
    checked = one.entries <= VERIFIED_AT_ONCE or "verify" in request.args
    return render_template(
        "quota/account.html",
        one=one,
        kind=kind_label(one.commodity),
        pool=tx.get_one(Pool, one.pool_id),
        department=tx.get(Department, one.department_id) if one.department_id else None,
        holder=_(HOLDERS[one.holder]),
        entries=found,
        broken=list(histories.broken(tx, one)) if checked else None,
        at=at,
        asked=request.args.get("at", ""),
        replayed=histories.replayed(tx, one.id, at) if at else None,
    )


def _signed(value: float) -> str:
    return f"+{number(value)}" if value > 0 else number(value).replace("-", "−")
