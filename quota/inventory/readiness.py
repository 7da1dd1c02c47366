"""How far systems are moved to domestic chips and reached by IPv6, counted from what listings show of their machines.

A machine is domestic where its pool is; it has IPv6 where one of its addresses is one. A machine of which no address is known has
neither it nor the lack of it: it counts apart. One in the recycle bin, or deleted and still listed, is none of a system's machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Integer, ScalarSelect, Select, Subquery, and_, case, cast, func, or_, select

from quota.directory import DataLevel, Pool, System, in_use
from quota.errors import N_
from quota.inventory.resources import Resource
from quota.inventory.services import ResourceState, ServiceKind

MACHINES = (ServiceKind.VM.value, ServiceKind.BARE_METAL.value)
ADDRESSES = "addresses"
"""The tag under which a listing tells a machine's addresses where it has several."""
PUT_AWAY = frozenset({ResourceState.RECYCLED.value, ResourceState.DELETED.value})
"""States of machines that nothing runs on any more, while their clouds still list them."""
PROTECTED = (DataLevel.IMPORTANT.value, DataLevel.CORE.value)


def addressed(address: str | None, tags: Mapping[str, str]) -> bool:
    """Whether any address of a machine is known."""
    return bool(address or tags.get(ADDRESSES))


def speaks_ipv6(address: str | None, tags: Mapping[str, str]) -> bool:
    """Whether an address of a machine is of IPv6."""
    return ":" in (address or "") or ":" in tags.get(ADDRESSES, "")


def _count(condition: Any) -> Any:
    return cast(func.coalesce(func.sum(case((condition, 1), else_=0)), 0), Integer)


def _known() -> ColumnElement[bool]:
    several = Resource.tags[ADDRESSES].as_string()
    return or_(func.coalesce(Resource.address, "") != "", func.coalesce(several, "") != "")


def _ipv6() -> ColumnElement[bool]:
    return or_(Resource.address.like("%:%"), Resource.tags[ADDRESSES].as_string().like("%:%"))


def _machines() -> tuple[Any, ...]:
    return (
        cast(func.count(Resource.id), Integer).label("machines"),
        _count(Pool.xinchuang.is_(True)).label("domestic"),
        _count(_known()).label("addressed"),
        _count(_ipv6()).label("ipv6"),
    )


def _there() -> ColumnElement[bool]:
    return and_(Resource.gone_at.is_(None), Resource.state.not_in(sorted(PUT_AWAY)), Resource.kind.in_(MACHINES))


def by_pool() -> Select[Any]:
    """A row a pool that has machines: Pool, machines, domestic, addressed, ipv6."""
    there = and_(Resource.pool_id == Pool.id, _there())
    return select(Pool, *_machines()).join(Resource, there).group_by(Pool.id)


class Ipv6Reach(StrEnum):
    """How much of a system is reached by IPv6."""

    ALL = "all"
    SOME = "some"
    NONE = "none"
    UNKNOWN = "unknown"


REACH_LABELS = {
    Ipv6Reach.ALL: N_("全部主机"), Ipv6Reach.SOME: N_("部分主机"), Ipv6Reach.NONE: N_("没有"), Ipv6Reach.UNKNOWN: N_("不掌握"),
}  # fmt: skip


def reach() -> ScalarSelect[Any]:
    """For a query of systems: Ipv6Reach of each, by the rule of ``by_department``; None where it has no machine."""
    machines, ipv6 = func.count(Resource.id), _count(_ipv6())
    told = case(
        (machines == 0, None),
        (ipv6 == machines, Ipv6Reach.ALL.value),
        (ipv6 > 0, Ipv6Reach.SOME.value),
        (_count(_known()) > 0, Ipv6Reach.NONE.value),
        else_=Ipv6Reach.UNKNOWN.value,
    )
    return select(told).where(Resource.system_id == System.id, _there()).correlate(System).scalar_subquery()


def _by_system() -> Subquery:
    return (
        select(Resource.system_id, *_machines())
        .join(Pool, Pool.id == Resource.pool_id)
        .where(Resource.system_id.is_not(None), _there())
        .group_by(Resource.system_id)
        .subquery("of_system")
    )


def by_department(today: date) -> Subquery:
    """A row a department with systems in use on ``today``: systems; of these present (with machines), moved (all of them on domestic chips),
    partly, overdue (not moved and planned to be by now), unplanned (not moved, without a day), reached (every machine by IPv6),
    unclassed (data without a level), protected (important or core); and machines, domestic, addressed and ipv6 of them."""
    of = _by_system()
    machines = func.coalesce(of.c.machines, 0)
    open_ = and_(machines > 0, of.c.domestic < machines)
    return (
        select(
            System.department_id,
            cast(func.count(System.id), Integer).label("systems"),
            _count(machines > 0).label("present"),
            _count(and_(machines > 0, of.c.domestic == machines)).label("moved"),
            _count(and_(of.c.domestic > 0, open_)).label("partly"),
            _count(and_(open_, System.xinchuang_by < today)).label("overdue"),
            _count(and_(open_, System.xinchuang_by.is_(None))).label("unplanned"),
            _count(and_(machines > 0, of.c.ipv6 == machines)).label("reached"),
            _count(System.data_level == "").label("unclassed"),
            _count(System.data_level.in_(PROTECTED)).label("protected"),
            *(
                cast(func.coalesce(func.sum(of.c[name]), 0), Integer).label(name)
                for name in ("machines", "domestic", "addressed", "ipv6")
            ),
        )
        .join(of, of.c.system_id == System.id, isouter=True)
        .where(in_use(today))
        .group_by(System.department_id)
        .subquery("readiness")
    )
