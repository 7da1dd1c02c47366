"""Where what a cloud lets departments have differs from what the book says: each difference with its figures and since when it
is known. Evidence only: neither side is ever brought in line with the other by a reading; people do that, each kind by its
own next step. Where one cloud is several pools, what the book gave a department in all of them stands beside what the cloud lets
its projects have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from providers.observation.cloud_figures import ToldQuota
from quota import ledger
from quota.base import Base, Count
from quota.directory import Pool
from quota.errors import N_
from quota.inventory import CloudProject
from quota.ledger import Holder
from quota.units import ClassCode

if TYPE_CHECKING:
    from quota.db import Tx


class QuotaDriftKind(StrEnum):
    """``ORPHANED``: a project of nobody's has quota. ``UNAPPROVED``: a department has some, and the book gave it none.
    ``WRONG_ARCH``, ``WRONG_ZONE``: the book gave it some in another pool of the same company (``meant_pool_id``), whose cloud lets
    it have less than that: what was given there was set up here. ``MISSING``: the book gave some, and the cloud has none for it. ``UNLIMITED``, ``LARGER``, ``SMALLER``: both have some.
    ``OVERUSED``: the cloud counts more as used than the book gave, whatever its limit is."""

    ORPHANED = "orphaned"
    UNAPPROVED = "unapproved"
    WRONG_ARCH = "wrong_arch"
    WRONG_ZONE = "wrong_zone"
    MISSING = "missing"
    UNLIMITED = "unlimited"
    LARGER = "larger"
    SMALLER = "smaller"
    OVERUSED = "overused"


LABELS: Mapping[QuotaDriftKind, str] = {
    QuotaDriftKind.ORPHANED: N_("无主项目有配额"),
    QuotaDriftKind.UNAPPROVED: N_("未经审批"),
    QuotaDriftKind.WRONG_ARCH: N_("给错架构"),
    QuotaDriftKind.WRONG_ZONE: N_("给错网络区域"),
    QuotaDriftKind.MISSING: N_("云上没有"),
    QuotaDriftKind.UNLIMITED: N_("云上不限"),
    QuotaDriftKind.LARGER: N_("云上偏大"),
    QuotaDriftKind.SMALLER: N_("云上偏小"),
    QuotaDriftKind.OVERUSED: N_("用量超出账面"),
}

NEXT_STEPS: Mapping[QuotaDriftKind, str] = {
    QuotaDriftKind.ORPHANED: N_("确定云侧项目属于哪个使用单位"),
    QuotaDriftKind.UNAPPROVED: N_("由使用单位补办配额调整,或下工单按账面收回"),
    QuotaDriftKind.WRONG_ARCH: N_("下工单收回此处的配额,再到账面所在的资源池按账面设置"),
    QuotaDriftKind.WRONG_ZONE: N_("下工单收回此处的配额,再到账面所在的资源池按账面设置"),
    QuotaDriftKind.MISSING: N_("下工单按账面设置;没有项目的先建项目并确定使用单位"),
    QuotaDriftKind.UNLIMITED: N_("下工单按账面设定上限"),
    QuotaDriftKind.LARGER: N_("下工单按账面调低,或由使用单位补办配额调整"),
    QuotaDriftKind.SMALLER: N_("下工单按账面调高,否则开通会因超出云上配额失败"),
    QuotaDriftKind.OVERUSED: N_("在台账差异中找出未经审批的资源,接管或退还"),
}


SET_BY_ORDER = frozenset(QuotaDriftKind) - {QuotaDriftKind.ORPHANED, QuotaDriftKind.OVERUSED}
"""What agrees again once an order has set the cloud's quota to what the book gave (providers.orders.quota_orders)."""


class QuotaDrift(Base):
    """One difference that stands, of one class. ``subject``: department:12 or project:7; ``book``: what the department may have
    by the ledger (``held``: and what is held for it beside that); ``most``: what the cloud lets it have (None: without limit);
    ``used``: what the cloud counts. Base units. ``since``: the reading that showed it first."""

    __tablename__ = "quota_drifts"
    __table_args__ = (
        UniqueConstraint("pool_id", "subject", "kind"),
        Index("ix_quota_drifts_pool_id_since", "pool_id", "since", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    subject: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(16))  # the class
    drift: Mapped[str] = mapped_column(String(12))  # QuotaDriftKind
    book: Mapped[int] = mapped_column(Count)
    held: Mapped[int] = mapped_column(Count)
    most: Mapped[int | None] = mapped_column(Count)
    used: Mapped[int] = mapped_column(Count)
    meant_pool_id: Mapped[int | None] = mapped_column(ForeignKey("pools.id"))
    since: Mapped[datetime]
    seen_at: Mapped[datetime]


@dataclass(slots=True)
class QuotaPair:
    """What book and cloud say of one class of one subject, base units."""

    book: int = 0
    held: int = 0
    most: int | None = 0
    used: int = 0
    meant_pool_id: int | None = None

    def add(self, told: ToldQuota) -> None:
        self.most = None if self.most is None or told.most is None else self.most + told.most
        self.used += told.used


def judge(pair: QuotaPair, *, owned: bool) -> QuotaDriftKind | None:
    """How they differ; None where they agree. What is held for a request that is still under way counts for either side.
    ``owned``: it is a department's."""
    if not owned:
        return QuotaDriftKind.ORPHANED if pair.most is None or pair.most > 0 or pair.used > 0 else None
    given = pair.book + pair.held
    if pair.most is None:
        return QuotaDriftKind.UNLIMITED if given else QuotaDriftKind.UNAPPROVED
    if pair.most > given:
        return QuotaDriftKind.LARGER if given else QuotaDriftKind.UNAPPROVED
    if pair.used > given:
        return QuotaDriftKind.OVERUSED
    if pair.most < pair.book:
        return QuotaDriftKind.SMALLER if pair.most else QuotaDriftKind.MISSING
    return None


def compare(tx: Tx, pool_id: int) -> dict[tuple[str, str], tuple[QuotaPair, QuotaDriftKind]]:
    """(subject, class) → what differs, of the classes that the pool's cloud keeps quotas of. Changes nothing."""
    found = {}
    for (subject, kind), pair in _pairs(tx, pool_id).items():
        drift = judge(pair, owned=subject.startswith("department:"))
        if drift is not None:
            found[subject, kind] = pair, drift
    astray = {key for key, (_pair, drift) in found.items() if drift is QuotaDriftKind.UNAPPROVED}
    for key, (meant, drift) in _meant(tx, pool_id, astray).items():
        pair = found[key][0]
        pair.meant_pool_id = meant
        found[key] = pair, drift
    return found


def _pairs(tx: Tx, pool_id: int) -> dict[tuple[str, str], QuotaPair]:
    query = (
        select(ToldQuota, CloudProject.department_id)
        .join(CloudProject, CloudProject.id == ToldQuota.project_id)
        .where(CloudProject.pool_id == pool_id)
    )
    told = tx.execute(query).all()
    kinds = {one.kind for one, _owner in told}
    pairs: dict[tuple[str, str], QuotaPair] = {}
    for one, owner in told:
        subject = f"project:{one.project_id}" if owner is None else f"department:{owner}"
        pairs.setdefault((subject, one.kind), QuotaPair()).add(one)
    owners = {owner for _one, owner in told}
    for (department_id, kind), (book, held) in _given(tx, [pool_id]).items():
        if kind in kinds and department_id not in owners:  # it has no project by which the cloud would let it have any
            pairs[f"department:{department_id}", kind] = QuotaPair(book, held)
    every = [pool_id, *(one.id for one in of_same_cloud(tx, pool_id))]
    for (department_id, kind), (book, held) in _given(tx, every).items():
        if kind in kinds and department_id in owners:
            pair = pairs.setdefault((f"department:{department_id}", kind), QuotaPair())
            pair.book, pair.held = book, held
    return pairs


def of_same_cloud(tx: Tx, pool_id: int) -> list[Pool]:
    """The other active pools that are parts of the same cloud: of the same company, and told of the same projects, each of which
    has one quota for all of them. Regions share their projects and have quotas of their own: a pool whose options name another
    region is of another cloud."""
    pool = tx.get_one(Pool, pool_id)
    region = pool.adapter_options.get("region")
    mine = select(CloudProject.external_id).where(CloudProject.pool_id == pool_id)
    telling = select(CloudProject.pool_id).where(CloudProject.external_id.in_(mine))
    others = select(Pool).where(
        Pool.provider_id == pool.provider_id, Pool.id != pool_id, Pool.active, Pool.id.in_(telling)
    )
    return [
        one
        for one in tx.scalars(others.order_by(Pool.id))
        if not region or (one.adapter_options.get("region") or region) == region
    ]


def _meant(
    tx: Tx, pool_id: int, astray: Collection[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, QuotaDriftKind]]:
    """Of what no approval covers in this pool: what the book gave in another pool of the same company whose cloud was read and
    lets the department have less than that → that pool, and what differs between the two. One of the same architecture goes
    before others."""
    if not astray:
        return {}
    pool = tx.get_one(Pool, pool_id)
    others = select(Pool).where(Pool.provider_id == pool.provider_id, Pool.id != pool_id).order_by(Pool.id)
    found: dict[tuple[str, str], tuple[int, QuotaDriftKind]] = {}
    for other in sorted(tx.scalars(others), key=lambda one: one.arch != pool.arch):
        drift = QuotaDriftKind.WRONG_ZONE if other.arch == pool.arch else QuotaDriftKind.WRONG_ARCH
        if (other.arch, other.zone) == (pool.arch, pool.zone):
            continue
        for key, pair in _pairs(tx, other.id).items():
            if key in astray and judge(pair, owned=True) in (QuotaDriftKind.MISSING, QuotaDriftKind.SMALLER):
                found.setdefault(key, (other.id, drift))
    return found


def given(tx: Tx, pool_id: int, department_id: int) -> dict[ClassCode, int]:
    """Class → what the book lets a department have in that pool's cloud, with what is held for its requests; base units."""
    every = [pool_id, *(one.id for one in of_same_cloud(tx, pool_id))]
    return {
        ClassCode(kind): book + held
        for (whose, kind), (book, held) in _given(tx, every).items()
        if whose == department_id
    }


def _given(tx: Tx, pool_ids: Iterable[int]) -> dict[tuple[int, str], tuple[int, int]]:
    """(department id, class) → what it was given in these pools together and what is held beside that, base units."""
    found: dict[tuple[int, str], tuple[int, int]] = {}
    for account in (one for pool_id in pool_ids for one in ledger.balances(tx, pool_id=pool_id)):
        if account.department_id is None or not account.balance:
            continue
        book, held = found.get((account.department_id, account.kind), (0, 0))
        more = (0, account.balance) if account.holder == Holder.HELD else (account.balance, 0)
        found[account.department_id, account.kind] = book + more[0], held + more[1]
    return found


def look(tx: Tx, pool_id: int, as_of: datetime) -> list[QuotaDrift]:
    """Compare, and keep what differs: what stood before keeps its ``since`` while it is of the same kind, what agrees again is
    gone. To be called whenever quotas were read."""
    differing = compare(tx, pool_id)
    known = {
        (one.subject, one.kind): one for one in tx.scalars(select(QuotaDrift).where(QuotaDrift.pool_id == pool_id))
    }
    for gone in known.keys() - differing.keys():
        tx.delete(known[gone])
    rows = []
    for (subject, kind), (pair, drift) in sorted(differing.items()):
        row = known.get((subject, kind))
        if row is None:
            row = QuotaDrift(pool_id=pool_id, subject=subject, kind=kind, drift=drift.value, since=as_of)
            tx.add(row)
        if row.drift != drift:
            row.drift, row.since = drift.value, as_of
        row.book, row.held, row.most, row.used, row.seen_at = pair.book, pair.held, pair.most, pair.used, as_of
        row.meant_pool_id = pair.meant_pool_id
        rows.append(row)
    tx.flush()
    return rows
