"""Feeds (用量源): stores that are asked by the clock what a pool's machines use, beside whoever lists the machines.

Which machine a series speaks of is told by a label; the inventory knows it by its id, name or address, and where it does
not, a table that people edit does (``feed_names``). Each reading goes on from where the last one ended, a little before it
for what came late, piece by piece: an outage is made up for, however long, and a run that is cut short loses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Float, ForeignKey, String, Text, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.intake import schedules, sources
from providers import paces, registry
from quota.actors import Role
from quota.base import Base, Count
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid, NotFound, stated
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx


class Vantage(StrEnum):
    """From where a feed sees machines: inside them, or from the host that runs them."""

    UNSAID = ""
    GUEST = "guest"
    HOST = "host"


VANTAGES: Mapping[str, str] = {
    Vantage.UNSAID.value: N_("未说明"), Vantage.GUEST.value: N_("机器内部"), Vantage.HOST.value: N_("宿主机"),
}  # fmt: skip

SEEN_FROM: Mapping[str, Vantage] = {
    "node": Vantage.GUEST, "windows": Vantage.GUEST, "libvirt": Vantage.HOST, "vmware": Vantage.HOST,
}  # fmt: skip
"""Exporters, and adapters, of which it is known."""

MOST_TRUST = 9

_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
MOST_HISTORY = 400
MOST_NAMES = 20_000


class Feed(Base):
    """用量源. ``collected_until``: up to which edge of a slot it was read; what follows is of the last run. ``lookback_hours``: how far
    behind that each run asks again; ``read_again_on``: the day of the last second reading, ``second``: how far the next
    one came, where it was begun (providers.paces).

    ``seen``: machines that it told of, of ``due`` that the pool has; ``coverage``: samples that came of those that were
    due; ``unknown``: names that no machine has → series, the most frequent; ``notes``: what the store said; ``trial``: what
    the last test of the queries found. ``vantage``: from where it sees machines (Vantage); ``trust``: 1 is trusted most; of a
    machine that a more trusted feed tells of its samples are compared and not entered (``withheld``, of the last run).
    """

    __tablename__ = "feeds"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), index=True)
    adapter: Mapped[str] = mapped_column(String(32))
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    active: Mapped[bool] = mapped_column(default=True)
    history_days: Mapped[int] = mapped_column(default=30)
    every_minutes: Mapped[int] = mapped_column(default=5)
    lookback_hours: Mapped[int] = mapped_column(default=2, server_default="2")
    read_again_on: Mapped[date | None]
    second: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    collected_until: Mapped[datetime | None]
    collected_at: Mapped[datetime | None]
    succeeded_at: Mapped[datetime | None]
    newest_at: Mapped[datetime | None]
    samples: Mapped[int] = mapped_column(Count, default=0)
    seen: Mapped[int] = mapped_column(default=0)
    due: Mapped[int] = mapped_column(default=0)
    coverage: Mapped[float | None] = mapped_column(Float)
    skew_s: Mapped[float | None] = mapped_column(Float)
    unknown: Mapped[dict[str, int]] = mapped_column(default=dict)
    notes: Mapped[list[str]] = mapped_column(default=list)
    fault: Mapped[str] = mapped_column(String(64), default="")
    fault_said: Mapped[str] = mapped_column(Text, default="")
    fault_at: Mapped[datetime | None]
    trial_asked_at: Mapped[datetime | None]
    trial_at: Mapped[datetime | None]
    trial: Mapped[dict[str, Any]] = mapped_column(default=dict)
    vantage: Mapped[str] = mapped_column(String(8), default="")
    trust: Mapped[int] = mapped_column(default=5)
    withheld: Mapped[int] = mapped_column(Count, default=0)

    pool: Mapped[Pool] = relationship()

    @property
    def subject(self) -> str:
        return f"feed:{self.id}"


class FeedName(Base):
    """What a feed calls a machine → its id in the inventory."""

    __tablename__ = "feed_names"
    __table_args__ = (UniqueConstraint("feed_id", "label"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    feed_id: Mapped[int] = mapped_column(ForeignKey("feeds.id"), index=True)
    label: Mapped[str] = mapped_column(String(256))
    external_id: Mapped[str] = mapped_column(String(128))


def feed(tx: Tx, feed_id: int) -> Feed:
    """The feed, or NotFound."""
    found = tx.get(Feed, feed_id)
    if found is None:
        raise NotFound("feed.none", N_("没有编号为 %(id)s 的用量源"), id=feed_id)
    return found


def vantage_of(adapter: str, options: Mapping[str, Any]) -> Vantage:
    """From where such a feed sees machines, where its adapter or all of its exporters say so."""
    exporters = options.get("exporters")
    told = [exporters] if isinstance(exporters, str) else list(exporters or ())
    if adapter == "promql" and not told:
        told = ["node"]
    found = {SEEN_FROM.get(str(one).strip(), Vantage.UNSAID) for one in (told or [adapter])}
    return found.pop() if len(found) == 1 else Vantage.UNSAID


def weigh(tx: Tx, row: Feed, vantage: str, trust: int) -> None:
    """Say from where a feed sees machines, and how far it is trusted. Raises Invalid naming the field."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    if vantage not in VANTAGES:
        raise Invalid("feed.vantage", N_("没有这种视角"), field="vantage")
    if not 1 <= trust <= MOST_TRUST:
        raise Invalid("feed.trust", N_("信任次序须在 1 到 %(most)s 之间"), most=MOST_TRUST, field="trust")
    if (row.vantage, row.trust) != (vantage, trust):
        before, after = {"vantage": row.vantage, "trust": row.trust}, {"vantage": vantage, "trust": trust}
        tx.audit("feed.weigh", row.subject, before=before, after=after)
        row.vantage, row.trust = vantage, trust
        tx.flush()


def register(
    tx: Tx,
    code: str,
    name: str,
    pool_id: int,
    adapter: str,
    options: Mapping[str, Any],
    *,
    history_days: int = 30,
    every_minutes: int = 5,
    lookback_hours: int = paces.USUAL.lookback_hours,
) -> Feed:
    """A new feed of a pool. Raises Invalid naming the field, Conflict for a code in use."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    if not _CODE.fullmatch(code):
        raise Invalid("feed.code", N_("代码由小写字母、数字和连字符组成,至多 32 个字符"), field="code")
    stated(name, "name", code="feed.name", message=N_("请填写名称"))
    pool = tx.get(Pool, pool_id)
    if pool is None or not pool.active:
        raise Invalid("feed.pool", N_("没有这个资源池,或已停用"), field="pool")
    if not registry.is_meter(adapter):
        raise Invalid("feed.adapter", N_("适配器 %(name)s 不提供用量"), name=adapter, field="adapter")
    if tx.scalar(select(Feed.id).where(Feed.code == code)):
        raise Conflict("feed.taken", N_("代码 %(code)s 已被使用"), code=code, field="code")
    _sound(history_days, every_minutes, lookback_hours)
    row = Feed(
        code=code, name=name.strip(), pool_id=pool_id, adapter=adapter, options=registry.checked(adapter, options),
        active=True, history_days=history_days, every_minutes=every_minutes, lookback_hours=lookback_hours,
        created_by=tx.actor.login, created_at=tx.now, unknown={}, notes=[], trial={}, vantage=vantage_of(adapter, options).value, trust=5, withheld=0,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    about = {"code": code, "pool_id": pool_id, "adapter": adapter, "options": row.options}
    tx.audit("feed.register", row.subject, after=about)
    return row


def configure(
    tx: Tx,
    row: Feed,
    options: Mapping[str, Any],
    *,
    name: str,
    history_days: int,
    every_minutes: int,
    lookback_hours: int | None = None,
    before: Mapping[str, Any],
) -> None:
    """Change how a feed is asked; ``before``: the options that the page showed, Conflict where they are others by now.
    ``lookback_hours``: None leaves it as it is."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    tx.refresh(row, with_for_update=True)
    lookback = row.lookback_hours if lookback_hours is None else lookback_hours
    if dict(before) != row.options:
        raise Conflict("feed.stale", N_("连接参数已被他人修改,请重新打开页面"))
    stated(name, "name", code="feed.name", message=N_("请填写名称"))
    _sound(history_days, every_minutes, lookback)
    kept = registry.checked(row.adapter, options)
    was = {
        "name": row.name,
        "options": row.options,
        "history_days": row.history_days,
        "every_minutes": row.every_minutes,
        "lookback_hours": row.lookback_hours,
    }
    now = {
        "name": name.strip(), "options": kept, "history_days": history_days, "every_minutes": every_minutes,
        "lookback_hours": lookback,
    }  # fmt: skip
    if was != now:
        tx.audit("feed.connect", row.subject, before=was, after=now)
        row.name, row.options, row.history_days, row.every_minutes = name.strip(), kept, history_days, every_minutes
        row.lookback_hours = lookback
        tx.flush()


def _sound(history_days: int, every_minutes: int, lookback_hours: int) -> None:
    schedules.check_lookback(lookback_hours)
    if not 0 <= history_days <= MOST_HISTORY:
        raise Invalid("feed.history", N_("补采天数须在 0 到 %(most)s 之间"), most=MOST_HISTORY, field="history_days")
    if not 5 <= every_minutes <= 1440:
        raise Invalid("feed.every", N_("采集间隔须在 5 到 1440 分钟之间"), field="every_minutes")


def activate(tx: Tx, row: Feed, active: bool) -> None:
    """Go on asking, or ask no more. What came stays, and where it was read up to: going on makes up for the time between."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    if row.active != active:
        tx.audit("feed.activate", row.subject, before={"active": row.active}, after={"active": active})
        row.active = active


def again_from(tx: Tx, row: Feed, since: datetime) -> None:
    """Have the feed read again from ``since`` on: what is there already changes nothing, what was missing comes in."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    if since > tx.now:
        raise Invalid("feed.future", N_("不能从将来补采"), field="since")
    tx.audit("feed.again", row.subject, before={"until": row.collected_until}, after={"until": since})
    row.collected_until = since


def ask_trial(tx: Tx, row: Feed) -> None:
    """Ask for a test of the queries."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    row.trial_asked_at = tx.now


def names(tx: Tx, feed_id: int) -> dict[str, str]:
    """What the feed calls a machine → its id, as people entered it."""
    rows = tx.execute(select(FeedName.label, FeedName.external_id).where(FeedName.feed_id == feed_id))
    return dict(rows.all())


def parsed(lines: str) -> dict[str, str]:
    """``label = id`` a line → the same as a table. Raises Invalid with the number of the line."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines.splitlines(), 1):
        if not line.strip():
            continue
        label, equals, external_id = (part.strip() for part in line.rpartition("="))
        if not (equals and label and external_id) or len(label) > 256 or len(external_id) > 128:
            raise Invalid("feed.line", N_("第 %(line)s 行须写成:标签值 = 资源编号"), line=number, field="names")
        if found.setdefault(label, external_id) != external_id:
            raise Invalid(
                "feed.twice", N_("第 %(line)s 行的标签值 %(label)s 前面已写过"), line=number, label=label, field="names"
            )
    if len(found) > MOST_NAMES:
        raise Invalid("feed.many", N_("至多 %(most)s 行"), most=MOST_NAMES, field="names")
    return found


def call(tx: Tx, row: Feed, wanted: Mapping[str, str]) -> None:
    """Let the feed's names of machines be ``wanted``. Raises Invalid for an id that the pool's inventory does not have."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR, Role.SYSTEM)
    known = set(tx.scalars(select(Resource.external_id).where(Resource.pool_id == row.pool_id)))
    for label, external_id in wanted.items():
        if external_id not in known:
            raise Invalid(
                "feed.stranger",
                N_("台账中没有编号为 %(id)s 的资源（%(label)s）"),
                id=external_id,
                label=label,
                field="names",
            )
    was = names(tx, row.id)
    if was == dict(wanted):
        return
    tx.execute(delete(FeedName).where(FeedName.feed_id == row.id))
    tx.add_all(FeedName(feed_id=row.id, label=label, external_id=one) for label, one in wanted.items())
    tx.flush()
    changed = {one for one in {*was, *wanted} if was.get(one) != wanted.get(one)}
    some = sorted(changed)[:200]
    tx.audit(
        "feed.names",
        row.subject,
        before={one: was[one] for one in some if one in was},
        after={"changed": len(changed), **{one: wanted[one] for one in some if one in wanted}},
    )


def machines(tx: Tx, row: Feed) -> dict[str, int]:
    """Whatever a machine may be called by this feed → its dense id: first as people said, then as the inventory does."""
    found = sources.machines(tx, row.pool_id)
    told = names(tx, row.id)
    if told:
        ids = dict(
            tx.execute(
                select(Resource.external_id, Resource.id).where(
                    Resource.pool_id == row.pool_id, Resource.gone_at.is_(None)
                )
            ).all()
        )
        found |= {label: ids[one] for label, one in told.items() if one in ids}
    return found
