"""承诺看板: promised, installed, used and measured by chip and zone, when it runs out, and what one more ask would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from flask import Blueprint, render_template, request
from sqlalchemy import func, select

from console import frame
from console.access import STEWARDS, allow
from console.book import reading, settings
from console.words import amount, kind_label
from metering.judging import findings
from metering.overview import Utilization, utilizations
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Pool
from quota.errors import N_
from quota.ledger import OWNED, Account, Holder, RunOut, Trend, commitments, histories, outlook
from quota.units import ACCELERATOR, BLOCK, CLASSES, MEMORY, OBJECT, VCPU, Arch, ClassCode, Commodity, base_units

blueprint = Blueprint("promises", __name__, url_prefix="/quota/promises")
frame.page("quota", "promises.index", N_("承诺看板"), order=20)

HISTORY_DAYS = 90
SHOWN = (VCPU, MEMORY, BLOCK, OBJECT, ACCELERATOR)


@dataclass(slots=True)
class PromiseLine:
    """One chip in one zone, of one kind. Base units; ``trend`` None: the history is too short."""

    zone: str
    arch: str
    cls: Commodity
    pool_ids: list[int]
    installed: int = 0
    promised: int = 0
    used: int = 0
    use: Utilization | None = None
    trend: Trend | None = None
    out: RunOut | None = None
    days: int = 0
    waiting: int = 0  # what was promised for a day to come and has no capacity yet
    kept: int = 0  # of that: what nobody else is given meanwhile
    first: date | None = None  # of those days
    out_with: RunOut | None = None  # were that promised as well

    @property
    def left(self) -> int:
        return outlook.left_after(self.installed, self.promised)

    @property
    def code(self) -> str:
        return f"{self.zone}/{self.arch}/{self.cls}"


def lines(tx: Tx, kinds: tuple[ClassCode, ...] = SHOWN, pool_id: int | None = None) -> list[PromiseLine]:
    """The board, by zone, chip and kind; of one pool alone where it is named."""
    today = tx.now.astimezone(settings().zone).date()
    first, last = histories.window(today, HISTORY_DAYS)
    begun = histories.begun(tx, zone=settings().zone)
    first = max(first, begun) if begun else last
    only = None if pool_id is None else [pool_id]
    grown = histories.daily(tx, OWNED, first, last, pool_ids=only, zone=settings().zone)
    adopted = histories.daily(tx, OWNED, first, last, pool_ids=only, adopted=True, zone=settings().zone)
    measured = utilizations.measured(tx, pools=only)
    pools = {one.id: one for one in tx.scalars(select(Pool).where(Pool.active)) if only is None or one.id in only}
    found: dict[tuple[str, str, Commodity], PromiseLine] = {}
    rows = tx.execute(
        select(Account.pool_id, Account.kind, Account.arch, Account.holder, func.sum(Account.balance)).group_by(
            Account.pool_id, Account.kind, Account.arch, Account.holder
        )
    )
    for pool_id, kind, arch, holder, balance in rows:
        pool, cls = pools.get(pool_id), Commodity(ClassCode(kind), Arch(arch))
        if pool is None or cls.kind not in kinds:
            continue
        line = found.setdefault((pool.zone, pool.arch, cls), PromiseLine(pool.zone, pool.arch, cls, []))
        if pool_id not in line.pool_ids:
            line.pool_ids.append(pool_id)
        if holder == Holder.SUPPLY.value:
            line.installed -= int(balance)
        elif holder != Holder.FREE.value:
            line.promised += int(balance)
            line.used += int(balance) if holder == Holder.USED.value else 0
    for (pool_id, cls), (amount_, day, kept) in commitments.outstanding(tx).items():
        pool = pools.get(pool_id)
        place = (pool.zone, pool.arch, cls) if pool is not None else None
        if place in found:
            promised = found[place]
            promised.waiting += amount_
            promised.kept += kept
            promised.first = min(promised.first or day, day)
    began = histories.begun_by_pool(tx, zone=settings().zone)
    for line in found.values():
        days = (last - first).days + 1
        known = max((began[one] for one in line.pool_ids if one in began), default=first)
        history = outlook.grown(_summed(line, grown, days), _summed(line, adopted, days))[
            max((known - first).days, 0) :
        ]
        line.days = len(history)
        line.trend = outlook.trend(history)
        line.out = outlook.runs_out(line.trend, line.left, today) if line.trend else None
        if line.trend is not None and line.waiting:
            line.out_with = outlook.runs_out(line.trend, line.left - line.waiting, today)
        line.use = measured.total(line.cls.kind, pools=line.pool_ids)
    return sorted(found.values(), key=lambda one: (one.zone, one.arch, CLASSES.place(one.cls.kind)))


def _summed(line: PromiseLine, of: Mapping[histories.Place, list[int]], days: int) -> list[int]:
    """Day by day, over the pools of the line."""
    return [sum(day) for day in zip(*(of.get((one, line.cls), [0] * days) for one in line.pool_ids), strict=True)]


@blueprint.get("/")
@allow(*STEWARDS)
def index() -> str:
    tx = reading()
    board = lines(tx)
    return render_template(
        "promises/index.html", board=board, asked=_what_if(board), run=findings.last_run(tx),
        wanted=request.args.get("wanted", ""), where=request.args.get("where", ""), least=outlook.MIN_DAYS,
        confidence=round(100 * outlook.CONFIDENCE), labels={one.code: _name(one) for one in board},
    )  # fmt: skip


def _name(line: PromiseLine) -> str:
    return f"{line.zone} · {line.arch} · {kind_label(line.cls.kind)}"


def _what_if(board: list[PromiseLine]) -> dict[str, Any] | None:
    """What is left, and when it runs out, if so much more were promised, and what of what is left now is kept for promises that wait
    (a pool by itself: the rest is what may be asked for); None where nothing was asked."""
    wanted, where = request.args.get("wanted", ""), request.args.get("where", "")
    line = next((one for one in board if one.code == where), None)
    if line is None or not (wanted.isascii() and wanted.isdigit()) or len(wanted) > 12:
        return None
    more = base_units(line.cls.kind, int(wanted))
    left = outlook.left_after(line.installed, line.promised, more)
    today = reading().now.astimezone(settings().zone).date()
    return {
        "name": _name(line), "more": amount(more, line.cls), "left": amount(abs(left), line.cls), "short": left < 0,
        "kept": amount(line.kept, line.cls) if line.kept and left >= 0 else "", "before": left < line.kept,
        "out": outlook.runs_out(line.trend, left, today) if line.trend else None,
    }  # fmt: skip


@frame.home_block(Role.AUTHORITY, order=30)
def promise_board(tx: Tx, _who: Actor) -> str | None:
    """vCPU by chip and zone: promised of installed, and when it runs out."""
    rows = lines(tx, (VCPU,))
    return render_template("promises/_home.html", rows=rows) if rows else None
