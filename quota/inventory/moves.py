"""What a reorganisation takes along of the inventory, and of the ledger with it: resources, and the quota that is theirs.

With a merger goes all that the department's accounts hold, and what is held for what waits; with systems what is booked for
their resources; with a split that, what is held for and used by what goes along, and a share of what is granted and unused. It is
one transfer, with the batch as its subject.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, select

from quota import ledger
from quota.db import among, batches
from quota.directory import Adjustment, movers
from quota.errors import N_, OverCapacity, WrongState
from quota.inventory.cloud_projects import CloudProject
from quota.inventory.inquiries import Inquiry, InquiryState
from quota.inventory.resources import Resource, reassign
from quota.inventory.takeovers import Takeover, TakeoverState
from quota.ledger import Account, Hold, Holder, HoldState
from quota.units import Amount, Arch, Commodity

if TYPE_CHECKING:
    from quota.db import Tx

Booked = dict[tuple[int, Commodity], int]
"""Base units by pool and class."""

HOLDER_LABELS = {
    Holder.GRANTED: N_("未用"),
    Holder.USED: N_("在用"),
    Holder.LENT: N_("借入未用"),
    Holder.SHARED: N_("系统份额未用"),
}


class Resources(movers.Rows):
    """With a merger all; else those that the systems run on, and with a split what was chosen of those that belong to none. Each gets a
    row of its history."""

    def about(self, found: movers.Parts) -> ColumnElement[bool]:
        return among(Resource.system_id, found["systems"].rows)

    def free(self) -> ColumnElement[bool]:
        return and_(Resource.system_id.is_(None), Resource.gone_at.is_(None))

    def find(self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts) -> movers.Part:
        if step.kind is Adjustment.SPLIT:
            return self._split(tx, step, found)
        query = select(Resource.id).where(Resource.department_id == step.source_id).order_by(Resource.id)
        if step.kind is not Adjustment.MERGE:
            query = query.where(self.about(found))
        return movers.Part(list(tx.scalars(query)))

    def move(self, tx: Tx, step: movers.ReorganisationStep, part: movers.Part) -> None:
        reassign(tx, part.rows, step.target_id, source=step.subject)

    def back(self, tx: Tx, step: movers.ReorganisationStep, part: movers.Part, found: movers.Parts) -> movers.Part:
        """Those that are still there: a third department keeps what it was given meanwhile."""
        del found
        there = (
            tx.scalars(select(Resource.id).where(Resource.id.in_(some), Resource.department_id == step.source_id))
            for some in batches(part.rows)
        )
        return movers.Part(sorted(chain.from_iterable(there)))


class Quota(movers.Mover):
    """Rows of [pool, class, holder, base units]; ``states`` are those of the holds that go along, ``booked`` what the resources
    that move had taken: rows of [pool, class, base units]."""

    name = "quota"
    columns = ("accounts.department_id", "holds.department_id")

    def find(self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts) -> movers.Part:
        booked = _booked(tx, found["resources"].rows)
        part = movers.Part(
            more={"booked": [[pool_id, str(cls), amount] for (pool_id, cls), amount in sorted(booked.items())]}
        )
        if step.kind is Adjustment.SYSTEMS:
            part.rows = _rows({(*place, Holder.USED): amount for place, amount in booked.items()} | _shared(tx, found))
            return part
        if step.kind is Adjustment.SPLIT:
            return self._split(tx, step, found, part, booked)
        owned = select(Account).where(Account.department_id == step.source_id, Account.balance > 0)
        part.rows = _rows(
            {
                (account.pool_id, account.commodity, Holder(account.holder)): account.balance
                for account in tx.scalars(owned)
                if account.holder != Holder.HELD.value
            }
        )
        waiting = Hold.department_id == step.source_id, Hold.state == HoldState.PENDING.value
        part.states = {str(hold.id): hold.state for hold in tx.scalars(select(Hold).where(*waiting).order_by(Hold.id))}
        return part

    def _split(
        self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts, part: movers.Part, booked: Booked
    ) -> movers.Part:
        owned: dict[tuple[int, Commodity, Holder], int] = _shared(tx, found)
        for used in (booked, *(other.used for other in found.values())):
            for place, amount in used.items():
                owned[(*place, Holder.USED)] = owned.get((*place, Holder.USED), 0) + amount
        for place, amount in found["loans"].borrowed.items():
            owned[(*place, Holder.LENT)] = amount
        for account in tx.scalars(
            select(Account).where(Account.department_id == step.source_id, Account.holder == Holder.GRANTED.value)
        ):
            share = account.balance * step.share // 100
            if share > 0:
                owned[account.pool_id, account.commodity, Holder.GRANTED] = share
        part.rows = _rows(owned)
        subjects = [subject for other in found.values() for subject in other.holds]
        for some in batches(subjects):
            holds = select(Hold).where(
                Hold.subject.in_(some), Hold.department_id == step.source_id, Hold.state == HoldState.PENDING.value
            )
            for hold in tx.scalars(holds.order_by(Hold.id)):
                if hold.source == Holder.LENT.value:
                    raise WrongState(
                        "reorganisation.borrowed",
                        N_("随迁事项预占了借入的配额,借入方不随拆分改变;请办结或撤回后再拆分"),
                    )
                part.states[str(hold.id)] = hold.state
        return part

    def told(self, part: movers.Part) -> list[movers.PartSummary]:
        quota = [(cls, HOLDER_LABELS[holder], amount) for (_pool, cls, holder), amount in _owned(part.rows).items()]
        return [
            movers.PartSummary(N_("待定的预占"), len(part.states)),
            movers.PartSummary(N_("随迁的配额"), len(quota), quota),
        ]

    def move(self, tx: Tx, step: movers.ReorganisationStep, part: movers.Part) -> None:
        if not part.rows and not part.states:
            return
        holds = list(tx.scalars(select(Hold).where(among(Hold.id, map(int, part.states)))))
        key = f"{step.subject}/{'undo' if step.undoing else 'move'}"
        try:
            ledger.hand_over(
                tx, step.source_id, step.target_id, _owned(part.rows), key=key, subject=step.subject, holds=holds
            )
        except OverCapacity as short:
            raise OverCapacity(
                "reorganisation.short",
                N_("转出单位的%(kind)s不足以随迁:需要 %(need)s,只有 %(have)s %(unit)s"),
                **short.params,
            ) from short

    def back(self, tx: Tx, step: movers.ReorganisationStep, part: movers.Part, found: movers.Parts) -> movers.Part:
        """What went, less or more what the resources that go home have taken or given back since; of what its systems were given, as it is now."""
        del step
        movers.undecided(tx, Hold, part.states, N_("预占"))
        now = _booked(tx, found["resources"].rows)
        was = {(pool_id, Commodity.parse(cls)): amount for pool_id, cls, amount in part.more["booked"]}
        kept = {place: amount for place, amount in _owned(part.rows).items() if place[2] is not Holder.SHARED}
        owned = kept | _shared(tx, found)
        for place in {*now, *was}:
            used = (*place, Holder.USED)
            owned[used] = owned.get(used, 0) + now.get(place, 0) - was.get(place, 0)
        return movers.Part(_rows({place: amount for place, amount in owned.items() if amount > 0}), part.states)

    def keep(self, part: movers.Part) -> dict[str, Any]:
        return {"quota": part.rows, "booked": part.more.get("booked", []), "states": {"holds": part.states}}

    def kept(self, moved: Mapping[str, Any]) -> movers.Part:
        return movers.Part(moved["quota"], moved["states"].get("holds", {}), {"booked": moved["booked"]})


def _rows(owned: Mapping[tuple[int, Commodity, Holder], int]) -> list[list[Any]]:
    return [[pool_id, str(cls), holder.value, amount] for (pool_id, cls, holder), amount in sorted(owned.items())]


def _owned(rows: Iterable[Sequence[Any]]) -> dict[tuple[int, Commodity, Holder], int]:
    return {(pool_id, Commodity.parse(cls), Holder(holder)): amount for pool_id, cls, holder, amount in rows}


def _shared(tx: Tx, found: movers.Parts) -> dict[tuple[int, Commodity, Holder], int]:
    """What the systems that move have unused of their shares: it goes where they go."""
    return {(*place, Holder.SHARED): n for place, n in ledger.shares.unused_of(tx, found["systems"].rows).items()}


def _booked(tx: Tx, resource_ids: Sequence[int]) -> Booked:
    found: Booked = {}
    for some in batches(resource_ids):
        for resource in tx.scalars(select(Resource).where(Resource.id.in_(some)).order_by(Resource.id)):
            for cls, amount in Amount.from_json(resource.booked).of_arch(Arch(resource.pool.arch)).items():
                found[resource.pool_id, cls] = found.get((resource.pool_id, cls), 0) + amount
    return found


cloud_projects = movers.register(movers.Rows("cloud_projects", CloudProject, N_("云侧项目")), order=205)
resources = movers.register(Resources("resources", Resource, N_("资源")), order=210)
quota = movers.register(Quota(), order=220)
takeovers = movers.register(
    movers.Rows("takeovers", Takeover, N_("待确认的接管"), noun=N_("接管"), waiting=[TakeoverState.PROPOSED.value]),
    order=230,
)
inquiries = movers.register(
    movers.Rows("inquiries", Inquiry, N_("未答复的征询"), noun=N_("征询"), waiting=[InquiryState.OPEN.value]), order=240
)
