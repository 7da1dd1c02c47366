"""Wallets as forms and pages offer them: a pool and a class, written ``3/vcpu:aarch64``, with what is there."""

from __future__ import annotations

from collections.abc import Collection
from uuid import uuid4

from flask_wtf import FlaskForm
from sqlalchemy import func, select
from wtforms import HiddenField, IntegerField, SelectField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange

from console import choices
from console.choices import ChoiceField
from console.security import row_or
from console.words import _, amount, kind_label, lazy
from quota.db import Tx
from quota.directory import Pool
from quota.errors import N_, Invalid
from quota.ledger import Account, Holder
from quota.units import Arch, ClassCode, Commodity, base_units

HOLDERS = {
    Holder.GRANTED.value: N_("未用"),
    Holder.HELD.value: N_("预占"),
    Holder.USED.value: N_("在用"),
    Holder.LENT.value: N_("借入未用"),
    Holder.SHARED.value: N_("系统份额未用"),
    Holder.FREE.value: N_("空闲"),
    Holder.SUPPLY.value: N_("供给"),
}


class WalletForm(FlaskForm):  # type: ignore[misc]
    """A department, a wallet, an amount in the unit that people read, a reason. ``key`` makes a second sending harmless."""

    key = HiddenField()
    department = ChoiceField(lazy(N_("单位")))
    wallet = SelectField(lazy(N_("资源池与资源")))
    amount = IntegerField(
        lazy(N_("数量")),
        [InputRequired(lazy(N_("请填写数量"))), NumberRange(1, 10**9, lazy(N_("数量须为正整数")))],
        description=lazy(N_("内存与存储以 GB 计")),
    )
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])

    def offer(self, tx: Tx, holder: Holder = Holder.FREE, *, within: Collection[int] | None = None) -> None:
        """Fill the choices from the book: of the departments those ``within`` where it is given; each wallet says what is free in it."""
        if not self.key.data:
            self.key.data = uuid4().hex
        self.department.offer(tx, choices.departments(within=within))
        self.wallet.choices = [SelectChoice(code, label) for code, label in wallets(tx, holder).items()]

    def chosen(self) -> tuple[int, Commodity, int]:
        """(pool id, class, base units)."""
        pool_id, cls = parsed(self.wallet.data)
        return pool_id, cls, base_units(cls.kind, self.amount.data or 0)


def wallets(tx: Tx, holder: Holder = Holder.FREE) -> dict[str, str]:
    """Code → name of every wallet of an active pool that ``holder`` has or had something in; of the pools' free capacity with what
    is free."""
    rows = tx.execute(
        select(Account.pool_id, Account.kind, Account.arch, Pool.name, func.sum(Account.balance))
        .join(Pool, Pool.id == Account.pool_id)
        .where(Pool.active, Account.holder == holder.value)
        .group_by(Account.pool_id, Account.kind, Account.arch, Pool.name)
        .order_by(Account.pool_id, Account.kind, Account.arch)
    )
    found = {}
    for pool_id, kind, arch, pool, balance in rows:
        cls = Commodity(ClassCode(kind), Arch(arch))
        words = {"pool": pool, "kind": kind_label(cls), "free": amount(int(balance), cls)}
        free = holder is Holder.FREE
        found[f"{pool_id}/{cls}"] = (
            _("%(pool)s · %(kind)s（空闲 %(free)s）", **words) if free else f"{pool} · {words['kind']}"
        )
    return found


def parsed(code: str) -> tuple[int, Commodity]:
    """``3/vcpu:aarch64`` → (3, class). Raises Invalid."""
    pool_id, _slash, cls = (code or "").partition("/")
    number = row_or(pool_id, 0)
    if not number:
        raise Invalid("class.unknown", N_("没有这种资源类别:%(text)s"), text=code, field="wallet")
    return number, Commodity.parse(cls)
